"""GeoJSON (RFC 7946) as QuPath writes it, and the JSON of public Camelyon16 polygons (positive, negative). Level-0 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from esad.preprocessing.slides.outlines.areas import Outline
from esad.preprocessing.slides.outlines.geometry import corners_of, ellipse_in, mark, polygon

MARK_TYPES = ("Point", "MultiPoint", "LineString", "MultiLineString")
ELLIPSE_POINTS = 5
"""QuPath marks ellipses (isEllipse); one of so few points states the box, and not the curve."""


def features_of(content: Any) -> list[Any]:
    """The features of a collection, of a list (QuPath without "FeatureCollection"), or the one there is.

    ValueError for anything else, and for an empty list, which says nothing.
    """
    if isinstance(content, dict):
        if "features" in content:
            features = content["features"]
            if content.get("type", "FeatureCollection") != "FeatureCollection" or not isinstance(
                features, list
            ):
                raise ValueError("its features are no list of a FeatureCollection")
            return features
        return [content]
    if not isinstance(content, list) or not content:
        raise ValueError(
            "no GeoJSON: neither an object nor a list of features (what is empty is a FeatureCollection)"
        )
    return content


def geojson_outlines(features: list[Any]) -> tuple[list[Outline], int]:
    """The annotations, and how many detections (QuPath's cells, tiles, ...) there are, which are no outlines."""
    outlines, detections = [], 0
    for feature in features:
        if not isinstance(feature, dict):
            raise ValueError("a feature is not an object")
        properties = feature.get("properties") or {}
        if properties.get("objectType", "annotation") != "annotation":
            detections += 1
        else:
            outlines.append(Outline(_group(properties), _shape(feature.get("geometry", feature))))
    return outlines, detections


def _group(properties: dict[str, Any]) -> str:
    """The class, the first of QuPath's derived ones (Tumor: Positive); empty where there is none."""
    classification = properties.get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        classification = names[0] if isinstance(names, list) and names else classification.get("name")
    if classification is None:
        return ""
    if not isinstance(classification, str):
        raise ValueError("a classification is not a text")
    return classification.split(":")[0].strip()


def _shape(geometry: dict[str, Any]) -> BaseGeometry:
    """The area of a geometry; points and lines as they are. ValueError for a type that is none of GeoJSON's."""
    kind = geometry["type"]
    if kind == "Polygon":
        return _polygon(geometry["coordinates"], geometry.get("isEllipse", False))
    if kind == "MultiPolygon":
        return shapely.union_all([_polygon(rings) for rings in _list(geometry["coordinates"])])
    if kind == "GeometryCollection":
        return shapely.union_all([_shape(part) for part in _list(geometry["geometries"])])
    return _mark(str(kind), geometry["coordinates"] if kind in MARK_TYPES else [])


def _mark(kind: str, coordinates: Any) -> BaseGeometry:
    """A geometry without area."""
    if kind == "MultiPoint":
        return shapely.MultiPoint(corners_of(coordinates))
    if kind in {"Point", "LineString"}:
        return mark(corners_of([coordinates] if kind == "Point" else coordinates))
    if kind == "MultiLineString":
        return shapely.union_all([mark(corners_of(line)) for line in _list(coordinates)])
    raise ValueError(f"a geometry of type {kind[:20]!r}, which GeoJSON does not have")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a geometry without a list of coordinates")
    return value


def _polygon(rings: Any, is_ellipse: Any = False) -> BaseGeometry:
    corners = [corners_of(ring) for ring in _list(rings)]
    if is_ellipse is True and len(corners) == 1 and 2 <= len(corners[0]) <= ELLIPSE_POINTS:
        return polygon([ellipse_in(corners[0])])
    return polygon(corners)


def camelyon16_outlines(content: dict[str, Any]) -> Iterator[Outline]:
    """Each polygon: `positive` is tumour, `negative` a hole; ValueError for anything beside them."""
    strange = sorted(str(name) for name in content if name not in {"positive", "negative"})
    if strange:
        raise ValueError(f"{strange[0][:20]!r} beside positive and negative")
    for name, kind in (("positive", "tumour"), ("negative", "hole")):
        for shape in _list(content.get(name, [])):
            yield Outline(name, polygon([corners_of(shape["vertices"])]), kind)
