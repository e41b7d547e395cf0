"""A scored slide as the writers of this room need it: its tiles, which are suspicious, its size, and what QuPath shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.exporting.source_archive import SourceArchive
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, Scores, of_slides
from esad.pipeline.scoring.slides.slide_scores import suspicious
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.pipeline.thresholds.conformal import colour_ends
from esad.pipeline.thresholds.reference_sets import LEVEL
from esad.preprocessing.slides.outlines.frame import Box, bounds_of
from esad.preprocessing.store.reading import read_table

if TYPE_CHECKING:
    from esad.preprocessing.slides.reading import Slide

MEASURED = ("score", "percentile", "p_value", "reconstruction", "norm", "eq9", "standardised")
"""Columns of scores.parquet that are measurements of a tile, where they are there."""
PLACES = ("x", "y", "width", "height")
OF_SLIDES = ("source", "map", "map_step", "width", "height", "slide_mpp")
OLDER_NORMALS = 99
"""How many held-out normals scores of an earlier version, which do not say it, are taken to be among."""
CROPPED = (".mrxs", ".scn", ".bif", ".czi")
"""Formats in which a slide may begin outside (0, 0), which QuPath cuts off: only the slide itself says where.
A hashed name tells no format."""


@dataclass(frozen=True)
class ScoredSlide:
    """`tiles` are the slide's rows of scores.parquet; `suspicious` bool (N,) says which of them make candidates."""

    source: str
    name: str
    """Of its files: that of its map in SCORES/slides."""
    size: tuple[int, int]
    """Width, height in level-0 pixels."""
    mpp: tuple[float, float]
    """Microns a level-0 pixel along x, y."""
    step: float
    """Distance between neighbouring tiles, in level-0 pixels."""
    tiles: pd.DataFrame
    suspicious: np.ndarray
    rare: np.ndarray
    """Share of normals as high, float64 (N,), from 0 to 1: by this a tile is suspicious or not."""
    shown: Box
    """What QuPath shows of the slide: the whole of it, or the bounds that the file states."""

    @property
    def whole(self) -> Box:
        """All of level 0."""
        return (0.0, 0.0, float(self.size[0]), float(self.size[1]))

    def boxes(self) -> np.ndarray:
        """Left, top, width and height of the tiles in level-0 pixels: float64 (N, 4)."""
        return self.tiles[list(PLACES)].to_numpy(dtype=float)


class Archive(SourceArchive):
    """Where the slides are, if they are at hand."""

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        from esad.preprocessing.slides.readers.by_name import files_by_name

        return files_by_name(self.root)

    def shown(self, source: str, size: tuple[int, int]) -> Box:
        """What QuPath shows of a slide; InputError where it is gone, cannot be opened, or is not of `size`."""
        from esad.preprocessing.slides.readers.probe import probe_slide
        from esad.preprocessing.slides.reading import Slide

        path = self.path(source)
        probe_slide(path)
        with Slide(path, slide_mpp=1.0) as slide:
            if (slide.width, slide.height) != size:
                raise InputError(
                    f"{source}: has {slide.width} x {slide.height} pixels in the archive, and {size[0]} x {size[1]} in the "
                    "scores. Give the archive that was scored."
                )
            return shown_of(slide)

    def path(self, source: str) -> Path:
        """The slide of a source, of a file of vectors the one that is called so; InputError where it is not in the archive."""
        from esad.preprocessing.embeddings.reading import is_vectors
        from esad.preprocessing.slides.readers.by_name import slide_of_name

        whole = self.place(source)
        if is_vectors(whole) or not whole.is_file():
            found = slide_of_name(self.root, self.names.get(source, source), self._files)
            if found is not None:
                return found
            raise InputError(f"{source}: not in the archive {self.root}.")
        return whole


def shown_of(slide: Slide) -> Box:
    """What QuPath shows: the bounds, where the file states all four of them within the slide; else the whole slide."""
    size = (slide.width, slide.height)
    return bounds_of(slide.handle.properties, size) or (0.0, 0.0, float(size[0]), float(size[1]))


