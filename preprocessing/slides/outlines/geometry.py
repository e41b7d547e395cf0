"""Numbers, rings and shapes of outline files, checked: what is no coordinate is refused before it becomes an area. Pure.

Faults are ValueErrors in words; `reading.py` names the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

ELLIPSE_CORNERS = 720
LARGEST = 1e10
"""No slide has a coordinate beyond it: 10 m in nm (NDPA), and GEOS' arithmetic is exact to far less than a pixel below."""
NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?", re.ASCII)


def number(text: str | None) -> float:
    """A coordinate from XML; programs on a computer set to German or Dutch write decimal commas. ValueError else."""
    if text is None or not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"a coordinate is {_short(text)}, not a number")
    return _checked(float(text.strip().replace(",", ".")))


def only(parent: Element, tag: str) -> None:
    """ValueError for a child of another name: a corner that is called otherwise would be lost, and a part of a lesion with it."""
    strange = next((child.tag for child in parent if child.tag != tag), None)
    if strange is not None:
        raise ValueError(f"an element {str(strange)[:20]!r} among corners; expected {tag}")


def json_number(value: Any) -> float:
    """A coordinate from JSON: an int or float, no boolean and no text; ValueError else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a coordinate is {_short(value)}, not a number")
    return _checked(value)


def _checked(value: float) -> float:
    if not abs(value) <= LARGEST:  # NaN is neither
        raise ValueError(f"a coordinate is {_short(value)}, beyond any slide")
    return float(value)


def _short(value: Any) -> str:
    """The value as it may be shown: its beginning, or what kind of value it is."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a huge number"
    return repr(value)[:40] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def corners_of(ring: Any) -> np.ndarray:
    """float64 (N, 2) of a JSON list of [x, y] or [x, y, z]; ValueError for anything else."""
    if not isinstance(ring, list | tuple):
        raise ValueError("an outline is not a list of x, y pairs")
    for point in ring:
        if not isinstance(point, list | tuple) or len(point) < 2:
            raise ValueError("an outline is not a list of x, y pairs")
    pairs = [(json_number(point[0]), json_number(point[1])) for point in ring]
    return np.array(pairs, dtype=float).reshape(-1, 2)


def polygon(rings: Iterable[Sequence[Any] | np.ndarray]) -> BaseGeometry:
    """The area of an outer ring and the rings of its holes, float (N, 2) each, closed or not.

    One that crosses itself encloses whatever it goes around, once or several times (the nonzero winding rule), since hands that
    draw a contour overlap where they began. A ring that encloses nothing (fewer than three corners, all on a line) comes back as
    a `mark`, so that it is known where it lies; a hole that encloses nothing is none.
    """
    outer, *holes = [np.asarray(ring, dtype=float).reshape(-1, 2) for ring in rings] or [np.empty((0, 2))]
    if len(outer) >= 3:
        holes = [hole for hole in holes if len(hole) >= 3]
        area = shapely.Polygon(outer, holes)
        if not area.is_valid:
            area = shapely.difference(_inside(outer), shapely.union_all([_inside(hole) for hole in holes]))
        area = _polygons(area)
        if not area.is_empty:
            return area
    return mark(outer)


def _inside(ring: np.ndarray) -> BaseGeometry:
    """What a ring (N, 2), N > 2, goes around. GEOS' `structure` counts turns, but two of opposite direction as none; these
    `linework` has."""
    bare = shapely.Polygon(ring)
    found = [shapely.make_valid(bare), shapely.make_valid(bare, method="structure", keep_collapsed=False)]
    return shapely.union_all([_polygons(one) for one in found])


def mark(corners: np.ndarray) -> BaseGeometry:
    """What has no area: the line through the corners (N, 2), or the point where there are fewer than two."""
    return shapely.LineString(corners) if len(corners) >= 2 else shapely.MultiPoint(corners)


def _polygons(shape: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry that was made valid; lines and points left over by the repair have no area."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])


def rectangle(corners: np.ndarray) -> np.ndarray:
    """The corners (4, 2) of the box that spans the given corners (N, 2), N > 0."""
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def ellipse(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """ELLIPSE_CORNERS corners of an upright ellipse; `centre` and `radii` are x, y. Its area is right within 0.002 %."""
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
    return np.asarray(centre) + np.asarray(radii) * np.column_stack([np.cos(angles), np.sin(angles)])


def ellipse_in(corners: np.ndarray) -> np.ndarray:
    """The upright ellipse in the box that spans the given corners (N, 2), N > 0."""
    low, high = corners.min(0), corners.max(0)
    return ellipse((low + high) / 2, (high - low) / 2)
