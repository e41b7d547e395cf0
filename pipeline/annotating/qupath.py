"""GeoJSON (RFC 7946) as QuPath reads it: candidates as annotations, tiles as tile objects, scores as measurements.

Coordinates are QuPath's: level-0 pixels less the bounds where the slide begins outside (0, 0).
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import Polygon, mapping

from esad.pipeline.annotating.candidate_shapes import CANDIDATE, COLOURS, SUSPICIOUS, candidate_shapes
from esad.pipeline.annotating.scored_slides import MEASURED, Box, ScoredSlide
from esad.preprocessing.store.writing import write_atomically

OBJECTS = uuid.uuid5(uuid.NAMESPACE_OID, "esad annotations")
"""What objects' ids are made in, with the item's name: the same scores give the same ids."""
TILES = ("none", "suspicious", "all")
DIGITS = 9
"""Significant digits of a measurement: what float32 holds."""


def write_qupath(path: Path, slide: ScoredSlide, tiles: str = "suspicious") -> None:
    """Write the slide's FeatureCollection to `path`, compressed where it ends in .gz; `tiles` is one of TILES.

    Without tiles and candidates it is a collection of nothing, which says that nothing was found.
    """

    def write(temporary: Path) -> None:
        lines = (json.dumps(each, separators=(",", ":"), allow_nan=False) for each in features(slide, tiles))
        with temporary.open("wb") as raw:
            # without name and time in the gzip's header, the same scores give the same bytes
            file = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
            file.write(b'{"type":"FeatureCollection","features":[')
            for number, line in enumerate(lines):
                file.write((",\n" if number else "\n").encode() + line.encode())
            file.write(b"\n]}\n")
            if file is not raw:
                file.close()

    write_atomically(path, write)


def features(slide: ScoredSlide, tiles: str) -> Iterator[dict[str, Any]]:
    """The slide's candidates, then of its tiles those asked for; what lies wholly outside the bounds, and is not shown, is left out."""
    left, top = slide.shown[:2]
    inside = _overlapping(slide.boxes(), slide.shown)
    for each in candidate_shapes(slide.tiles[slide.suspicious & inside]):
        parts = [_moved(part, left, top) for part in each.polygons()]
        geometry = (
            {"type": "Polygon", "coordinates": parts[0]}
            if len(parts) == 1
            else {"type": "MultiPolygon", "coordinates": parts}
        )
        measurements = {**_measurements(each.top), "tiles": each.tiles}
        key = f"candidate\0{each.top['item_id']}"
        yield _feature(key, geometry, "annotation", CANDIDATE, measurements, f"Candidate {each.number}")
    wanted = inside & {"none": np.zeros_like(inside), "all": inside, "suspicious": slide.suspicious}[tiles]
    names = ["item_id", "x", "y", "width", "height", *(name for name in MEASURED if name in slide.tiles)]
    rows = slide.tiles.loc[wanted, names].to_dict("records")
    for row, suspicious in zip(rows, slide.suspicious[wanted], strict=True):
        geometry = {"type": "Polygon", "coordinates": [_ring(row, left, top)]}
        name = SUSPICIOUS if suspicious else None
        yield _feature(str(row["item_id"]), geometry, "tile", name, _measurements(row))


def _feature(
    key: str,
    geometry: Mapping[str, Any],
    kind: str,
    name: str | None,
    measurements: Mapping[str, Any],
    title: str = "",
) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": kind, "isLocked": True, "measurements": measurements}
    if name is not None:
        properties["classification"] = {"name": name, "color": list(COLOURS[name])}
    if title:
        properties["name"] = title
    return {"type": "Feature", "id": object_id(key), "geometry": geometry, "properties": properties}


def _overlapping(boxes: np.ndarray, box: Box) -> np.ndarray:
    """Which boxes (N, 4) share an area with `box`: bool (N,)."""
    left, top, width, height = boxes.T
    across = (left < box[0] + box[2]) & (left + width > box[0])
    return across & (top < box[1] + box[3]) & (top + height > box[1])


def object_id(key: str) -> str:
    """The id of the object of an item, or of `candidate\\0` and the item that is highest in it."""
    return str(uuid.uuid5(OBJECTS, key))


def _moved(part: Polygon, left: float, top: float) -> list[list[list[float]]]:
    """Closed rings, the outer one first, less the bounds."""
    rings = mapping(part)["coordinates"]
    return [[[_plain(x - left), _plain(y - top)] for x, y in ring] for ring in rings]


def _ring(row: Mapping[str, Any], left: float, top: float) -> list[list[float]]:
    x, y = _plain(row["x"] - left), _plain(row["y"] - top)
    right, bottom = _plain(x + row["width"]), _plain(y + row["height"])
    return [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]


def _plain(value: float) -> float:
    """A whole number without a point: half of a large file would be `.0`."""
    value = round(float(value), 2)
    return int(value) if value.is_integer() else value


def _measurements(row: Mapping[str, Any]) -> dict[str, float]:
    """All of MEASURED that are numbers; JSON has no other."""
    found = {name: float(row[name]) for name in MEASURED if name in row and row[name] is not None}
    return {name: float(f"{value:.{DIGITS}g}") for name, value in found.items() if np.isfinite(value)}
