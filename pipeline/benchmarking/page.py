"""What people read of a benchmark: OUT/results.md, results.html with its figures inside, and figures/ as PNG and SVG."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.benchmarking.figures import figures
from esad.pipeline.benchmarking.grid_file import Grid
from esad.pipeline.benchmarking.tables import TITLES, by_class, markdown, notes, sections

if TYPE_CHECKING:
    import pandas as pd


def write_pages(table: pd.DataFrame, rows: pd.DataFrame, grid: Grid, out: Path) -> None:
    """Write all of it below `out`, for a table of `tables.summarise` and the `rows`, one a run, that it came from."""
    import matplotlib as mpl
    from jinja2 import Environment, PackageLoader

    from esad.preprocessing.store.store import write_atomically

    classes = by_class(rows)
    text = markdown(table, grid, classes)
    write_atomically(out / "results.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    drawn = []
    for name, figure in figures(table).items():
        for ending, metadata in (("png", None), ("svg", {"Date": None})):
            with mpl.rc_context({"svg.hashsalt": "esad"}):  # names within the SVG are random otherwise
                save = partial(figure.savefig, dpi=150, metadata=metadata)
                write_atomically(out / "figures" / f"{name}.{ending}", save)
        data = base64.b64encode((out / "figures" / f"{name}.svg").read_bytes()).decode()
        drawn.append({"title": name, "data": f"data:image/svg+xml;base64,{data}"})
    environment = Environment(loader=PackageLoader("esad.pipeline.benchmarking"), autoescape=True)
    html = environment.get_template("benchmark.html.j2").render(
        title=grid.full_title,
        heads=TITLES,
        sections=sections(table),
        notes=notes(grid),
        figures=drawn,
        classes=classes,
    )
    write_atomically(out / "results.html", lambda temporary: temporary.write_text(html, encoding="utf-8"))
