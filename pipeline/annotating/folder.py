"""The folder of files for other viewers: what it was made of, a slide's files, and what became of each slide."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.annotating.asap import write_asap
from esad.pipeline.annotating.candidate_shapes import candidate_shapes
from esad.pipeline.annotating.heat_files import write_colours, write_scores
from esad.pipeline.annotating.heat_raster import HeatGrid
from esad.pipeline.annotating.qupath import TILES, write_qupath
from esad.pipeline.annotating.scored_slides import ScoredSlide, ScoredSlides
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress
from esad.preprocessing.store.reading import read_object, read_table

FORMATS = ("qupath", "asap", "ome-tiff", "tiff")
BOUNDED = ("qupath", "ome-tiff")
"""Formats whose places follow what QuPath shows of a slide."""
FINISHED, BEGUN = "annotations.json", "settings.json"
"""`annotations.json` is written last, and only where no slide was refused, so that those are tried again."""
OURS = {*FORMATS, FINISHED, BEGUN, "slides.parquet", "slides.csv", "failures.csv"}
AGAIN = "make it anew with --force."


@dataclass(frozen=True)
class Asked:
    """What is to be written."""

    formats: tuple[str, ...] = FORMATS
    tiles: str = "suspicious"
    gzip: bool = False
    least: float | None = None
    slides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """UsageError for a format, a choice of tiles or a percentile that there is not."""
        for name in self.formats:
            if name not in FORMATS:
                raise UsageError(f"--format {name}: there is no such format; expected {', '.join(FORMATS)}.")
        if self.tiles not in TILES:
            raise UsageError(f"--tiles {self.tiles}: expected one of {', '.join(TILES)}.")
        if self.least is not None and not 0 <= self.least < 1:
            raise UsageError(
                f"--least-percentile {self.least}: expected a number from 0 to below 1, such as 0.99."
            )

    @property
    def bounded(self) -> bool:
        """Whether one of the formats needs to know the slides' bounds."""
        return bool(set(self.formats) & set(BOUNDED))

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "formats": list(self.formats), "tiles": self.tiles, "gzip": self.gzip, "least_percentile": self.least,
            "slides": list(self.slides),
        }  # fmt: skip


def is_finished(out: Path, wanted: Mapping[str, Any], force: bool) -> bool:
    """Whether `out` holds just these files; EsadError where it holds others, UsageError for a file.

    What was begun is begun anew, and `force` replaces other files of this stage; nothing else is removed.
    """
    from esad.preprocessing.store.durable import is_empty, take_name
    from esad.preprocessing.store.writing import write_json

    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; expected a folder to write.")
    if out.exists() and not is_empty(out):
        if not (out / BEGUN).is_file():
            raise EsadError(f"{out}: exists and holds no annotations of ours; choose another --out.")
        before = {} if force else read_object(out / BEGUN, "replace it with --force.", {})
        difference = None if force else first_difference(before, dict(wanted))
        if difference:
            raise EsadError(
                f"{out}: holds other annotations ({difference}). Choose another --out, or --force to replace them."
            )
        if not force and (out / FINISHED).is_file():
            return True
        take_name(out / FINISHED)
        for name in sorted(OURS - {BEGUN}):
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
    write_json(out / BEGUN, dict(wanted))
    return False


def write_all(
    out: Path, slides: ScoredSlides, asked: Asked
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Write each slide's files; (a row for each that was written, (source, reason) of each that was refused)."""
    rows: list[dict[str, Any]] = []
    refused: list[tuple[str, str]] = []
    with progress("slides", len(slides.slides)) as bar:
        for source, tiles in slides:
            try:
                rows.append(_write(out, slides.opened(source, tiles), asked, slides.ends))
            except InputError as error:
                refused.append((source, str(error)))
            bar.advance(note=source)
    return rows, refused


def _write(out: Path, slide: ScoredSlide, asked: Asked, ends: tuple[float, float]) -> dict[str, Any]:
    """A slide's files; its row of slides.parquet."""
    left, top, width, height = slide.shown
    row: dict[str, Any] = {
        "source": slide.source, "name": slide.name, "tiles": len(slide.tiles), "suspicious": int(slide.suspicious.sum()),
        "candidates": len(candidate_shapes(slide.tiles[slide.suspicious])), "shown_left": left, "shown_top": top,
        "shown_width": width, "shown_height": height,
    }  # fmt: skip
    if "qupath" in asked.formats:
        ending = ".geojson.gz" if asked.gzip else ".geojson"
        write_qupath(out / "qupath" / f"{slide.name}{ending}", slide, asked.tiles)
    if "asap" in asked.formats:
        write_asap(out / "asap" / f"{slide.name}.xml", slide)
    if "ome-tiff" in asked.formats:
        row |= _pixel("ome_tiff", write_scores(out / "ome-tiff" / f"{slide.name}.ome.tif", slide))
    if "tiff" in asked.formats:
        path = out / "tiff" / f"{slide.name}_likelihood_map.tif"  # ASAP looks for this name beside a slide
        row |= _pixel("tiff", write_colours(path, slide, ends))
    return row


def _pixel(name: str, grid: HeatGrid) -> dict[str, float]:
    across, down = grid.pixel
    return {f"{name}_pixel_x": across, f"{name}_pixel_y": down}


def finish(
    out: Path, rows: Sequence[dict[str, Any]], refused: Sequence[tuple[str, str]], wanted: Mapping[str, Any]
) -> None:
    """slides.parquet, slides.csv and failures.csv; the mark of a finished folder only where nothing was refused."""
    from esad.preprocessing.store.writing import write_csv, write_json, write_table

    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["source", "name", "candidates"])
    write_table(out / "slides.parquet", table)
    write_csv(out / "slides.csv", table)
    write_csv(out / "failures.csv", pd.DataFrame(refused, columns=["source", "reason"]))
    if not refused:
        write_json(out / FINISHED, dict(wanted))


def annotations_outcome(out: Path, asked: Asked, refused: Sequence[tuple[str, str]] | None = None) -> Outcome:
    """What the folder holds; without `refused` it was finished before."""
    table = read_table(out / "slides.parquet", AGAIN, ("source", "candidates"))
    counts = {"slides": len(table), "candidates": int(table["candidates"].sum())}
    told = f"{counts['slides']} slides with {counts['candidates']} candidates, as {', '.join(asked.formats)}"
    if refused is None:
        return Outcome(out, f"Left alone (finished before) {out}: {told}.", "", 0, counts)
    message = f"Wrote {out}: {told}."
    if refused:
        message += f" {len(refused)} refused (first: {refused[0][1]}), see {out / 'failures.csv'}."
    return Outcome(out, message, "", len(refused), counts)
