"""The page: its template, filled, with its one style and its one script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esad.pipeline.reporting.compared import titles

NOTHING = "n/a"


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return NOTHING if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.3g} %"


def _percents(value: Sequence[float] | None) -> str:
    return NOTHING if value is None else f"{_percent(value[0])} to {_percent(value[1])}"


def _sorted_by(value: float | None) -> str:
    """What a cell is sorted by, whole; empty where there is nothing: such rows stay last."""
    return "" if value is None else repr(float(value))


def _hash(text: str) -> str:
    """The source expression of a Content-Security-Policy that allows just this inline text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: pictures that it holds itself, its one style and its one script, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def write_page(
    page: Path,
    sections: Sequence[Mapping[str, Any]],
    note: str | None = None,
    drawn: Sequence[Mapping[str, str]] = (),
    not_drawn: Sequence[str] = (),
    compared: Mapping[str, Any] | None = None,
) -> None:
    """Fill the template with the sections of all runs, `note` and what must be said of made-up data at its head.

    `drawn` are figures of several runs (`drawn_figures`), which stand before the sections, `not_drawn` what is missing of them;
    `compared` is `comparison`.
    """
    from jinja2 import Environment, PackageLoader

    from esad.preprocessing.store.store import write_atomically

    loader = PackageLoader("esad.pipeline.reporting")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        figure=_figure, interval=_interval, share=lambda value: f"{100 * value:.0f} %", percent=_percent, percents=_percents,
        by=_sorted_by,
    )  # fmt: skip
    named = [{**section, "title": title} for section, title in zip(sections, titles(sections), strict=True)]
    style, script = (loader.get_source(environment, name)[0] for name in ("style.css", "sort.js"))
    notes = [note] if note else []
    if any(section["synthetic"] for section in sections):
        notes.append(
            "Slides and radiographs marked synthetic were drawn by a program: they mean nothing medically."
        )
    html = environment.get_template("report.html.j2").render(
        sections=named, notes=notes, drawn=drawn, not_drawn=not_drawn, compared=compared,
        style=style, script=script, policy=policy(style, script),
    )  # fmt: skip
    write_atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
