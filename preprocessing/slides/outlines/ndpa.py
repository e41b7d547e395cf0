"""Hamamatsu's NDPA (NDP.view): annotations / ndpviewstate (title, details, coordformat) / annotation (type) / pointlist.

Coordinates are nanometres from the centre of the glass. OpenSlide's `hamamatsu.XOffsetFromSlideCentre` is that of the middle
of level 0, so that x = (x_nm - offset) / (1000 mpp) + width / 2, and y likewise (openslide.org/formats/hamamatsu, and the
openslide-users list, November 2014, "Nanozoomer annotation coordinate system to openslide pixels").
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np

from esad.preprocessing.slides.outlines.areas import Outline
from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.slides.outlines.geometry import ellipse, mark, number, only, polygon, rectangle

AREA_TYPES = ("freehand", "rectangle", "circle")
MARK_TYPES = ("pointer", "pin", "linearmeasure", "ruler", "point", "line")
UNIT = "nanometers"
OPEN_LINE = "AnnotateFreehandLine"


def is_ndpa(root: Element, suffix: str) -> bool:
    """Whether an XML is NDP.view's; without any view only a file's own ending, `.ndpa`, says so."""
    return root.tag == "annotations" and (root.find("ndpviewstate") is not None or suffix == ".ndpa")


def ndpa_outlines(root: Element, frame: SlideFrame | None) -> Iterator[Outline]:
    """The annotation of each view; ValueError where `frame` does not say where the slide lies on the glass, for another unit,
    and for elements and types that are not known."""
    for view in root:
        if view.tag != "ndpviewstate":
            raise ValueError(f"an element {view.tag[:20]!r} among the views, which NDP.view does not have")
        if frame is None or frame.mpp is None or frame.offset is None:
            raise ValueError(
                "its nanometres need the slide's hamamatsu.XOffsetFromSlideCentre, YOffsetFromSlideCentre and mpp, which "
                "are not known. Give the NDPI file that it belongs to, or export the outlines in pixels, as GeoJSON"
            )
        unit = _text(view, "coordformat")
        if unit not in {"", UNIT}:
            raise ValueError(f"coordinates in {unit[:20]!r}; expected {UNIT}")
        annotations = view.findall("annotation")
        if not annotations:
            raise ValueError("a view without annotation")
        for annotation in annotations:
            yield _outline(annotation, _text(view, "title") or _text(view, "details"), frame)


def _text(parent: Element, name: str) -> str:
    return (parent.findtext(name) or "").strip()


def _outline(annotation: Element, group: str, frame: SlideFrame) -> Outline:
    kind = annotation.get("type", "").strip().lower()
    if kind in MARK_TYPES:
        return Outline(group, mark(_pixels(_ends(annotation), frame)))
    if kind not in AREA_TYPES:
        raise ValueError(f"an annotation of type {kind[:20]!r}, which is not known")
    if kind == "circle":
        return Outline(group, polygon([_circle(annotation, frame)]))
    if annotation.find("pointlist") is None:
        raise ValueError("an outline without pointlist, so nobody can tell where it is")
    for points in annotation.findall("pointlist"):
        only(points, "point")
    corners = _pixels(
        [(number(p.findtext("x")), number(p.findtext("y"))) for p in annotation.findall("pointlist/point")],
        frame,
    )
    boxed = kind == "rectangle" or _text(annotation, "specialtype").lower() == "rectangle"
    if boxed and len(corners) >= 2:
        corners = rectangle(corners)
    closed = _text(annotation, "closed")
    if closed not in {"", "0", "1"}:
        raise ValueError(f"an annotation that is closed: {closed[:20]!r}; expected 0 or 1")
    is_line = closed == "0" or (not closed and annotation.get("displayname", "").strip() == OPEN_LINE)
    return Outline(group, polygon([corners]), open=is_line and not boxed)


def _pixels(points: list[tuple[float, float]], frame: SlideFrame) -> np.ndarray:
    """float64 (N, 2) level-0 pixels of nanometres from the centre of the glass."""
    assert frame.mpp is not None
    assert frame.offset is not None
    places = np.array(points, dtype=float).reshape(-1, 2)
    return (places - frame.offset) / (1000 * np.array(frame.mpp)) + np.array(frame.size) / 2


def _circle(annotation: Element, frame: SlideFrame) -> np.ndarray:
    assert frame.mpp is not None
    radius = number(annotation.findtext("radius"))
    if radius < 0:
        raise ValueError("a circle of negative radius")
    (centre,) = _pixels([(number(annotation.findtext("x")), number(annotation.findtext("y")))], frame)
    return ellipse(centre, radius / (1000 * np.array(frame.mpp)))


def _ends(annotation: Element) -> list[tuple[float, float]]:
    """The points of a mark: its own, or those of its line."""
    pairs = [(annotation.findtext(f"x{end}"), annotation.findtext(f"y{end}")) for end in ("", "1", "2")]
    pairs += [(point.findtext("x"), point.findtext("y")) for point in annotation.findall("pointlist/point")]
    return [(number(x), number(y)) for x, y in pairs if x is not None and y is not None]
