"""Outlines of each program in good order, each of one lesion of 40,000 square pixels, and what a damaged one may become."""

from __future__ import annotations

import json
from pathlib import Path

from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.trust import mutants
from tests.trust.trial import Subject

FRAME = SlideFrame(size=(2000, 2000), name="slide", mpp=0.25, offset=(0.0, 0.0))
AREA = 40000.0
BOX = [[100, 100], [300, 100], [300, 300], [100, 300]]
FAR = [[600, 600], [700, 600], [700, 700], [600, 700]]


def _ring(corners: list[list[int]]) -> list[list[int]]:
    return [*corners, corners[0]]


def _coordinates(corners: list[list[int]]) -> str:
    return "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(corners))


def _vertices(corners: list[list[int]]) -> str:
    return "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)


def _nanometres(corners: list[list[int]]) -> str:
    return "".join(f"<point><x>{(x - 1000) * 250}</x><y>{(y - 1000) * 250}</y></point>" for x, y in corners)


def _feature(name: str, corners: list[list[int]]) -> dict[str, object]:
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [_ring(corners)]},
        "properties": properties,
    }


TEXTS = {
    "asap.xml": "<ASAP_Annotations><Annotations>"
    f'<Annotation Name="a" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>{_coordinates(BOX)}</Coordinates>'
    f'</Annotation><Annotation Name="b" Type="Polygon" PartOfGroup="Exclusion" Color="#F4FA58"><Coordinates>{_coordinates(FAR)}'
    '</Coordinates></Annotation></Annotations><AnnotationGroups><Group Name="Tumor" PartOfGroup="None"/></AnnotationGroups>'
    "</ASAP_Annotations>",
    "imagescope.xml": '<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="Tumor"><Attributes/><Regions>'
    f'<RegionAttributeHeaders/><Region Id="1" Type="0" NegativeROA="0"><Vertices>{_vertices(BOX)}</Vertices></Region></Regions>'
    f'</Annotation><Annotation Id="2" Name="Necrosis"><Regions><Region Id="2" Type="0" NegativeROA="0"><Vertices>'
    f"{_vertices(FAR)}</Vertices></Region></Regions></Annotation></Annotations>",
    "view.ndpa": '<annotations><ndpviewstate id="1"><title>Tumor</title><coordformat>nanometers</coordformat>'
    f'<annotation type="freehand" displayname="AnnotateFreehand"><pointlist>{_nanometres(BOX)}</pointlist><closed>1</closed>'
    '</annotation></ndpviewstate><ndpviewstate id="2"><title>Necrosis</title><coordformat>nanometers</coordformat>'
    f'<annotation type="freehand" displayname="AnnotateFreehand"><pointlist>{_nanometres(FAR)}</pointlist><closed>1</closed>'
    "</annotation></ndpviewstate></annotations>",
    "qupath.geojson": json.dumps({"type": "FeatureCollection", "features": [_feature("Tumor", BOX), _feature("Necrosis", FAR)]}),
    "camelyon.json": json.dumps({"positive": [{"name": "a", "vertices": BOX}], "negative": [{"name": "b", "vertices": FAR}]}),
    "labelme.json": json.dumps(
        {"imageWidth": 2000, "imageHeight": 2000, "imagePath": "slide.png", "shapes": [
            {"label": "tumor", "shape_type": "polygon", "points": BOX}, {"label": "necrosis", "shape_type": "polygon", "points": FAR}]}
    ),
    "coco.json": json.dumps(
        {
            "images": [
                {"id": 1, "file_name": "slide.png", "width": 2000, "height": 2000},
                {"id": 2, "file_name": "b.png", "width": 9, "height": 9},
            ],
            "categories": [{"id": 1, "name": "tumor"}, {"id": 2, "name": "necrosis"}],
            "annotations": [
                {"id": n, "image_id": 1, "category_id": n, "iscrowd": 0, "segmentation": [[side for corner in box for side in corner]]}
                for n, box in ((1, BOX), (2, FAR))
            ],
        }
    ),
}  # fmt: skip
CHANGES = {
    ".xml": mutants.xml_mutant,
    ".ndpa": mutants.xml_mutant,
    ".json": mutants.json_mutant,
    ".geojson": mutants.json_mutant,
}


def prepare(good: Path) -> None:
    """Each in a folder of its own."""
    for name, text in TEXTS.items():
        (good / name).mkdir(parents=True)
        (good / name / name).write_text(text)


def drive(name: str, copy: Path) -> int:
    """The areas, and their figures in a file."""
    areas = read_areas(copy / name, None, FRAME)
    found = {"tumour": areas.tumour.area, "ignored": areas.ignored.area, "understood": areas.understood}
    (copy / "new").write_text(json.dumps(found))
    return 0


def subjects(good: Path) -> list[Subject]:
    """One for each program."""

    def of(name: str) -> Subject:
        change = CHANGES[Path(name).suffix]
        return Subject(
            f"outlines/{name}",
            Path(name).suffix[1:],
            good / name,
            name,
            lambda copy, _: drive(name, copy),
            (change,),
        )

    return [of(name) for name in TEXTS]
