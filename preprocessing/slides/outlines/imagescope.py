"""Aperio ImageScope's XML: Annotations / Annotation (Name) / Regions / Region (Type, NegativeROA) / Vertices / Vertex (X, Y).

After what ImageScope 12 writes; level-0 pixels. An `Annotation` is a layer, and its name the class; where it has none,
its Description or its regions' Text, which a person is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from xml.etree.ElementTree import Element

import numpy as np

from esad.preprocessing.slides.outlines.areas import Outline
from esad.preprocessing.slides.outlines.geometry import (
    NUMBER,
    ellipse_in,
    mark,
    number,
    only,
    polygon,
    rectangle,
)

REGION_TYPES = {"0": "polygon", "1": "rectangle", "2": "ellipse"}
"""Of the regions those that have an area,"""
MARK_TYPES = ("3", "4", "5")
"""and those that have none: arrows, rulers, counters."""


def is_imagescope(root: Element) -> bool:
    """Whether an XML is ImageScope's, empty or not."""
    return root.tag == "Annotations" and (
        "MicronsPerPixel" in root.attrib or root.find("./Annotation/Regions") is not None
    )


def imagescope_outlines(root: Element) -> Iterator[Outline]:
    """Each region; a rectangle or an ellipse is what spans the box of its corners, one marked NegativeROA is a hole.

    ValueError for elements or types of regions that are not known.
    """
    for layer in root:
        if layer.tag != "Annotation":
            raise ValueError(
                f"an element {layer.tag[:20]!r} among the layers, which ImageScope does not have"
            )
        regions = layer.findall("Regions")
        if not regions:
            raise ValueError("a layer without Regions, so it does not say that nothing is outlined")
        for region in (one for found in regions for one in found if one.tag != "RegionAttributeHeaders"):
            if region.tag != "Region":
                raise ValueError(
                    f"an element {region.tag[:20]!r} among the regions, which ImageScope does not have"
                )
            name = layer.get("Name", "").strip()
            text = "" if name else _text_of(layer) or _text_of(region)
            yield replace(_outline(region, name or text), free=bool(text))


def is_lone_layer(root: Element) -> bool:
    """Whether but one layer has regions or a name: without any text it can only be what the slide was outlined for."""
    used = [
        layer for layer in root if layer.get("Name", "").strip() or layer.find("Regions/Region") is not None
    ]
    return len(used) == 1


def _text_of(element: Element) -> str:
    """What an unnamed layer or its region says in Text or an attribute (Description, ...); figures (Area, Length) say nothing."""
    told = [
        element.get("Text", ""),
        *(one.get("Value", "") for one in element.findall("Attributes/Attribute")),
    ]
    return next((text.strip() for text in told if text.strip() and not NUMBER.fullmatch(text.strip())), "")


def _outline(region: Element, group: str) -> Outline:
    for parent in region.iter("Vertices"):
        only(parent, "Vertex")
    corners = np.array(
        [(number(one.get("X")), number(one.get("Y"))) for one in region.iter("Vertex")], dtype=float
    ).reshape(-1, 2)
    kind = region.get("Type", "0").strip()
    negative = region.get("NegativeROA", "0").strip() or "0"
    if kind not in (*REGION_TYPES, *MARK_TYPES) or negative not in {"0", "1"}:
        raise ValueError(
            f"a region of Type {kind[:20]!r} and NegativeROA {negative[:20]!r}, which are not known"
        )
    if kind in REGION_TYPES and region.find("Vertices") is None:
        raise ValueError("a region without Vertices, so nobody can tell where it is")
    if kind in MARK_TYPES:
        return Outline(group, mark(corners))
    if kind != "0" and len(corners) >= 2:
        corners = rectangle(corners) if REGION_TYPES[kind] == "rectangle" else ellipse_in(corners)
    return Outline(group, polygon([corners]), as_tumour="hole" if negative == "1" else "tumour")
