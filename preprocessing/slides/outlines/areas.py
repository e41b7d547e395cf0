"""What outlines of a slide enclose, by what their classes mean. All lengths are level-0 pixels.

Each class is a lesion, not a lesion, ignored, a region, or not known, and then asked about: no outline is dropped without a
word, and no tile is normal because an outline was not understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.frame import SlideFrame

OF_CLASSES = {"anomaly": "tumour", "hole": "hole", "ignore": "ignored", "region": "region"}
"""What a person may say that a class is -> its kind here."""
WORDS = {kind: word for word, kind in OF_CLASSES.items()}
KNOWN = {
    "tumour": ("tumor", "tumour", "_0", "_1", "metastases", "metastasis"),
    "hole": ("_2", "normal", "stroma", "immune cells"),
    "ignored": ("exclusion", "ignore*", "necrosis"),
    "region": ("region*",),
}
"""Groups of Camelyon's ASAP files (docs/explanation/protocols.md#camelyon16-facts) and QuPath's default classes, in lower
case. Reasons are in docs/how-to/cut-slides.md#classes-of-outlines; QuPath's Other, Positive and Negative are asked about."""
UNGROUPED = "None"
"""What an outline without a group or class is called; a person says what it is under this name, too."""
BEYOND = 0.1
"""Outlines may reach beyond an edge of the slide by this share of its side: annotators draw past the edge, other slides'
and other levels' outlines lie elsewhere."""
MARK_PIXELS = 1.0
"""Half the width that a point or line on a lesion gets, so that the tile under it is found."""
FEWEST_PIXELS = 100
"""On a slide larger than this nobody outlines a single pixel."""
ISLAND = 0.9
"""A lesion of which so much lies in one larger hole was drawn inside it."""
LEAST_LEFT = 0.01
LONGEST_NAME = 60
MOST_TOLD = 4
"""Properties, and values of each, that are named."""
Stated = Mapping[str, str]
"""Group or class of outlines, in lower case -> the kind that a person says it is: a value of OF_CLASSES."""


@dataclass(frozen=True)
class Outline:
    """One outline as a file has it: its group (empty: none) and shape; a shape without area is a mark."""

    group: str
    shape: BaseGeometry
    kind: str | None = None
    """A kind of KNOWN where the format itself says it."""
    as_tumour: str = "tumour"
    """The kind that it has where its group means tumour: `hole` for a negative region, `ignored` for a crowd."""
    open: bool = False
    """A line that its program did not close, or that closes and is no area there: it may stand for an area, or not."""
    free: bool = False
    """Its group is a free text, not a class: only a person says what it is."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Of an outline without group: properties that may be its class, and that no program is known to write as one -> value."""


@dataclass(frozen=True)
class Areas:
    """What the outlines of a slide enclose: tumour, holes cut out, and what is to have no label."""

    tumour: BaseGeometry
    ignored: BaseGeometry
    regions: BaseGeometry | None = None
    """Where outlines were drawn at all; a tile that is not wholly inside is not known to be normal. None: everywhere."""
    understood: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """anomaly, hole, ignore, region, mark or detection -> class -> number of outlines. Marks (points, lines) and detections
    (cells) are counted without their names, which are free text."""


