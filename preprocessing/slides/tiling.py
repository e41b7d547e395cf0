"""Where tiles lie: sizes in, level-0 coordinates out. Pure.

Coordinates are (x, y), x to the right, in level-0 pixels of the slide, origin at the top left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL_TOLERANCE = 0.15
"""A level within this share of the wanted microns per pixel is taken as it is (issue 3; Camelyon16: 0.90, 0.97)."""
EXACT_TOLERANCE = 0.005


@dataclass(frozen=True)
class ReadPlan:
    """How tiles are read: from `level`, area-reduced by `reduction` level pixels a tile pixel in each direction.

    `mpp` are the microns a tile pixel covers; `level_downsample` level-0 pixels a level pixel.
    """

    level: int
    level_downsample: float
    reduction: float
    mpp: float

    @property
    def downsample(self) -> float:
        """Level-0 pixels a tile pixel."""
        return self.level_downsample * self.reduction


def plan_reading(slide_mpp: float, downsamples: tuple[float, ...], wanted: float, exact: bool) -> ReadPlan:
    """Choose level and reduction for `wanted` microns per pixel; `downsamples` of the levels ascend from 1.

    Unless `exact`: a level within 15 % as it is; else the next finer level reduced by a whole factor if that lands
    within 15 %; else reduced to the exact size. Exact: a level within 0.5 %, else the next finer level reduced.
    Raises ValueError where the slide is coarser than wanted.
    """
    sizes = [slide_mpp * downsample for downsample in downsamples]
    tolerance = EXACT_TOLERANCE if exact else LEVEL_TOLERANCE
    nearest = min(range(len(sizes)), key=lambda level: abs(sizes[level] / wanted - 1))
    if abs(sizes[nearest] / wanted - 1) <= tolerance:
        return ReadPlan(nearest, downsamples[nearest], 1.0, sizes[nearest])
    finer = [level for level, size in enumerate(sizes) if size < wanted]
    if not finer:
        raise ValueError(
            f"the finest level has {slide_mpp:.3g} um/px, coarser than the {wanted:.3g} asked for"
        )
    level = finer[-1]
    exactly = wanted / sizes[level]
    whole = max(1, round(exactly))
    if not exact and abs(sizes[level] * whole / wanted - 1) <= tolerance:
        return ReadPlan(level, downsamples[level], float(whole), sizes[level] * whole)
    return ReadPlan(level, downsamples[level], exactly, wanted)


def grid_size(width: int, height: int, downsample: float, tile_size: int, step: int) -> tuple[int, int]:
    """Columns and rows of `tile_grid`, 0 each where not one whole tile fits."""
    across, down = (
        int(np.floor((extent / downsample - tile_size) / step + 1e-9)) + 1 for extent in (width, height)
    )
    return (across, down) if min(across, down) > 0 else (0, 0)


def tile_grid(width: int, height: int, downsample: float, tile_size: int, step: int) -> np.ndarray:
    """Top left corners (N, 2) int64 of all whole tiles of a slide of `width` x `height` level-0 pixels.

    `tile_size` and `step` are in tile pixels, `downsample` level-0 pixels each. Row by row from the top left; what
    is left over at the right and the bottom gives no tile.
    """
    across, down = grid_size(width, height, downsample, tile_size, step)
    columns, rows = np.meshgrid(np.arange(across), np.arange(down))
    corners = np.column_stack([columns.ravel(), rows.ravel()]) * (step * downsample)
    return np.floor(corners + 1e-6).astype(np.int64)
