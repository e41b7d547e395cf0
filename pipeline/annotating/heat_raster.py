"""Scores of tiles as a picture that covers a slide exactly. Pure.

The picture's pixels are a whole number in each direction, and their size follows from it: the slide's side divided by that
number. So a viewer that places the picture by its pixels' size and one that stretches it to the slide's sides agree, up to the
last corner; a picture whose pixel is a round number of level-0 pixels would end before or beyond the slide's edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from esad.pipeline.annotating.scored_slides import Box

PIXELS_A_TILE = 8
"""Of the finest level, across the distance between two tiles, at least."""
MOST_PIXELS = 1 << 27
SMALLEST_LEVEL = 256
"""The longer side of the last level is at most this: one tile of the file."""


@dataclass(frozen=True)
class HeatGrid:
    """The pixels of a heat picture: `columns` x `rows` of equal size cover `box` (left, top, width, height in level-0 pixels).

    Both are multiples of 2 ** (levels - 1), so that the coarser levels cover the same box without a remainder.
    """

    box: Box
    columns: int
    rows: int
    levels: int

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel of the finest level, in level-0 pixels."""
        return self.box[2] / self.columns, self.box[3] / self.rows


def heat_grid(box: Box, side: float) -> HeatGrid:
    """The grid over `box` with at least PIXELS_A_TILE pixels in `side` (level-0 pixels).

    Fewer where a pixel would be smaller than the slide's, or the grid have more than MOST_PIXELS; always one.
    """
    _, _, width, height = box
    pixel = max(1.0, side / PIXELS_A_TILE)
    while (width / pixel) * (height / pixel) > MOST_PIXELS and pixel < side:
        pixel = min(2 * pixel, side)
    levels = 1
    while (
        max(width, height) / pixel > SMALLEST_LEVEL * 2 ** (levels - 1)
        and min(width, height) / pixel >= 2**levels
    ):
        levels += 1
    multiple = 2 ** (levels - 1)
    columns, rows = (max(1, -int(-extent // (pixel * multiple))) * multiple for extent in (width, height))
    return HeatGrid(box, columns, rows, levels)


def tile_of_pixel(grid: HeatGrid, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which tile each pixel shows: int32 (rows, columns), its index, -1 where the pixel's centre is in none.

    `boxes` (N, 4) are left, top, width and height in level-0 pixels, `scores` (N,). Where tiles overlap, the one whose centre is
    nearest; of several as near, the one with the highest score. So the centre of each tile shows that tile, unless another has
    the same centre.
    """
    order = np.argsort(scores, kind="stable")  # then a higher place in the order is a higher score
    first, count = _pixels_inside(grid, boxes[order])
    nearest = np.full((grid.rows, grid.columns), np.inf, dtype=np.float32)
    place = np.full((grid.rows, grid.columns), -1, dtype=np.int32)
    for settle in (False, True):
        for down in range(int(count[:, 1].max(initial=0))):
            for across in range(int(count[:, 0].max(initial=0))):
                here = np.flatnonzero((count[:, 0] > across) & (count[:, 1] > down))
                column, row = first[here, 0] + across, first[here, 1] + down
                distance = _distance(grid, boxes[order[here]], column, row)
                if not settle:
                    np.minimum.at(nearest, (row, column), distance)
                else:
                    wins = distance == nearest[row, column]
                    np.maximum.at(place, (row[wins], column[wins]), here[wins].astype(np.int32))
    return np.where(place >= 0, order[place], -1).astype(np.int32) if len(order) else place


def _pixels_inside(grid: HeatGrid, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column and row whose centre is in each box, and how many columns and rows are, int64 (N, 2) each."""
    origin, pixel = np.array(grid.box[:2]), np.array(grid.pixel)
    start = (boxes[:, :2] - origin) / pixel - 0.5
    end = (boxes[:, :2] + boxes[:, 2:] - origin) / pixel - 0.5
    limits = np.array([grid.columns, grid.rows])
    first = np.clip(np.ceil(start - 1e-9), 0, limits).astype(np.int64)
    last = np.clip(np.ceil(end - 1e-9), 0, limits).astype(np.int64)
    return first, last - first


def _distance(grid: HeatGrid, boxes: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Squared level-0 distance of pixel centres from the centres of boxes, float32 (N,)."""
    across, down = grid.pixel
    x = grid.box[0] + (column + 0.5) * across - (boxes[:, 0] + boxes[:, 2] / 2)
    y = grid.box[1] + (row + 0.5) * down - (boxes[:, 1] + boxes[:, 3] / 2)
    return (x * x + y * y).astype(np.float32)


def values_of(tiles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` (N,) at the pixels of `tile_of_pixel`: float32 (rows, columns), NaN where no tile is."""
    picture = np.full(tiles.shape, np.nan, dtype=np.float32)
    picture[tiles >= 0] = np.asarray(values, dtype=np.float32)[tiles[tiles >= 0]]
    return picture


def halved(picture: np.ndarray) -> np.ndarray:
    """The next coarser level, of half the sides: the highest of each four, so that a lone high tile does not fade away.

    `picture` float32 (rows, columns), both even; NaN only where all four are.
    """
    rows, columns = picture.shape
    return np.fmax.reduce(picture.reshape(rows // 2, 2, columns // 2, 2), axis=(1, 3))
