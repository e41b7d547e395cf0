"""Outlines of lesions: ASAP XML, GeoJSON (QuPath) and the JSON of public Camelyon16 polygons -> tile fractions.

All coordinates are level-0 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import shapely
from defusedxml.ElementTree import parse
from shapely.geometry.base import BaseGeometry

from preprocessing.errors import InputError

TUMOUR_GROUPS = ("tumor", "tumour", "_0", "_1", "metastases")
HOLE_GROUPS = ("_2", "normal")
"""Groups of ASAP files (METHOD 7.1); Exclusion, None and others are left out."""
SUFFIXES = (".xml", ".geojson", ".json")


def _area(rings: Iterable[Any], path: Path) -> BaseGeometry:
    """Union of rings, each a list of (x, y); self-crossing ones are repaired."""
    shapes = []
    for ring in rings:
        points = np.asarray(ring, dtype=float)
        if points.ndim != 2 or points.shape[1] < 2 or not np.isfinite(points).all():
            raise InputError(f"{path.name}: an outline is not a list of x, y pairs.")
        if len(points) >= 3:
            shapes.append(shapely.make_valid(shapely.Polygon(points[:, :2])))
    return shapely.union_all(shapes)


def _read_asap(path: Path) -> BaseGeometry:
    try:
        root = parse(path).getroot()
        found: dict[str, list[list[tuple[float, float]]]] = {"tumour": [], "hole": []}
        for annotation in root.iter("Annotation"):
            group = annotation.get("PartOfGroup", "").strip().lower()
            kind = "tumour" if group in TUMOUR_GROUPS else "hole" if group in HOLE_GROUPS else None
            if kind:
                points = [(float(c.attrib["X"]), float(c.attrib["Y"])) for c in annotation.iter("Coordinate")]
                found[kind].append(points)
    except (ParseError, KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{path.name}: not a readable ASAP XML ({type(error).__name__}: {error})."
        ) from error
    return shapely.difference(_area(found["tumour"], path), _area(found["hole"], path))


def _read_json(path: Path) -> BaseGeometry:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: not readable JSON ({error}).") from error
    try:
        if isinstance(content, dict) and "positive" in content:
            tumour = _area([shape["vertices"] for shape in content["positive"]], path)
            return shapely.difference(
                tumour, _area([s["vertices"] for s in content.get("negative", [])], path)
            )
        features = content["features"] if isinstance(content, dict) and "features" in content else content
        features = features if isinstance(features, list) else [features]
        shapes = [shapely.from_geojson(json.dumps(feature.get("geometry", feature))) for feature in features]
    except (KeyError, TypeError, AttributeError, shapely.errors.GEOSException) as error:
        raise InputError(f"{path.name}: neither GeoJSON nor positive/negative outlines ({error}).") from error
    return shapely.union_all([shapely.make_valid(shape) for shape in shapes if shape.area > 0])


def read_outlines(path: Path) -> BaseGeometry:
    """The annotated area of one slide, holes cut out; an empty area where nothing is outlined. InputError else."""
    return _read_asap(path) if path.suffix.lower() == ".xml" else _read_json(path)


def find_outlines(folder: Path) -> dict[str, Path]:
    """Lower-case stem -> outline file, below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return {path.stem.lower(): path for path in files}


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
    for place in crossing:  # clip first: an outline of 10^5 vertices is not intersected whole
        x, y, width, height = boxes[place]
        piece = shapely.clip_by_rect(area, x, y, x + width, y + height)
        fractions[place] = piece.area / (width * height)
    return fractions.clip(0, 1)
