"""Shares of tiles inside an outlined area, exact. Pure."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

PIECE_VERTICES = 256
PIECE_BOXES = 8


def outline_fractions(area: BaseGeometry, boxes: np.ndarray) -> np.ndarray:
    """Share of each box's area inside `area`, float64 (N,) in [0, 1], exact; boxes (N, 4) x, y, width, height.

    Only boxes that cross the outline are intersected with it: those wholly inside are told by a prepared test.
    """
    fractions = np.zeros(len(boxes))
    if area.is_empty or not len(boxes):
        return fractions
    squares = shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3])
    shapely.prepare(area)
    inside = shapely.contains_properly(area, squares)
    crossing = np.flatnonzero(shapely.intersects(area, squares) & ~inside)
    fractions[inside] = 1.0
    _fill(area, boxes, crossing, fractions)
    return fractions.clip(0, 1)


def _fill(area: BaseGeometry, boxes: np.ndarray, places: np.ndarray, fractions: np.ndarray) -> None:
    """Write the fractions of `places`; boxes and outline are halved together, so that no box meets the whole outline."""
    if len(places) > PIECE_BOXES and shapely.get_num_coordinates(area) > PIECE_VERTICES:
        low, high = boxes[places, :2].min(0), (boxes[places, :2] + boxes[places, 2:]).max(0)
        part = shapely.clip_by_rect(area, *low, *high)
        order = places[np.argsort(boxes[places, int(np.argmax(high - low))], kind="stable")]
        for half in np.array_split(order, 2):
            _fill(part, boxes, half, fractions)
        return
    for place in places:
        x, y, width, height = boxes[place]
        fractions[place] = shapely.clip_by_rect(area, x, y, x + width, y + height).area / (width * height)
