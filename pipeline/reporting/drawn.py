"""Figures of runs that `esad figures` drew, for the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from esad.pipeline.drawing.folder import read_figures
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.open_scores import read_marker, run_of, scores_folder
from esad.pipeline.stage.progress import say

FOLDER = "figures"
"""RUN/figures is shown without being asked for."""


def drawn_figures(paths: Sequence[Path], named: Path | None) -> list[dict[str, str]]:
    """Title, caption and picture (a data address) of the figures in the folder `named`, and in RUN/figures of the runs at `paths`.

    Those of a RUN/figures that show other weights than the run has now are left out, which is said. Raises as `read_figures`.
    """
    folders = [] if named is None else [named]
    for path in paths:
        scores = scores_folder(path)
        own = run_of(scores, read_marker(scores)) / FOLDER
        if (own / "figures.json").is_file() and own.resolve() not in {folder.resolve() for folder in folders}:
            if _up_to_date(own):
                folders.append(own)
            else:
                say(
                    f"{own}: shows other weights than the run has now, and is left out; draw it anew with esad figures --force."
                )
    return [figure for folder in folders for figure in _of_folder(folder)]


def _up_to_date(folder: Path) -> bool:
    """Whether the run that a RUN/figures is in has the weights that were drawn, or was not drawn itself."""
    run = folder.parent
    known = {entry["run"]: entry["model"] for entry in read_figures(folder)["runs"]}
    return known.get("..") in (None, open_run(run).digest)


def _of_folder(folder: Path) -> list[dict[str, str]]:
    return [
        {
            "title": entry["title"], "caption": entry["caption"], "tables": ", ".join(entry["tables"]),
            "data": "data:image/png;base64," + base64.b64encode((folder / f"{entry['name']}.png").read_bytes()).decode(),
        }
        for entry in read_figures(folder)["figures"]
    ]  # fmt: skip
