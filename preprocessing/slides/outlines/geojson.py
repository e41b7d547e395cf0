"""GeoJSON (RFC 7946) as QuPath writes it, and the JSON of public Camelyon16 polygons (positive, negative). Level-0 pixels."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from esad.preprocessing.slides.outlines.areas import Outline, known_kind
from esad.preprocessing.slides.outlines.geometry import corners_of, ellipse_in, mark, polygon

MARK_TYPES = ("Point", "MultiPoint", "LineString", "MultiLineString")
CLOSED_CORNERS = 3
ELLIPSE_POINTS = 5
"""QuPath marks ellipses (isEllipse); one of so few points states the box, and not the curve."""
DETECTIONS = ("detection", "cell", "tile", "tma_core", "tma core", "root", "unknown")
"""Types of QuPath's objects that nobody drew as an outline,"""
DETECTION_IDS = ("PathDetectionObject", "PathCellObject", "PathTileObject", "TMACoreObject", "PathRootObject")
"""and what QuPath 0.2 wrote as their `id`."""
OBJECT_KEYS = ("objectType", "object_type", "isLocked")
"""Properties of QuPath's objects, and of no other program's."""
CLASS_KEYS = ("classification", "class", "label", "category", "class_name", "classname")
"""Properties, in any case, that are a class: QuPath's, and what other programs and scripts write."""
NAME_KEYS = ("type", "name")
"""Properties that may say what an outline is where no class does."""
TEXT_KEYS = (
    "pathclass", "categoryname", "classid", "group", "grouplabel", "title", "text", "labels", "labelname", "annotation", "annotationlabel",
    "description", "structure", "tissue", "tissuetype", "pathology", "diagnosis", "lesion", "lesiontype", "kind", "tag", "tags", "value",
)  # fmt: skip
"""Other properties in which programs and scripts say what an outline is, their letters alone."""
SHAPE_WORDS = (
    "feature",
    "annotation",
    "polygon",
    "multipolygon",
    "rectangle",
    "ellipse",
    "freehand",
    "brush",
    "roi",
)
"""A `type` of these is that of the shape."""
NO_CLASSES = frozenset((
    "objecttype", "islocked", "measurements", "geometry", "nucleusgeometry", "coordinates", "geometries", "bbox", "plane", "crs",
    "isellipse", "parent", "children",
))  # fmt: skip
"""Members and properties, their letters alone, that say nothing of a class, nor does what lies in them: QuPath's and GeoJSON's."""
FORMS = frozenset((
    *SHAPE_WORDS, "polyline", "line", "linestring", "point", "points", "circle", "square", "box", "bbox", "bounding box", "path", "spline",
    "freeform", "pen", "contour", "area", "mask", "shape", "region of interest",
))  # fmt: skip
"""Values that name a form, or the tool that drew it."""
CLASS_IN_NAME = re.compile(
    "class(?!ifier)|klass|clase|categor|kategor|label(?!l?er)|etiquet|tissue|gewebe|tejido|tissu|tumou?r|lesion|diagnos|malign|benign"
    "|cancer|necros|^(grades?|grading|cls|pathology)$"
)
"""Words of a property's name, in lower case, by which it says what an outline is, whatever the value;"""
KIND_IN_NAME = re.compile("(types?|typ|tipo|groups?|gruppe|grupo|groupe)$|^(kinds?|terms?|tags?|art|cat)$")
"""words that do, unless the name is of"""
ELSEWHERE = frozenset((
    "stain", "staining", "image", "slide", "scanner", "scan", "project", "dataset", "case", "patient", "media", "device", "geometry",
    "geom", "coordinate", "coordinates", "license", "tool", "software", "program", "scale", "unit", "source", "study", "storage",
))  # fmt: skip
"""one of these;"""
FLAG_IN_NAME = re.compile("^(holes?|excluded?|exclusion|ignored?|negative)$")
NO = frozenset(("false", "0", "no"))
"""and words that do where the value is another than these."""
MEASURED = frozenset((
    "area", "perimeter", "length", "leng", "width", "height", "size", "count", "counts", "percent", "percentage", "fraction", "ratio",
    "score", "confidence", "probability", "prob", "iou", "opacity", "alpha", "thickness", "weight", "x", "y", "date", "time", "timestamp",
    "datetime", "created", "updated", "modified", "changed", "by", "at", "author", "user", "username", "file", "filename", "path", "url",
    "uri", "hash", "md5", "sha", "checksum", "has", "position", "mime", "visible", "font", "show", "display", "version",
))  # fmt: skip
"""Words that make of such a name (lesion_area, labelled_by) one of a measure, a date or a person,"""
NAMELESS = MEASURED - {"score", "confidence", "probability", "prob", "weight", "size"} | {
    "id", "ids", "fid", "gid", "uid", "uuid", "guid", "oid", "pk",
}  # fmt: skip
"""and those that do so of every other name (parent_id, drawn_by)."""
MEASURES = MEASURED | NAMELESS | frozenset((
    "objectid", "index", "idx", "ix", "nr", "no", "num", "number", "order", "n", "seq", "sequence", "track", "point", "points", "vertices",
    "line", "shape", "px", "um", "mm", "micron", "microns", "square", "m", "z", "t", "c", "the", "cx", "cy", "left", "top", "right",
    "bottom", "centroid", "center", "centre", "bounds", "min", "max", "mean", "circularity", "solidity", "eccentricity", "roundness",
    "mpp", "magnification", "fill", "stroke", "linewidth", "color", "colour", "rgb", "hex", "creation", "on", "creator", "owner",
    "editor", "annotator", "annotators", "reader", "labeler", "labeller", "classifier", "pathologist", "doctor", "physician",
    "observer", "rater", "reviewer", "drawn", "drawer", "operator", "email", "image", "slide", "slice", "case", "patient", "subject",
    "specimen", "source", "dataset", "project", "software", "program", "tool", "version", "locked", "hidden", "selected", "closed",
    "filled", "reviewed", "checked", "verified", "approved", "validated", "finished", "done", "rotation", "angle", "orientation",
    "zoom", "level", "scale", "resolution", "layout", "frame", "channel", "scanner", "hospital", "institution", "institute", "site",
    "lab", "barcode", "stain", "staining", "wsi", "session", "last", "first", "start", "end", "duration", "is", "of",
))  # fmt: skip
"""Words of names that measure, count or date an outline, or say where it comes from or what was done with it,"""
OF_ANYTHING = frozenset((
    "name", "annotation", "annotations", "object", "feature", "roi", "polygon", "outline", "meta", "metadata", "properties", "data",
    "attributes", "info", "extra",
))  # fmt: skip
"""and words that say nothing beside them, and alone may be a class."""
FREE_TEXTS = frozenset((
    "comment", "comments", "note", "notes", "remark", "remarks", "popup", "content", "html", "tooltip", "message", "bemerkung", "kommentar",
    "description", "descr", "beschreibung",
))  # fmt: skip
"""Names of free texts,"""
RUNNING = frozenset(("index", "idx", "ix", "nr", "no", "num", "number"))
"""and of numbers that count the outlines: a class where their few values repeat."""
COLOURS = frozenset(("color", "colour", "rgb", "fill", "stroke", "hex", "argb"))
"""Names of colours: a class where there are several."""
LONG_TEXT = 40
MANY_WORDS = 4
FEW = 12
"""Values at most of such a class."""
SMALL = 4
"""Outlines at most of a file in which no value has to stand twice to be a class."""
LARGEST = 255
"""Of whole numbers that are each of one outline in such a file, and yet may be classes."""
WORDS_IN_NAME = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
Property = tuple[str, ...]
"""A property, or names of objects in each other that lead to it."""
FORMAL = re.compile(
    r"#[0-9a-fA-F]{3,8}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d{4}-\d\d-\d\d([T ][\d:.,]+(Z|[+-][\d:]+)?)?"
)
"""Values that are no class: a colour, a UUID, a date."""


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