@dataclass(frozen=True)
class ScoredSlides:
    """All slides of a SCORES folder, or those that were asked for."""

    scores: Scores
    slides: pd.DataFrame
    """Rows of slides.parquet by source."""
    least: float | None
    """Tiles from this percentile on are suspicious; None: those above their threshold."""
    archive: Archive | None
    bounded: bool
    """Whether something is written that needs to know what QuPath shows."""

    @property
    def ends(self) -> tuple[float, float]:
        """Shares of normals as high where colours begin and end, as on slide maps: at the threshold, and above all normals.

        With `least`, which is a percentile among all reference normals, they begin there.
        """
        told = self.scores.marker.get("thresholds")
        normals = int(self.scores.marker.get("normals", OLDER_NORMALS))
        if self.least is not None or not told:
            begin, end = colour_ends(LEVEL, max(1, normals))
            begin = begin if self.least is None else 1 - self.least
            return begin, min(begin, end)
        return colour_ends(told["level"], *(max(1, each["normals"]) for each in told["sets"]))

    def __iter__(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """(source, its tiles), by source."""
        table = self.scores.table
        chosen = table[table["source"].isin(self.slides.index)]
        for source, tiles in chosen.groupby("source", sort=True, observed=True):
            yield str(source), tiles.reset_index(drop=True)

    def _size(self, source: str, row: pd.Series) -> tuple[int, int]:
        """Width and height in level-0 pixels; InputError where they or the scale are not known, as embeddings may leave them."""
        if np.isfinite([row["width"], row["height"], row["slide_mpp"]]).all():
            return int(row["width"]), int(row["height"])
        raise InputError(
            f"{source}: size or scale of its slide was not said when the store was made; make it again with esad embeddings --archive "
            "SLIDES."
        )

    def opened(self, source: str, tiles: pd.DataFrame) -> ScoredSlide:
        """One slide; InputError where the archive has it no more, or has another one, or where its bounds are needed."""
        row = self.slides.loc[source]
        size = self._size(source, row)
        shown: Box = (0.0, 0.0, float(size[0]), float(size[1]))
        if self.archive is not None:
            shown = self.archive.shown(source, size)
        elif self.bounded and Path(source).suffix.lower() in ("", *CROPPED):
            raise InputError(
                f"{source}: QuPath shows slides of formats such as {', '.join(CROPPED)} from their bounds on, which only the slide "
                "states. Say where it is with --archive FOLDER."
            )
        if self.least is None:
            rare, marked = tiles["p_value"].to_numpy(dtype=float), suspicious(tiles)
        else:
            place = tiles["percentile"].to_numpy(dtype=float)
            rare, marked = 1 - place, place >= self.least
        return ScoredSlide(
            source, str(row["map"]), size, _mpp(row), float(row["map_step"]), tiles, marked, rare, shown
        )  # fmt: skip


def _mpp(row: pd.Series) -> tuple[float, float]:
    """Microns a pixel along x and y; older tables have their mean alone."""
    stated = [row.get(name) for name in ("slide_mpp_x", "slide_mpp_y")]
    x, y = (
        float(row["slide_mpp"]) if value is None or not np.isfinite(value) else float(value)
        for value in stated
    )
    return x, y


def scored_slides(
    scores: Scores, wanted: Sequence[str], least: float | None, archive: Archive | None, bounded: bool
) -> ScoredSlides:
    """The slides of `scores`, or those whose source, file name or map is in `wanted`.

    Raises UsageError for scores of other things and for a name that no slide has, EsadError where a table is damaged.
    """
    if not of_slides(scores.marker):
        raise UsageError(
            f"{scores.root}: scores of {scores.marker['kind']}; expected those of slides' tiles."
        )
    path = scores.root / "slides.parquet"
    slides = read_table(path, SCORE_AGAIN, OF_SLIDES)
    lacking = [name for name in ("source", *PLACES) if name not in scores.table]
    missing = set() if lacking else set(scores.table["source"].unique()) - set(slides["source"])
    if lacking or missing or not slides["map"].map(_is_file_name).all():
        raise EsadError(f"{path}: does not fit scores.parquet; {SCORE_AGAIN}.")
    if wanted:
        slides = slides[_chosen(slides, wanted, scores.root)]
    return ScoredSlides(scores, slides.set_index("source"), least, archive, bounded)


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and Path(name).name == name and name not in (".", "..")


def _chosen(slides: pd.DataFrame, wanted: Sequence[str], root: Path) -> np.ndarray:
    """Which rows are meant: bool (N,); UsageError for a name that is no slide's."""
    words = [
        {source, Path(source).name, Path(source).stem, name}
        for source, name in zip(slides["source"].astype(str), slides["map"].astype(str), strict=True)
    ]
    for each in wanted:
        if not any(each in of_slide for of_slide in words):
            known = ", ".join(slides["source"].astype(str).head(5))
            raise UsageError(f"--slide {each}: no such slide in {root}; there are {len(slides)}: {known}, ….")
    return np.array([bool(of_slide & set(wanted)) for of_slide in words])
