"""One outline file to areas: which program wrote it, and its faults in words.

XML of ASAP, Aperio ImageScope and Hamamatsu (NDPA); GeoJSON (QuPath), the JSON of public Camelyon16 polygons, labelme and COCO.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn
from xml.etree.ElementTree import Element, ParseError

import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.refusals import NOWHERE, in_words, leads_nowhere
from esad.preprocessing.slides.outlines.areas import OF_CLASSES, Areas, Stated, collect
from esad.preprocessing.slides.outlines.asap import asap_outlines
from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.slides.outlines.geojson import (
    camelyon16_outlines,
    features_of,
    geojson_outlines,
    is_of_qupath,
)
from esad.preprocessing.slides.outlines.imagescope import imagescope_outlines, is_imagescope, is_lone_layer
from esad.preprocessing.slides.outlines.labelme_coco import (
    coco_outlines,
    is_coco,
    is_labelme,
    labelme_outlines,
)
from esad.preprocessing.slides.outlines.ndpa import is_ndpa, ndpa_outlines
from esad.preprocessing.zips import read_member

Origin = Literal["bounds", "slide"]
"""Where GeoJSON counts pixels from: the bounds of what was scanned, as QuPath does, or level 0's own corner."""
XML_SUFFIXES = (".xml", ".ndpa")
SUFFIXES = (*XML_SUFFIXES, ".geojson", ".json")
MOST_LEVELS = 50
"""Of elements in elements; no program that writes outlines uses more than eight."""
FAULTS = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError,
    ParseError, shapely.errors.ShapelyError,
)  # fmt: skip
"""What parsers, GEOS and readers raise on a file that is not what it should be."""


IN_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (DefusedXmlException, "it declares XML entities or refers to other files, which is not followed"),
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it is too large for the memory"),
    ((shapely.errors.ShapelyError, ArithmeticError), "its outlines cannot be joined to areas"),
    (UnicodeError, "it is no text"),
    ((TypeError, AttributeError, IndexError), "a value is of another kind than its program writes"),
)