def geojson_outlines(features: list[Any]) -> tuple[list[Outline], Counter[str]]:
    """The annotations, and how many detections (QuPath's cells, tiles, ...) there are by class, which are no outlines."""
    outlines, detections = list[Outline](), Counter[str]()
    unread: list[dict[Property, str]] = []
    for feature in features:
        if not isinstance(feature, dict):
            raise ValueError("a feature is not an object")
        properties = feature.get("properties") or {}
        if _is_detection(feature.get("id"), properties):
            detections[_group(feature)] += 1
        else:
            geometry = feature.get("geometry", feature)
            shape = shapely.GeometryCollection() if geometry is None else _shape(geometry)
            group = _group(feature)
            unread.append({} if group else _unread(feature))
            outlines.append(Outline(group, shape, open=_is_closed_line(geometry)))
    stated: dict[Property, list[str]] = {}
    for one, found in zip(outlines, unread, strict=True):
        for names, value in found.items() if one.shape.area else ():
            stated.setdefault(names, []).append(value)
    bare = sum(not one.group and bool(one.shape.area) for one in outlines)
    classes = {names for names, values in stated.items() if _may_be_class(names, values, bare)}
    return [
        replace(one, beside={".".join(names): value for names, value in found.items() if names in classes})
        for one, found in zip(outlines, unread, strict=True)
    ], detections


