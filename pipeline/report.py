"""`esad report RUN|SCORES...`: one self-contained HTML page: figures, curves, items, heat maps, methods; several runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome


def command(
    paths: Annotated[list[Path], typer.Argument(help="RUN or SCORES folders.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file (default: report.html in the first scores folder).")
    ] = None,
    note: Annotated[str | None, typer.Option(help="A line for the report's head.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Show what esad figures wrote there; RUN/figures is shown anyway.")
    ] = None,
    as_json: Json = False,
) -> Outcome:
    """Write one self-contained HTML page for people."""
    return run_stage(lambda: report(paths, out, note, figures), as_json)


def report(
    paths: Sequence[Path], out: Path | None = None, note: str | None = None, figures: Path | None = None
) -> Outcome:
    """Write the page for runs or scores folders; those that have not been evaluated are evaluated first.

    Several are compared. It shows the folder `figures` of `esad figures`, and of each run the folder RUN/figures where there is one.
    """
    from esad.pipeline.reporting.compared import comparison
    from esad.pipeline.reporting.drawn import drawn_figures, folders_of_figures, not_drawn
    from esad.pipeline.reporting.page import write_page
    from esad.pipeline.reporting.section import section
    from esad.pipeline.scoring.open_scores import scores_folder
    from esad.pipeline.stage.lock import writing_to

    folders = folders_of_figures(paths, figures)
    drawn, missing = drawn_figures(folders), not_drawn(folders)
    sections = [section(path, compared=len(paths) > 1) for path in paths]
    page = out or scores_folder(paths[0]) / "report.html"
    with writing_to(page, inside=False):
        write_page(page, sections, note, drawn, missing, comparison(sections))
    summary = {
        "report": str(page),
        "runs": len(sections),
        "auc": {each["run"]: each["metrics"]["auc"] for each in sections},
    }
    return Outcome(page, f"Wrote {page.resolve()}: open it in a browser.", summary=summary)


if __name__ == "__main__":
    run_script(command)
