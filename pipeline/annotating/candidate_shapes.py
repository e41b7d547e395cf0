"""Lesion candidates as shapes: the suspicious tiles of a slide that touch, as one outline each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

GAP = 0.005
"""Half the gap between tiles that still touch, as a share of a tile: corners are whole pixels, distances need not be."""
DIGITS = 2
"""Of coordinates, after the point."""
CANDIDATE, SUSPICIOUS, HOLE = "Anomaly candidate", "Suspicious tile", "Hole in candidate"
COLOURS = {CANDIDATE: (213, 94, 0), SUSPICIOUS: (230, 159, 0), HOLE: (86, 180, 233)}
"""One colour for one meaning, over all slides and formats: of Okabe and Ito's palette, safe for colour-blind eyes."""


@dataclass(frozen=True)
class Candidate:
    """A group of suspicious tiles that touch by side or corner."""

    number: int
    """From 1, the highest score first."""
    top: dict[str, Any]
    """The row of its highest tile."""
    tiles: int
    shape: BaseGeometry
    """Level-0 pixels."""

    def polygons(self) -> list[Polygon]:
        """Its parts, holes inside them, each outer ring counter-clockwise (RFC 7946); parts may touch at corners."""
        return [orient(part) for part in shapely.get_parts(self.shape) if part.area > 0]


def candidate_shapes(tiles: pd.DataFrame) -> list[Candidate]:
    """The groups of these suspicious tiles (rows of scores.parquet), the highest score first.

    A shape is the union of a group's tiles; gaps of one pixel, where corners were rounded, are closed.
    """
    if tiles.empty:
        return []
    boxes = tiles[["x", "y", "width", "height"]].to_numpy(dtype=float)
    left, top, width, height = boxes.T
    margin = max(1.0, GAP * float(boxes[:, 2:].max()))
    wide = shapely.box(left - margin, top - margin, left + width + margin, top + height + margin)
    groups = shapely.get_parts(shapely.union_all(wide))
    middles = shapely.points(left + width / 2, top + height / 2)
    inside, member = shapely.STRtree(groups).query(middles, predicate="within")
    group = np.empty(len(tiles), dtype=int)
    group[inside] = member
    found = [
        (tiles[group == number], groups[number].buffer(-margin, join_style="mitre"))
        for number in range(len(groups))
    ]
    found.sort(key=lambda pair: float(pair[0]["score"].max()), reverse=True)
    return [
        Candidate(number, _highest(members), len(members), _rounded(shape))
        for number, (members, shape) in enumerate(found, 1)
    ]


def _highest(members: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in members.loc[members["score"].idxmax()].items()}


def _rounded(shape: BaseGeometry) -> BaseGeometry:
    return shapely.transform(shape, lambda corners: np.round(corners, DIGITS))