def _is_closed_line(geometry: Any) -> bool:
    """Whether a line ends where it begins: its program drew no area, and yet it has an inside."""
    if not isinstance(geometry, dict) or geometry.get("type") not in {"LineString", "MultiLineString"}:
        return False
    lines = [geometry["coordinates"]] if geometry["type"] == "LineString" else geometry["coordinates"]
    return any(len(line) > CLOSED_CORNERS and line[0] == line[-1] for line in lines)


def is_of_qupath(features: list[Any]) -> bool:
    """Whether a feature has what QuPath alone writes: a type of its objects (0.3 on), an id such as PathAnnotationObject (0.2),
    a lock, or a classification with a colour."""
    return any(_has_marks_of_qupath(feature) for feature in features if isinstance(feature, dict))


def _has_marks_of_qupath(feature: dict[str, Any]) -> bool:
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    named = str(feature.get("id", ""))
    if set(OBJECT_KEYS) & set(properties) or (named.startswith("Path") and named.endswith("Object")):
        return True
    stated = properties.get("classification")
    return isinstance(stated, dict) and bool({"color", "colorRGB"} & set(stated))


def _is_detection(identifier: Any, properties: dict[str, Any]) -> bool:
    """By objectType (QuPath 0.4), else object_type (0.3), else the id (0.2); ValueError for a type that QuPath does not have."""
    stated = properties.get("objectType", properties.get("object_type"))
    if stated is None:
        return identifier in DETECTION_IDS if isinstance(identifier, str) else False
    kind = str(stated).strip().lower()
    if kind not in (*DETECTIONS, "annotation"):
        raise ValueError(f"an object of type {kind[:20]!r}, which QuPath does not have")
    return kind in DETECTIONS


def _group(feature: dict[str, Any]) -> str:
    """The class, the first of QuPath's derived ones (Tumor: Positive); else a name, which is then asked about; or empty.

    ValueError where two classes of one outline contradict each other and no `classification` decides.
    """
    beside = {"classification": feature["classification"]} if "classification" in feature else {}
    lower = {
        str(name).lower(): value for name, value in {**beside, **(feature.get("properties") or {})}.items()
    }
    classes = [name for name in (_class_in(lower.get(key)) for key in CLASS_KEYS) if name]
    other = next((name for name in classes if name.lower() != classes[0].lower()), None)
    if other is not None and not _class_in(lower.get(CLASS_KEYS[0])):
        raise ValueError(f"an outline of two classes, {classes[0][:20]!r} and {other[:20]!r}")
    if classes:
        return classes[0]
    bare = {re.sub("[^a-z]", "", name): value for name, value in lower.items()}
    told = [
        str(found[key]).strip()
        for found, keys in ((lower, NAME_KEYS), (bare, TEXT_KEYS))
        for key in keys
        if isinstance(found.get(key), str | int)
    ]
    return next((name for name in told if name and name.lower() not in SHAPE_WORDS), "")


def _class_in(value: Any) -> str:
    """The class in `classification` or what stands for it, a number as a text; empty where there is none, ValueError for anything else.

    Of derived classes (Tumor: Positive) the first, unless two of them are known and contradict each other (Stroma: Tumor).
    """
    if isinstance(value, dict):
        names = value.get("names")
        value = names if isinstance(names, list) and names else value.get("name")
    if value is None:
        return ""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        raise ValueError("a classification is neither a text nor a number")
    names = [name.strip() for part in parts for name in _text(part).split(":")]
    kinds = {known_kind(name) for name in names} - {None}
    return ": ".join(names) if len(kinds) > 1 else names[0]


