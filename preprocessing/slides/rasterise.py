"""Outlines to masks of a coarse level, straight from the polygons: no picture of the slide is ever made. Pure."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry


def outline_mask(
    area: BaseGeometry, pixel: float, corner: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Bool (rows, columns) = `size`: the mask pixels whose middle lies inside `area`, a valid geometry.

    `area` is in level-0 pixels, x to the right; a mask pixel is `pixel` of them wide, and the first one is column, row
    `corner` of the whole slide's mask. Each edge flips all pixels to the right of it in the rows that it crosses (the
    even-odd rule): the time grows with pixels plus vertices, where a test of each pixel grows with their product.
    """
    rows, columns = size
    start, end = _edges(area)
    start, end = (points / pixel - np.asarray(corner) for points in (start, end))
    falling = start[:, 1] > end[:, 1]
    start[falling], end[falling] = end[falling], start[falling].copy()
    first, last = (np.ceil(points[:, 1] - 0.5).clip(0, rows).astype(np.int64) for points in (start, end))
    crossed = last - first
    edge = np.repeat(np.arange(len(start)), crossed)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
    flips = np.zeros((rows, columns + 1), dtype=bool)
    np.logical_xor.at(flips, (row, (np.floor(x - 0.5) + 1).clip(0, columns).astype(np.int64)), True)
    return np.logical_xor.accumulate(flips, axis=1)[:, :columns]


def _edges(area: BaseGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Start and end points, each float64 (N, 2), of all edges of all rings, holes included."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(area)), return_index=True)
    joined = ring[1:] == ring[:-1]
    return points[:-1][joined].copy(), points[1:][joined].copy()
