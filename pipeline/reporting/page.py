"""The page: its template, filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _interval(value: list[float] | None) -> str:
    return "n/a" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def write_page(
    page: Path,
    sections: Sequence[Mapping[str, Any]],
    note: str | None = None,
    drawn: Sequence[Mapping[str, str]] = (),
) -> None:
    """Fill the template with the sections of all runs, `note` and what must be said of made-up data at its head.

    `drawn` are figures of several runs (`drawn_figures`), which stand before the sections.
    """
    from jinja2 import Environment, PackageLoader

    from esad.preprocessing.store.store import write_atomically

    environment = Environment(loader=PackageLoader("esad.pipeline.reporting"), autoescape=True)
    environment.filters.update(
        figure=_figure, interval=_interval, share=lambda value: f"{100 * value:.0f} %", percent=_percent
    )
    notes = [note] if note else []
    if any(section["synthetic"] for section in sections):
        notes.append(
            "Slides and radiographs marked synthetic were drawn by a program: they mean nothing medically."
        )
    html = environment.get_template("report.html.j2").render(sections=sections, notes=notes, drawn=drawn)
    write_atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
