"""`--stain vahadane-dpa`: each tile's area is read at level 0, repainted under its own fit, then reduced to the tile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import TileSettings
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from preprocessing.slides import Slide
    from preprocessing.tiling import ReadPlan

CHUNK_PIXELS = 64 * 768**2
"""Level-0 pixels that are held at a time (113 MB): 64 areas of Camelyon16's tiles."""


def from_level_0(plan: ReadPlan, tile_size: int) -> ReadPlan:
    """`plan` with the tiles' areas read at level 0.

    A downsample so near a whole number that a tile's far edge moves by less than half a pixel (levels of odd sizes:
    4.0001) counts as whole; any other (3.7) stays, and tiles are exact area means (`resample_area`).
    """
    whole = round(plan.downsample)
    near = abs(plan.downsample - whole) * tile_size < 0.5
    reduction = float(whole) if near else plan.downsample
    return replace(
        plan, level=0, level_downsample=1.0, reduction=reduction, mpp=plan.mpp * reduction / plan.downsample
    )


def read_normalised(
    slide: Slide, corners: np.ndarray, plan: ReadPlan, settings: TileSettings, threads: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The repainted tiles that could be read, in the order of `corners`; which those are (bool); what is recorded.

    `corners` (N, 2) x, y in level-0 pixels, `plan` is one of `from_level_0`. A tile without two stains of its own to
    fit is repainted under the median matrix of the slide's other tiles; where no tile has them, all keep their stains,
    at standardised brightness. A black tile stays black. `stain_guard` says how many.
    """
    import numpy as np

    from preprocessing import stain_dpa

    target = stain_dpa.target_matrix(Path(settings.stain_target) if settings.stain_target else None)
    tiles = np.empty((len(corners), settings.tile_size, settings.tile_size, 3), dtype=np.uint8)
    read, fitted = np.zeros((2, len(corners)), dtype=bool)
    matrices = np.zeros((len(corners), 2, 3))
    readers: set[str] = set()

    def own_fit(place: int, area: np.ndarray) -> None:
        read[place] = True
        try:
            standardised = stain_dpa.standardise_brightness(area)
            matrices[place] = stain_dpa.fit_matrix(standardised)
        except InputError:
            return
        fitted[place] = True
        tiles[place] = _reduced(stain_dpa.repaint(standardised, matrices[place], target), plan, len(tiles[0]))

    def others_fit(place: int, area: np.ndarray) -> None:
        read[place] = True
        try:
            standardised = stain_dpa.standardise_brightness(area)
        except InputError:
            standardised = area
        else:
            if typical is not None:
                standardised = stain_dpa.repaint(standardised, typical, target)
        tiles[place] = _reduced(standardised, plan, len(tiles[0]))

    with ThreadPoolExecutor(threads) as pool:
        for chunk in _areas(slide, corners, np.arange(len(corners)), plan, settings.tile_size, threads):
            readers.update(slide.reader.split("+"))
            list(pool.map(own_fit, *chunk))
        typical = stain_dpa.typical_matrix(matrices[fitted]) if fitted.any() else None
        ill = np.flatnonzero(read & ~fitted)
        read[ill] = False  # until they are read once more
        for chunk in _areas(slide, corners, ill, plan, settings.tile_size, threads):
            list(pool.map(others_fit, *chunk))
    recorded = {
        "reader": "+".join(sorted(readers)),
        "stain_matrix": None if typical is None else json.dumps(typical.round(6).tolist()),
        "stain_concentration": None,
        "stain_guard": _guard(len(ill), typical is not None),
    }
    return tiles if read.all() else tiles[read], read, recorded


def _areas(
    slide: Slide, corners: np.ndarray, places: np.ndarray, plan: ReadPlan, tile_size: int, threads: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(places, level-0 areas uint8 (n, side, side, 3)) of the tiles at `places` that can be read, chunk by chunk.

    The memory of a chunk is used again for the next one.
    """
    import numpy as np

    side = int(np.ceil(tile_size * plan.reduction - 1e-6))
    many = max(1, CHUNK_PIXELS // side**2)
    memory = np.empty((min(many, len(places)), side, side, 3), dtype=np.uint8)
    unreduced = replace(plan, reduction=1.0, mpp=plan.mpp / plan.reduction)
    for start in range(0, len(places), many):
        part = places[start : start + many]
        areas = memory[: len(part)]
        read = slide.read_tiles(corners[part], unreduced, side, areas, threads)
        yield (part, areas) if read.all() else (part[read], areas[read])


def _reduced(area: np.ndarray, plan: ReadPlan, tile_size: int) -> np.ndarray:
    from preprocessing.resampling import reduce_whole, resample_area

    if plan.reduction == round(plan.reduction):
        return reduce_whole(area, int(plan.reduction))
    return resample_area(area, 0, 0, tile_size, plan.reduction)


def _guard(ill: int, others: bool) -> str | None:
    if not ill:
        return None
    if others:
        return f"{ill} tiles took the median fit of the slide's others (no two stains of their own)"
    return f"{ill} tiles keep their stains, at standardised brightness (no tile has two stains to fit)"
