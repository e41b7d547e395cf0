"""ASAP's XML: ASAP_Annotations / Annotations / Annotation (Type, PartOfGroup) / Coordinates / Coordinate (Order, X, Y).

After what ASAP (github.com/computationalpathologygroup/ASAP) writes; level-0 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np

from esad.preprocessing.slides.outlines.areas import UNGROUPED, Outline
from esad.preprocessing.slides.outlines.geometry import mark, number, only, polygon, rectangle

AREA_TYPES = ("polygon", "spline", "rectangle", "")
MARK_TYPES = ("dot", "pointset", "measurement")
NO_OUTLINES = ("AnnotationGroups", "Annotations")


def asap_outlines(root: Element) -> Iterator[Outline]:
    """Each annotation; ValueError for elements or types that are not ASAP's, or where no `Annotations` says that it is empty."""
    annotations = list(root.iter("Annotation"))
    if not annotations and root.find("Annotations") is None:
        raise ValueError("it has no Annotations element, so it does not say that nothing is outlined")
    _check_children(root)
    for annotation in annotations:
        kind = annotation.get("Type", "").strip().lower()
        if kind not in (*AREA_TYPES, *MARK_TYPES):
            raise ValueError(f"an annotation of type {kind[:20]!r}, which ASAP does not have")
        if kind in AREA_TYPES and annotation.find("Coordinates") is None:
            raise ValueError("an outline without Coordinates, so nobody can tell where it is")
        corners = _corners(annotation)
        if kind == "rectangle" and len(corners) == 2:
            corners = rectangle(corners)
        group = annotation.get("PartOfGroup", "").strip()
        shape = polygon([corners]) if kind in AREA_TYPES else mark(corners)
        yield Outline("" if group.lower() == UNGROUPED.lower() else group, shape)


def _check_children(root: Element) -> None:
    """An element of another name where annotations are expected may hold outlines that would be lost."""
    for parent in (root, *root.findall("Annotations")):
        strange = next((one.tag for one in parent if one.tag not in ("Annotation", *NO_OUTLINES)), None)
        if strange is not None:
            raise ValueError(f"an element {strange[:20]!r}, which ASAP does not have")


def _check_order(order: list[str]) -> None:
    """A number that is left out is a corner that is lost: of a lesion a part would pass for normal."""
    stated = sorted(int(text) for text in order if text.isascii() and text.isdigit())
    if len(stated) == len(order) and len(set(stated)) > 1 and stated[-1] - stated[0] != len(stated) - 1:
        raise ValueError(
            f"an outline whose corners are numbered {stated[0]} to {stated[-1]}, and there are {len(stated)}"
        )


def _corners(annotation: Element) -> np.ndarray:
    """float64 (N, 2), in the order that the file states; ValueError where a corner is missing, or is no Coordinate."""
    for parent in annotation.iter("Coordinates"):
        only(parent, "Coordinate")
    found = list(annotation.iter("Coordinate"))
    order = [one.get("Order", "") for one in found]
    _check_order(order)
    if found and all(text.isascii() and text.isdigit() for text in order):
        found = [one for _, one in sorted(zip(map(int, order), found, strict=True), key=lambda pair: pair[0])]
    corners = [(number(one.get("X")), number(one.get("Y"))) for one in found]
    return np.array(corners, dtype=float).reshape(-1, 2)