def collect(
    outlines: Iterable[Outline],
    path: Path,
    stated: Stated,
    frame: SlideFrame | None,
    ungrouped: tuple[str, str] = ("unknown", "unknown"),
    detections: Mapping[str, int] | None = None,
) -> Areas:
    """The areas of all outlines of a file.

    `ungrouped` is the kind of an outline without a group in a file without any, and beside others that have one. `detections` are
    the cells and tiles that a program found, by class, which are no outlines.
    Raises InputError where a class is not known, nothing says what is a lesion, no tumour outline has an area, or the outlines
    are not those of a slide of `frame`.
    """
    outlines = [_as_stated(one, stated) for one in outlines]
    grouped = any(one.group or one.kind for one in outlines if one.shape.area)
    found: dict[str, list[BaseGeometry]] = {kind: [] for kind in KNOWN}
    counts: dict[str, Counter[str]] = {}
    unknown, open_lines = Counter[str](), Counter[str]()
    marks: list[BaseGeometry] = []
    short = False
    for one in outlines:
        name = one.group or UNGROUPED
        kind = _kind(one, stated, ungrouped[grouped])
        if one.open and kind not in {"ignored", "region"}:
            open_lines[name] += 1
        elif not one.shape.area:
            counts.setdefault("mark", Counter())["points, lines"] += 1
            marks += [one.shape] if kind == "tumour" and not one.shape.is_empty else []
            short = short or kind == "tumour"
        elif kind == "unknown":
            unknown[name] += 1
        else:
            found[kind].append(one.shape)
            counts.setdefault(WORDS[kind], Counter())[name] += 1
    _check_open(open_lines, path)
    _check_beside(outlines, stated, path)
    _check_known(unknown, path)
    if detections:
        counts["detection"] = Counter({"cells": sum(detections.values())})
        _check_detections(detections, bool(found["tumour"]), stated, path)
    cut_out = [one for one in outlines if one.shape.area and one.as_tumour == "hole"]
    of_lesions = [_kind(replace(one, as_tumour="tumour"), stated, ungrouped[grouped]) for one in cut_out]
    if "tumour" in of_lesions and not found["tumour"]:
        raise InputError(
            f"{path.name}: outlines only what is cut out of a lesion (negative regions), and no lesion around it. Draw the "
            "lesion, or say what the outlines are with --outline-class."
        )
    _check_says_something(found, counts, stated, short, path)
    _check_place([*(shape for shapes in found.values() for shape in shapes), *marks], frame, path)
    cut = _without_holes(found["tumour"], found["hole"], path)
    ignored = shapely.union_all([*found["ignored"], *(shapely.buffer(mark, MARK_PIXELS) for mark in marks)])
    regions = shapely.union_all(found["region"]) if found["region"] else None
    return Areas(cut, ignored, regions, {kind: dict(names) for kind, names in counts.items()})


def _without_holes(tumours: list[BaseGeometry], holes: list[BaseGeometry], path: Path) -> BaseGeometry:
    """What the lesions enclose without the holes; a lesion that lies inside a larger hole stays, as an island.

    Raises InputError for a lesion of which nothing is left: then two outlines say the opposite of one place.
    """
    whole = shapely.union_all(tumours)
    if not tumours or not holes:
        return whole
    tree, cut = shapely.STRtree(holes), shapely.difference(whole, shapely.union_all(holes))
    islands, touched = [], []
    for shape in tumours:
        met = [holes[place] for place in tree.query(shape, predicate="intersects")]
        touched += [shape] if met else []
        larger = [hole for hole in met if hole.area > shape.area]
        if any(shapely.intersection(shape, hole).area >= ISLAND * shape.area for hole in larger):
            smaller = [hole for hole in met if hole.area <= shape.area]
            islands.append(shapely.difference(shape, shapely.union_all(smaller)))
    cut = shapely.union_all([cut, *islands])
    for shape in touched:
        if shapely.intersection(shape, cut).area < LEAST_LEFT * shape.area:
            x, y = shape.representative_point().coords[0]
            raise InputError(
                f"{path.name}: the lesion at ({x:.0f}, {y:.0f}) is outlined as no lesion, too, over its whole area. Take one of the "
                "outlines away, or pass over a class with --outline-class NAME=ignore."
            )
    return cut


def _kind(one: Outline, stated: Stated, ungrouped: str) -> str:
    """A key of KNOWN, or `unknown`; what is `stated` comes first, but not before what the format itself says."""
    if one.kind:
        return one.kind
    group = (one.group or UNGROUPED).strip().lower()
    known = known_kind(group) or "unknown"
    kind = stated.get(group) or ("unknown" if one.free else known if one.group else ungrouped)
    return one.as_tumour if kind == "tumour" else kind


def _as_stated(one: Outline, stated: Stated) -> Outline:
    """An outline without group has the value of a property beside it as one, where a person says what it is and no other contradicts."""
    said = {value: stated[value.lower()] for value in one.beside.values() if value.lower() in stated}
    return replace(one, group=next(iter(said)), beside={}) if len(set(said.values())) == 1 else one


def known_kind(name: str) -> str | None:
    """The kind of KNOWN that a class has by its name, if any."""
    return next((kind for kind, groups in KNOWN.items() if name.strip().lower() in groups), None)


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name[:LONGEST_NAME]!r}" for name, count in sorted(counts.items()))


def _check_known(unknown: Mapping[str, int], path: Path) -> None:
    """Refuse a file with outlines of a group that is not known: their tiles would pass for normal."""
    if unknown:
        expected = "; ".join(f"{', '.join(groups)}: {WORDS[kind]}" for kind, groups in KNOWN.items())
        raise InputError(
            f"{path.name}: its outlines are of groups or classes that are not known ({_named(unknown)}); expected one of "
            f"{expected}. Say what each is with --outline-class NAME=anomaly, hole, ignore or region ({UNGROUPED}: those "
            "without a class)."
        )


