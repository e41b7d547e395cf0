"""What a file of vectors and its slide say of the slide's size, scale and tiles, held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from esad.pipeline.settings.embeddings import EmbeddingSettings
from esad.pipeline.stage.errors import InputError
from esad.preprocessing.slides.outlines.frame import SlideFrame

MOST_CELLS = 10**8
"""Of a slide's map: a slide of 400,000 x 400,000 pixels has a tenth in tiles of 128."""
BY_POWER = "um a pixel by the magnification of the slide's objective"


@dataclass(frozen=True)
class OpenedSlide:
    """What the slide itself says: its place in the archive's folder, its frame, its um a pixel and its thumbnail, uint8 (h, w, 3)."""

    path: Path
    frame: SlideFrame
    mpp: float
    thumbnail: np.ndarray


@dataclass(frozen=True)
class Placed:
    """Where the tiles of a slide lie: corners int64 (N, 2), `side` and `step` in level-0 pixels, and columns of sources.parquet."""

    corners: np.ndarray
    side: float
    step: float
    mpp: float
    """um of a tile's pixel, NaN where it is not said."""
    columns: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def open_slide(path: Path, settings: EmbeddingSettings) -> OpenedSlide:
    """The slide at `path`; InputError where it cannot be opened, or its scale is known to nobody."""
    from esad.preprocessing.slides.outlines.frame import frame_of
    from esad.preprocessing.slides.readers.probe import probe_slide
    from esad.preprocessing.slides.reading import Slide

    probe_slide(path)
    with Slide(path, settings.slide_mpp) as slide:
        thumbnail, _ = slide.thumbnail()
        return OpenedSlide(path, frame_of(slide), float(slide.mpp or 0), thumbnail)


def placed(
    corners: np.ndarray,
    facts: Mapping[str, float],
    slide: OpenedSlide | None,
    settings: EmbeddingSettings,
    file: str,
) -> Placed:
    """Tiles at `corners` (N, 2) by the file's own `facts` (`layouts.facts_of`), the slide and the settings.

    What a file says counts before a person's word for all. InputError where the side of a tile is not known, where the file is of
    another slide, or a tile lies outside.
    """
    side = facts.get("side") or settings.tile_side
    if side is None:
        raise InputError(
            f"{file}: does not say how large its tiles are. Give their side in level-0 pixels with --tile-side N (a tile of 256 pixels "
            "at 20x on a slide of 40x has 512), or leave their places out with --coords none."
        )
    step = facts.get("step") or settings.tile_step or usual_step(corners, side)
    size = _size(facts, slide, file)
    _check_inside(corners, size, side, step, file)
    notes: list[str] = []
    mpp, frame = _scale(facts, slide, size, settings, notes)
    columns = {
        "width": size[0] if size else np.nan, "height": size[1] if size else np.nan, "slide_mpp": mpp,
        "mpp": facts.get("mpp", np.nan), "tile_side": side, "tile_step": step, **frame.columns(),
    }  # fmt: skip
    return Placed(corners, side, step, facts.get("mpp", float("nan")), columns, notes)


def usual_step(corners: np.ndarray, side: float) -> float:
    """The most frequent distance between neighbours of a row that overlap or touch; the side where none do."""
    ordered = corners[np.lexsort((corners[:, 0], corners[:, 1]))]
    apart = np.diff(ordered[:, 0])[np.diff(ordered[:, 1]) == 0]
    apart = apart[(apart > 0) & (apart <= side)]
    if not len(apart):
        return side
    values, counts = np.unique(apart, return_counts=True)
    return float(values[counts.argmax()])


def _size(facts: Mapping[str, float], slide: OpenedSlide | None, file: str) -> tuple[int, int] | None:
    """Width and height in level-0 pixels; InputError where file and slide state different ones."""
    stated = (round(facts["width"]), round(facts["height"])) if {"width", "height"} <= set(facts) else None
    if slide is None:
        return stated
    if stated is not None and stated != slide.frame.size:
        told = [" x ".join(map(str, each)) for each in (stated, slide.frame.size)]
        raise InputError(
            f"{file}: is of a slide of {told[0]} pixels, and {slide.path.name} has {told[1]}: not the same slide."
        )
    return slide.frame.size


def _check_inside(
    corners: np.ndarray, size: tuple[int, int] | None, side: float, step: float, file: str
) -> None:
    """InputError for a tile that begins outside the slide, and for more places than a map may have."""
    if size is not None:
        outside = (corners >= np.array(size)).any(axis=1)
        if outside.any():
            row = int(outside.argmax())
            x, y = corners[row].tolist()
            raise InputError(
                f"{file}: row {row} lies at ({x}, {y}), outside of its slide of {size[0]} x {size[1]} pixels. Expected level-0 pixels."
            )
    across, down = (np.ptp(corners, axis=0) / step + 1).tolist()
    if across * down > MOST_CELLS:
        raise InputError(
            f"{file}: tiles of {side:g} every {step:g} level-0 pixels make {across:.0f} x {down:.0f} places, too many for a map. Is "
            "--tile-side right?"
        )


def _scale(
    facts: Mapping[str, float],
    slide: OpenedSlide | None,
    size: tuple[int, int] | None,
    settings: EmbeddingSettings,
    notes: list[str],
) -> tuple[float, SlideFrame]:
    """um of a level-0 pixel, NaN where nobody says, and the frame that outlines are checked against."""
    if slide is not None:
        return slide.mpp, slide.frame
    mpp = settings.slide_mpp or facts.get("slide_mpp")
    if mpp is not None and settings.slide_mpp is None:
        notes.append(BY_POWER)
    return mpp or float("nan"), SlideFrame(size or (0, 0), (mpp, mpp) if mpp else None)
