"""Outlines of lesions: ASAP and Aperio ImageScope XML, GeoJSON (QuPath) and the JSON of public Camelyon16 polygons -> tile fractions.

All coordinates are level-0 pixels.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import shapely
from defusedxml.ElementTree import fromstring
from shapely.geometry.base import BaseGeometry

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.zips import file_names, read_member

TUMOUR_GROUPS = ("tumor", "tumour", "_0", "_1", "metastases", "metastasis")
HOLE_GROUPS = ("_2", "normal")
PASSED_GROUPS = ("exclusion", "none", "other", "ignore*", "region*")
"""Groups of ASAP files and classes of QuPath, in lower case
(docs/explanation/protocols.md#camelyon16-facts)."""
Stated = Mapping[str, str]
"""Group or class of outlines, in lower case -> the kind that a person says it is: a value of OF_CLASSES."""
OF_CLASSES = {"anomaly": "tumour", "hole": "hole", "ignore": "ignored"}
NO_AREA_TYPES = ("dot", "pointset", "measurement")
REGION_TYPES = {"0": "polygon", "1": "rectangle", "2": "ellipse"}
"""Of ImageScope's regions those that have an area."""
ELLIPSE_CORNERS = 720
SUFFIXES = (".xml", ".geojson", ".json")
PIECE_VERTICES = 256
PIECE_BOXES = 8


def _polygons(shape: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry that was made valid; lines and points left over by the repair have no area."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])


def _points(ring: Any, path: Path) -> np.ndarray:
    """A ring's corners, float64 (N, 2); fewer than three, which enclose nothing, become none."""
    if len(ring) < 3:
        return np.empty((0, 2))
    points = np.asarray(ring, dtype=float)
    if points.ndim != 2 or points.shape[1] < 2 or not np.isfinite(points).all():
        raise InputError(f"{path.name}: an outline is not a list of x, y pairs.")
    return points[:, :2]


def _polygon(rings: Iterable[Any], path: Path) -> BaseGeometry:
    """The area of an outer ring and the rings of its holes, closed or not; one that crosses itself is repaired."""
    outer, *holes = [_points(ring, path) for ring in rings] or [np.empty((0, 2))]
    return _polygons(shapely.make_valid(shapely.Polygon(outer, [hole for hole in holes if len(hole)])))


def _areas(found: Mapping[str, list[BaseGeometry]], path: Path) -> Areas:
    """Unions of the outlines by kind, that of the holes cut out; InputError where no tumour outline encloses anything."""
    tumour, holes = found["tumour"], found["hole"]
    whole = shapely.union_all(tumour)
    if tumour and whole.is_empty:
        raise InputError(
            f"{path.name}: its {len(tumour)} outlines enclose no area (fewer than three points, or all on a line)."
        )
    cut = shapely.difference(whole, shapely.union_all(holes)) if holes else whole
    return Areas(cut, shapely.union_all(found["ignored"]))


@dataclass(frozen=True)
class Areas:
    """What the outlines of a slide enclose, in level-0 pixels: tumour, holes cut out, and what is to have no label."""

    tumour: BaseGeometry
    ignored: BaseGeometry


def _kind(group: str, stated: Stated) -> str:
    """`tumour`, `hole`, `ignored`, `passed` (over, as if not there) or `unknown`; what is `stated` comes first."""
    group = group.strip().lower()
    kinds = {"tumour": TUMOUR_GROUPS, "hole": HOLE_GROUPS, "passed": PASSED_GROUPS}
    return stated.get(group) or next((kind for kind, groups in kinds.items() if group in groups), "unknown")


def _check_groups(unknown: Counter[str], path: Path) -> None:
    """Refuse a file with outlines of a group that this module does not know: their tiles would pass for normal."""
    if unknown:
        counts = ", ".join(f"{count} of {group!r}" for group, count in sorted(unknown.items()))
        raise InputError(
            f"{path.name}: its outlines are of groups that are not known ({counts}); expected one of "
            f"{', '.join(TUMOUR_GROUPS)} for tumour, {', '.join(HOLE_GROUPS)} for holes, {', '.join(PASSED_GROUPS)} for "
            "what is passed over. Say what each is with --outline-class NAME=anomaly, hole or ignore."
        )


def _number(text: str) -> float:
    """A coordinate; ASAP on a computer set to German or Dutch writes decimal commas."""
    return float(text.replace(",", "."))


def _read_xml(path: Path, stated: Stated) -> Areas:
    """Outlines of ASAP or Aperio ImageScope, told apart by their elements; InputError for any other XML."""
    try:
        root = fromstring(outline_bytes(path))
        if root.tag == "ASAP_Annotations":
            outlines = _asap_outlines(root)
        elif (root.tag == "Annotations" and "MicronsPerPixel" in root.attrib) or root.find(
            ".//Regions"
        ) is not None:
            outlines = _imagescope_outlines(root, stated)
        else:
            raise InputError(
                f"{path.name}: an XML of another program (its first element is {root.tag!r}); expected ASAP's "
                "(ASAP_Annotations) or Aperio ImageScope's (Annotations with Regions). Export it as one of these, or as "
                "GeoJSON."
            )
        found: dict[str, list[Any]] = {"tumour": [], "hole": [], "ignored": [], "passed": []}
        unknown: Counter[str] = Counter()
        for group, points in outlines:
            kind = _kind(group, stated)
            if kind == "unknown":
                unknown[group] += 1
            else:
                found[kind].append(_polygon([points], path))
    except (ParseError, KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{path.name}: not a readable XML of outlines ({type(error).__name__}: {error})."
        ) from error
    _check_groups(unknown, path)
    return _areas(found, path)


def _asap_outlines(root: Element) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """(group, corners) of each annotation that has an area."""
    for annotation in root.iter("Annotation"):
        if annotation.get("Type", "").strip().lower() not in NO_AREA_TYPES:
            corners = [
                (_number(c.attrib["X"]), _number(c.attrib["Y"])) for c in annotation.iter("Coordinate")
            ]
            yield annotation.get("PartOfGroup", "None"), corners


def _imagescope_outlines(root: Element, stated: Stated) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """(class, corners) of each region: the class is its layer's name, a region marked NegativeROA is a hole.

    A layer without a name is tumour, as GeoJSON's polygons without a class are. Region types: 0 polygon, 1 rectangle,
    2 ellipse (both by two opposite corners or all four); others (arrows, rulers) have no area.
    """
    for layer in root.iter("Annotation"):
        name = layer.get("Name", "").strip() or "tumor"
        for region in layer.iter("Region"):
            corners = [(_number(v.attrib["X"]), _number(v.attrib["Y"])) for v in region.iter("Vertex")]
            kind = region.get("Type", "0").strip()
            if kind not in REGION_TYPES:
                continue
            if kind != "0" and len(corners) >= 2:
                corners = _within_box(corners, REGION_TYPES[kind])
            negative = region.get("NegativeROA", "0").strip() == "1"
            yield "_2" if negative and _kind(name, stated) == "tumour" else name, corners


def _within_box(corners: list[tuple[float, float]], shape: str) -> list[tuple[float, float]]:
    """The outline of a `rectangle`, or of an `ellipse`, that spans the box of the given corners."""
    points = np.asarray(corners, dtype=float)
    low, high = points.min(0), points.max(0)
    if shape == "rectangle":
        return [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
    x, y = ((low + high) / 2)[:, None] + ((high - low) / 2)[:, None] * np.stack(
        [np.cos(angles), np.sin(angles)]
    )
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _group(feature: dict[str, Any]) -> str:
    """The class of a GeoJSON feature, the first of QuPath's derived ones (Tumor: Positive); empty where it has none."""
    classification = (feature.get("properties") or {}).get("classification") or {}
    if not isinstance(classification, dict):
        return str(classification)
    names = classification.get("names") or [classification.get("name") or ""]
    return str(names[0]).split(":")[0]


def _geojson_polygons(geometry: dict[str, Any], path: Path) -> BaseGeometry:
    """The area of a GeoJSON geometry; points and lines have none. ValueError for a type that is none of GeoJSON's."""
    kind = geometry["type"]
    if kind == "Polygon":
        return _polygon(geometry["coordinates"], path)
    if kind == "MultiPolygon":
        return shapely.union_all([_polygon(rings, path) for rings in geometry["coordinates"]])
    if kind == "GeometryCollection":
        return shapely.union_all([_geojson_polygons(part, path) for part in geometry["geometries"]])
    if kind in {"Point", "MultiPoint", "LineString", "MultiLineString"}:
        return shapely.Polygon()
    raise ValueError(f"type {kind!r}")


def _read_geojson(content: Any, path: Path, stated: Stated) -> Areas:
    """Features without a class are tumour: a file of bare polygons outlines what it is about.

    QuPath's cells and other detections are no outlines.
    """
    found: dict[str, list[Any]] = {"tumour": [], "hole": [], "ignored": [], "passed": []}
    unknown: Counter[str] = Counter()
    detections: Counter[str] = Counter()
    if (
        isinstance(content, dict)
        and "features" not in content
        and "geometry" not in content
        and "type" not in content
    ):
        raise InputError(
            f"{path.name}: a JSON of another program (it has {', '.join(sorted(map(str, content))[:6]) or 'nothing'}); "
            "expected GeoJSON, or Camelyon16 polygons (positive, negative). Export it as GeoJSON."
        )
    features = content["features"] if isinstance(content, dict) and "features" in content else content
    for feature in features if isinstance(features, list) else [features]:
        of_type = (feature.get("properties") or {}).get("objectType", "annotation")
        group = _group(feature)
        kind = _kind(group, stated) if group else "tumour"
        if of_type != "annotation":
            detections[of_type] += 1
        elif kind == "unknown":
            unknown[group] += 1
        else:
            found[kind].append(_geojson_polygons(feature.get("geometry", feature), path))
    if not found["tumour"]:  # a file of detections alone outlines nothing that can be told
        unknown += detections
    _check_groups(unknown, path)
    return _areas(found, path)


def _read_json(path: Path, stated: Stated) -> Areas:
    try:
        content = json.loads(outline_bytes(path).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: not readable JSON ({error}).") from error
    try:
        if not (isinstance(content, dict) and "positive" in content):
            return _read_geojson(content, path, stated)
        tumour, holes = (
            [_polygon([shape["vertices"]], path) for shape in content.get(name, [])]
            for name in ("positive", "negative")
        )
        return _areas({"tumour": tumour, "hole": holes, "ignored": []}, path)
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.GEOSException) as error:
        raise InputError(f"{path.name}: neither GeoJSON nor positive/negative outlines ({error}).") from error


def read_areas(path: Path, classes: Mapping[str, str] | None = None) -> Areas:
    """What the outlines of one slide enclose, in level-0 pixels; empty areas where nothing is outlined.

    `classes` says what groups (ASAP), layers (ImageScope) or classes (QuPath), in any case, are: a key of OF_CLASSES each,
    before what this module knows of them.
    Raises InputError, naming the file, where it cannot be read, is of another schema, or outlines an unknown group or no area
    at all.
    """
    read = _read_xml if path.suffix.lower() == ".xml" else _read_json
    return read(path, {name.strip().lower(): OF_CLASSES[kind] for name, kind in (classes or {}).items()})


def read_outlines(path: Path, classes: Mapping[str, str] | None = None) -> BaseGeometry:
    """The tumour area of one slide, holes cut out, in level-0 pixels; see `read_areas`."""
    return read_areas(path, classes).tumour


def outline_bytes(path: Path) -> bytes:
    """Content of an outline file, or of a member of a zip where `path` is ARCHIVE.zip/MEMBER; nothing is unpacked.

    Raises InputError, naming the file, where it cannot be read.
    """
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    try:
        if archive is None:
            return path.read_bytes()
        with zipfile.ZipFile(archive) as members:
            return read_member(members, path.relative_to(archive).as_posix())
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name}: cannot be read ({error}).") from error


def _outline_files(folder: Path) -> Iterator[Path]:
    """All files below `folder`, and the members of its zips as ARCHIVE.zip/MEMBER."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if not path.is_file():
            continue
        if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
            yield from (path / name for name in file_names(path))
        else:
            yield path


def find_outlines(folder: Path, stems: Iterable[str] | None = None) -> dict[str, Path]:
    """Lower-case stem -> outline file below `folder` (or in a zip there), for the slides `stems` (any case) or for all.

    Members of a zip are told as ARCHIVE.zip/MEMBER, which `read_outlines` understands. Raises UsageError where two
    files outline the same slide.
    """
    wanted = None if stems is None else {stem.lower() for stem in stems}
    found: dict[str, Path] = {}
    for path in _outline_files(folder):
        stem = path.stem.lower()
        if path.suffix.lower() not in SUFFIXES or (wanted is not None and stem not in wanted):
            continue
        if path.name.startswith("."):
            continue
        if stem in found:
            raise UsageError(
                f"{found[stem]} and {path} both outline the slide {path.stem}; keep one of them."
            )
        found[stem] = path
    return found


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