def _check_beside(outlines: Iterable[Outline], stated: Stated, path: Path) -> None:
    """Refuse a file with outlines without class whose properties may be one: those of normal tissue would pass for lesions."""
    values: dict[str, set[str]] = {}
    for one in outlines if UNGROUPED.lower() not in stated else ():
        for name, value in one.beside.items() if one.shape.area else ():
            values.setdefault(name, set()).add(value)
    if not values:
        return
    told = [
        f"{name[:LONGEST_NAME]!r} ({', '.join(repr(value[:LONGEST_NAME]) for value in sorted(found)[:MOST_TOLD])}"
        f"{', ...' if len(found) > MOST_TOLD else ''})"
        for name, found in sorted(values.items())[:MOST_TOLD]
    ]
    raise InputError(
        f"{path.name}: its outlines have no class that is read, and other properties that may be one: {'; '.join(told)}. Say what each "
        "value is with --outline-class VALUE=anomaly, hole, ignore or region. If they are no classes, say what the outlines are with "
        f"--outline-class {UNGROUPED}=anomaly."
    )


def _check_detections(detections: Mapping[str, int], outlined: bool, stated: Stated, path: Path) -> None:
    """Refuse a file whose lesions are all detections: beside outlines of what is no lesion the slide would pass for normal."""
    lesions = Counter(
        {
            name: count
            for name, count in detections.items()
            if _kind(Outline(name, shapely.Point()), stated, "unknown") == "tumour"
        }
    )
    if lesions and not outlined:
        raise InputError(
            f"{path.name}: holds detections (cells, tiles) of a lesion ({_named(lesions)}), and outlines none. Outline the lesions, or "
            "leave the file out."
        )


def _check_open(lines: Mapping[str, int], path: Path) -> None:
    if lines:
        raise InputError(
            f"{path.name}: lines that are not closed ({_named(lines)}), or close and are no areas, so nobody can tell what they "
            "enclose. Draw them as areas, or pass over them with --outline-class NAME=ignore."
        )


def _check_says_something(
    found: Mapping[str, list[BaseGeometry]],
    counts: Mapping[str, Mapping[str, int]],
    stated: Stated,
    marked: bool,
    path: Path,
) -> None:
    """Refuse a file that has outlines or marks, and none that says what is a lesion or what is not.

    `marked`: a mark stands for a lesion.
    """
    if found["tumour"] or (found["hole"] and not marked):
        return
    passed = {**counts.get("ignore", {}), **counts.get("region", {})}
    if passed and not marked:
        if all(name.strip().lower() in stated for name in passed):
            return
        raise InputError(
            f"{path.name}: outlines no lesion, only what is passed over ({_named(passed)}), and does not say that the rest is "
            "normal. If it is, say what the outlines are with --outline-class NAME=ignore, region or hole; if nobody looked "
            "for lesions, leave the file out."
        )
    if counts.get("mark"):
        raise InputError(
            f"{path.name}: its {counts['mark']['points, lines']} outlines enclose no area (points, lines, fewer than three "
            "corners, or all on a line). Draw the lesions as areas, or leave the file out."
        )
    if counts.get("detection"):
        raise InputError(
            f"{path.name}: holds {counts['detection']['cells']} detections (cells, tiles) and no annotation; expected outlines "
            "of lesions. Export the annotations, too."
        )


def _check_place(shapes: list[BaseGeometry], frame: SlideFrame | None, path: Path) -> None:
    """Refuse outlines that cannot be of this slide's level 0: their tiles would be labelled by another slide's lesions."""
    if frame is None or not shapes:
        return
    width, height = frame.size
    left, top, right, bottom = shapely.total_bounds(shapes)
    if max(right, bottom) <= 1 and min(left, top) >= 0 and min(width, height) > FEWEST_PIXELS:
        raise InputError(
            f"{path.name}: all its coordinates lie between 0 and 1, as shares of the slide do; level-0 pixels are expected."
        )
    inside = right > 0 and bottom > 0 and left < width and top < height
    over = max(-left / width, (right - width) / width, -top / height, (bottom - height) / height)
    if not inside or over > BEYOND:
        raise InputError(
            f"{path.name}: its outlines reach from ({left:.0f}, {top:.0f}) to ({right:.0f}, {bottom:.0f}); the slide is "
            f"{width} x {height}. Coordinates are expected in level-0 pixels: is the file of another slide, or of another "
            "level?"
        )
