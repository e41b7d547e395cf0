"""Figures of runs that `esad figures` drew, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esad.pipeline.drawing.folder import read_figures
from esad.pipeline.reporting.pictures import png_address
from esad.pipeline.reporting.plots import svg_address
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.open_scores import read_marker, run_of, scores_folder
from esad.pipeline.stage.progress import say

FOLDER = "figures"
"""RUN/figures is shown without being asked for."""
LARGEST_SVG = 1_500_000
"""Bytes of an SVG that is embedded: a map of tens of thousands of points is smaller, and faster to draw, as PNG."""


def drawn_figures(folders: Sequence[Path]) -> list[dict[str, str]]:
    """Title, caption and picture (a data address) of the figures in `folders`. Raises as `read_figures`."""
    return [figure for folder in folders for figure in _of_folder(folder)]


def folders_of_figures(paths: Sequence[Path], named: Path | None) -> list[Path]:
    """The folder `named`, and RUN/figures of the runs at `paths`.

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
    return folders


def not_drawn(folders: Sequence[Path]) -> list[str]:
    """What esad figures did not draw, and why, a line each."""
    return [str(line) for folder in folders for line in read_figures(folder)["left_out"]]


def _up_to_date(folder: Path) -> bool:
    """Whether the run that a RUN/figures is in has the weights that were drawn, or was not drawn itself."""
    run = folder.parent
    known = {entry["run"]: entry["model"] for entry in read_figures(folder)["runs"]}
    return known.get("..") in (None, open_run(run).digest)


def _of_folder(folder: Path) -> list[dict[str, str]]:
    return [
        {
            "title": entry["title"], "caption": entry["caption"], "tables": ", ".join(entry["tables"]),
            "data": _address(folder, entry["name"]),
        }
        for entry in read_figures(folder)["figures"]
    ]  # fmt: skip


def _address(folder: Path, name: str) -> str:
    """The figure as SVG, or as PNG where that is missing or larger than LARGEST_SVG."""
    vectors = folder / f"{name}.svg"
    if vectors.is_file() and 0 < vectors.stat().st_size <= LARGEST_SVG:
        return svg_address(vectors.read_bytes())
    return png_address((folder / f"{name}.png").read_bytes())