def _text(value: str | int | float) -> str:
    """A value of JSON as a name: 1.0 is 1, as programs write whole numbers where some are missing."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.15g}"


def _unread(feature: dict[str, Any]) -> dict[Property, str]:
    """Properties of a feature without a class -> values that may be one, those of a list in one text."""
    members = {name: value for name, value in feature.items() if name not in ("type", "properties")}
    found: dict[Property, list[str]] = {}
    for source in (members, feature.get("properties") or {}):
        for names, value in _values(source, ()):
            words = _name_words(names)
            colour = bool(COLOURS & words)
            if (colour or "style" not in words) and _says_something(value, colour=colour):
                found.setdefault(names, []).append(_text(value).strip())
    return {names: ", ".join(values) for names, values in found.items()}


@lru_cache(maxsize=1024)
def _name_words(names: Property) -> frozenset[str]:
    """Words of a property's names in lower case, without accents: `tissueClass`, `tissue_class` and `TISSUE-CLASS` have the same."""
    plain = ("".join(filter(str.isascii, unicodedata.normalize("NFKD", name))) for name in names)
    return frozenset(word.lower() for name in plain for word in WORDS_IN_NAME.findall(name))


def _values(value: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str | int | float]]:
    """Texts and numbers in objects and lists, with the names that lead to each; not those below NO_CLASSES."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if re.sub("[^a-z]", "", str(name).lower()) not in NO_CLASSES:
                yield from _values(inner, (*names, str(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, names)
    elif isinstance(value, str | int | float):
        yield names, value


def _says_something(value: str | int | float, *, colour: bool) -> bool:
    """Whether a value may be a class: no fraction, form, formal or empty text; a `colour` is formal, and may stand for one."""
    if isinstance(value, float) and not value.is_integer():
        return False
    text = _text(value).strip()
    return bool(text) and text.lower() not in FORMS and (colour or not FORMAL.fullmatch(text))


def _may_be_class(names: Property, values: list[str], outlines: int) -> bool:
    """Whether a property that has `values` in a file of so many `outlines` without class may say what these are.

    It does by its name, whatever it says, or by a value that is known as what is no lesion; else if its values differ and repeat, and its
    name is none of measures, dates, persons and the like. One value for all outlines tells none of them apart.
    """
    words, distinct = _name_words(names), {value.lower() for value in values}
    kinds = {known_kind(value) for value in distinct}
    colour = words & COLOURS and not words & MEASURED
    if kinds - {None, "tumour"} or (not colour and _is_of_classes(words, distinct)):
        return True
    own = words - OF_ANYTHING
    repeats = len(distinct) < len(values)
    if len(distinct) < 2:
        return False
    if colour or "tumour" in kinds:
        return "tumour" in kinds or repeats or outlines <= SMALL
    if own & FREE_TEXTS or (own and own <= RUNNING):
        return repeats and len(distinct) <= FEW and not any(map(_is_long, distinct))
    if own & NAMELESS or (own and own <= MEASURES):
        return False
    return repeats or (outlines <= SMALL and not any(map(_is_long, distinct)))


def _is_of_classes(words: frozenset[str], values: set[str]) -> bool:
    """Whether a property of so many words in its name says what an outline is by that name."""
    if words & MEASURED:
        return False
    if any(map(CLASS_IN_NAME.search, words)):
        return True
    if any(map(KIND_IN_NAME.search, words)) and not words & ELSEWHERE:
        return True
    return any(map(FLAG_IN_NAME.search, words)) and not values <= NO


def _is_long(value: str) -> bool:
    """Whether a value that no other outline has is a free text, or a number that measures or counts something."""
    if re.fullmatch(r"[+-]?\d+", value):
        return abs(int(value)) > LARGEST
    return len(value) > LONG_TEXT or len(value.split()) > MANY_WORDS


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
    if content.get("negative") and not content.get("positive"):
        raise ValueError("what is cut out of a lesion (negative), and no lesion (positive) around it")
    for name, kind in (("positive", "tumour"), ("negative", "hole")):
        for shape in _list(content.get(name, [])):
            yield Outline(name, polygon([corners_of(shape["vertices"])]), kind)