def read_areas(
    path: Path,
    classes: Mapping[str, str] | None = None,
    frame: SlideFrame | None = None,
    origin: Origin | None = None,
) -> Areas:
    """What the outlines of one slide enclose, in level-0 pixels; empty areas where the file says that nothing is outlined.

        `classes` says what groups (ASAP), layers (ImageScope), titles (NDPA), classes, labels or categories, in any case, are: a
    key of OF_CLASSES each, before what this module knows of them. `frame` is the slide: all outlines must lie on it, and NDPA,
    labelme and COCO cannot be read without. `origin` says where GeoJSON counts pixels from. Without it QuPath's counts from the
    bounds of the slide, and that of other programs is refused where these begin elsewhere than at (0, 0).
    Raises InputError, naming the file, where it cannot be read, is of another ending or schema, is not of this slide, outlines an
    unknown group or no area at all, or does not say what is a lesion.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path.name}: outlines are not read from a file of this ending; expected {', '.join(SUFFIXES)}. Export it as one of "
            "these, or put it elsewhere if it holds no outlines."
        )
    stated = {name.strip().lower(): OF_CLASSES[kind] for name, kind in (classes or {}).items()}
    is_xml = path.suffix.lower() in XML_SUFFIXES
    try:
        return _read_xml(path, stated, frame) if is_xml else _read_json(path, stated, frame, origin)
    except FAULTS as error:
        what = "XML of outlines" if is_xml else "JSON of outlines"
        raise InputError(f"{path.name}: not a readable {what} ({fault_in_words(error)}).") from error


def read_outlines(
    path: Path, classes: Mapping[str, str] | None = None, frame: SlideFrame | None = None
) -> BaseGeometry:
    """The tumour area of one slide, holes cut out, in level-0 pixels; see `read_areas`."""
    return read_areas(path, classes, frame).tumour


def fault_in_words(error: BaseException) -> str:
    """What a person can do something about, without the name of an exception."""
    told = next((words for kinds, words in IN_WORDS if isinstance(error, kinds)), None)
    if told is None and isinstance(error, KeyError):
        return f"{str(error)[:40]} is missing"
    return told or str(error).rstrip(".")


def _content(path: Path) -> bytes:
    content = outline_bytes(path)
    if not content.strip():
        raise InputError(
            f"{path.name}: holds nothing ({len(content)} bytes). Expected outlines, or a file that says that there are none."
        )
    return content


def check_levels(root: Element) -> None:
    """RecursionError where elements lie deeper than MOST_LEVELS: readers look through all that lies in an element."""
    level = [root]
    for _ in range(MOST_LEVELS):
        level = [inner for element in level for inner in element]
        if not level:
            return
    raise RecursionError


def _read_xml(path: Path, stated: Stated, frame: SlideFrame | None) -> Areas:
    """Told apart by the elements; InputError for any other XML."""
    root: Element = fromstring(_content(path))
    check_levels(root)
    if root.tag == "ASAP_Annotations":
        return collect(asap_outlines(root), path, stated, frame, ungrouped=("unknown", "ignored"))
    if is_imagescope(root):
        alone = "tumour" if is_lone_layer(root) else "unknown"
        return collect(imagescope_outlines(root), path, stated, frame, ungrouped=(alone, "unknown"))
    if is_ndpa(root, path.suffix.lower()):
        return collect(ndpa_outlines(root, frame), path, stated, frame)
    raise InputError(
        f"{path.name}: an XML of another program (its first element is {root.tag[:40]!r}); expected ASAP's "
        "(ASAP_Annotations), Aperio ImageScope's (Annotations with Regions) or NDP.view's (annotations with ndpviewstate). "
        "Export it as one of these, or as GeoJSON."
    )


def _read_json(path: Path, stated: Stated, frame: SlideFrame | None, origin: Origin | None) -> Areas:
    """Told apart by the names in the object; InputError for any other JSON."""
    content = json_of(path)
    if isinstance(content, dict):
        if "positive" in content:
            return collect(camelyon16_outlines(content), path, stated, frame)
        if is_labelme(content):
            return collect(labelme_outlines(content, frame), path, stated, frame)
        if is_coco(content):
            return collect(coco_outlines(content, frame), path, stated, frame)
        if not {"features", "geometry", "type"} & set(content):
            raise InputError(
                f"{path.name}: a JSON of another program (it has {', '.join(sorted(content)[:6])[:120] or 'nothing'}); "
                "expected GeoJSON, Camelyon16 polygons (positive, negative), labelme (shapes, imageWidth) or COCO (images, "
                "annotations). Export it as GeoJSON."
            )
    features = features_of(content)
    outlines, detections = geojson_outlines(features)
    if frame is not None and frame.begins != (0.0, 0.0) and outlines:
        if origin is None and not is_of_qupath(features):
            raise InputError(
                f"{path.name}: GeoJSON of an unknown program, and what was scanned of the slide begins at ({frame.begins[0]:g}, "
                f"{frame.begins[1]:g}) of its level 0. QuPath counts pixels from there, others from (0, 0). Say which it is: --set "
                "labels.geojson_origin=bounds, or =slide."
            )
        if origin != "slide":
            outlines = [replace(one, shape=translate(one.shape, *frame.begins)) for one in outlines]
    return collect(outlines, path, stated, frame, ("tumour", "unknown"), detections)


def json_of(path: Path) -> Any:
    """The content of a JSON file, UTF-8, 16 or 32; ValueError for what is no JSON, NaN and names that stand twice included."""
    return _parsed(_content(path))


@lru_cache(maxsize=1)
def _parsed(content: bytes) -> Any:
    """Kept for the next call, since a COCO file is read for each of its slides."""
    return json.loads(content, parse_constant=_no_number, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON readers take the last of two values of one name, and lose the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


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
        raise InputError(f"{path.name}: cannot be read ({_why_unreadable(path, error)}).") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if leads_nowhere(path):
        return NOWHERE.rstrip(".")
    return in_words(error) if isinstance(error, OSError) else str(error)
