"""ASAP's XML: each candidate an annotation of a group with a colour, in level-0 pixels; ASAP does not cut to bounds."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from shapely.geometry import Polygon

from esad.pipeline.annotating.candidate_shapes import CANDIDATE, COLOURS, HOLE, candidate_shapes
from esad.pipeline.annotating.scored_slides import ScoredSlide
from esad.preprocessing.store.writing import write_atomically


def write_asap(path: Path, slide: ScoredSlide) -> None:
    """Write the slide's candidates to `path`.

    ASAP has no holes: a ring inside a candidate is an annotation of its own, in the group HOLE.
    """
    root = Element("ASAP_Annotations")
    annotations = SubElement(root, "Annotations")
    for each in candidate_shapes(slide.tiles[slide.suspicious]):
        parts = each.polygons()
        for number, part in enumerate(parts, 1):
            name = f"Candidate {each.number}" + (f", part {number}" if len(parts) > 1 else "")
            _annotation(annotations, name, CANDIDATE, list(part.exterior.coords))
            for hole in part.interiors:
                _annotation(annotations, f"{name}, hole", HOLE, list(Polygon(hole).exterior.coords))
    groups = SubElement(root, "AnnotationGroups")
    for name in (CANDIDATE, HOLE):
        group = SubElement(groups, "Group", Name=name, PartOfGroup="None", Color=_hex(name))
        SubElement(group, "Attributes")
    indent(root)
    write_atomically(
        path, lambda temporary: ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
    )


def _annotation(parent: Element, name: str, group: str, ring: list[tuple[float, ...]]) -> None:
    """A polygon, which ASAP closes itself."""
    told = SubElement(parent, "Annotation", Name=name, Type="Polygon", PartOfGroup=group, Color=_hex(group))
    corners = SubElement(told, "Coordinates")
    for order, (x, y) in enumerate(ring[:-1]):
        SubElement(corners, "Coordinate", Order=str(order), X=f"{x:.10g}", Y=f"{y:.10g}")


def _hex(name: str) -> str:
    return "#{:02X}{:02X}{:02X}".format(*COLOURS[name])
