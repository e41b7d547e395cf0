"""One lesion with a hole, and a second one, as each program writes them; all read to the same area."""

from __future__ import annotations

import json

from esad.preprocessing.slides.outlines.frame import SlideFrame

SIZE = (1024, 1024)
MPP = (0.5, 0.5)
OFFSET = (1_000_000.0, -2_000_000.0)
FRAME = SlideFrame(SIZE, MPP, OFFSET, "slide")
LESIONS = ([(200, 200), (600, 200), (600, 500), (200, 500)], [(700, 650), (828, 650), (828, 778), (700, 778)])
HOLE = [(300, 300), (400, 300), (400, 400), (300, 400)]


def nanometres(x, y, frame=FRAME):
    """Nanometres from the centre of the glass, whole."""
    return tuple(
        round((place - side / 2) * 1000 * mpp + offset)
        for place, side, mpp, offset in zip((x, y), frame.size, frame.mpp, frame.offset, strict=True)
    )


def asap(lesions=LESIONS, hole=HOLE, group="Tumor", normal="_2"):
    parts = "".join(
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="{name}"><Coordinates>'
        + "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in enumerate(ring))
        + "</Coordinates></Annotation>"
        for name, ring in [*((group, ring) for ring in lesions), (normal, hole)]
    )
    return f"<ASAP_Annotations><Annotations>{parts}</Annotations></ASAP_Annotations>"


def imagescope(lesions=LESIONS, hole=HOLE, group="Tumor"):
    parts = "".join(
        f'<Region Id="{n}" Type="0" NegativeROA="{negative}"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0" />' for x, y in ring)
        + "</Vertices></Region>"
        for n, (negative, ring) in enumerate([*((0, ring) for ring in lesions), (1, hole)])
    )
    return (
        f'<Annotations MicronsPerPixel="0.5"><Annotation Id="1" Name="{group}"><Regions>{parts}</Regions></Annotation>'
        "</Annotations>"
    )


def ndpa(lesions=LESIONS, hole=HOLE, group="Tumor", normal="Normal", frame=FRAME):
    parts = ""
    for number, (name, ring) in enumerate([*((group, ring) for ring in lesions), (normal, hole)]):
        points = "".join(
            "<point><x>{}</x><y>{}</y></point>".format(*nanometres(x, y, frame)) for x, y in ring
        )
        parts += (
            f'<ndpviewstate id="{number}"><title>{name}</title><details/><coordformat>nanometers</coordformat>'
            '<lens>1.25</lens><x>0</x><y>0</y><z>0</z><annotation type="freehand" displayname="AnnotateFreehand" color="#000000">'
            f"<measuretype>0</measuretype><closed>1</closed><pointlist>{points}</pointlist></annotation></ndpviewstate>"
        )
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><annotations>{parts}</annotations>'


def _closed(ring):
    return [list(corner) for corner in (*ring, ring[0])]


def geojson(lesions=LESIONS, hole=HOLE, group="Tumor", normal="Normal"):
    features = [
        {
            "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [_closed(ring)]},
            "properties": {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}},
        }
        for name, ring in [*((group, ring) for ring in lesions), (normal, hole)]
    ]  # fmt: skip
    return json.dumps({"type": "FeatureCollection", "features": features})


def camelyon16(lesions=LESIONS, hole=HOLE):
    shapes = {"positive": lesions, "negative": [hole]}
    return json.dumps(
        {
            kind: [{"name": "a", "vertices": [list(c) for c in ring]} for ring in rings]
            for kind, rings in shapes.items()
        }
    )


def labelme(lesions=LESIONS, hole=HOLE, group="tumor", normal="normal", size=SIZE):
    shapes = [
        {
            "label": name,
            "points": [list(map(float, c)) for c in ring],
            "shape_type": "polygon",
            "group_id": None,
            "flags": {},
        }
        for name, ring in [*((group, ring) for ring in lesions), (normal, hole)]
    ]
    return json.dumps(
        {"version": "5.4", "flags": {}, "shapes": shapes, "imagePath": "slide.png", "imageData": None,
         "imageHeight": size[1], "imageWidth": size[0]}
    )  # fmt: skip


def coco(
    lesions=LESIONS, hole=HOLE, group="tumor", normal="normal", size=SIZE, names=("other.tif", "slide.tif")
):
    """The outlines are of the last of `names`; the others have no annotation."""
    annotations = [
        {
            "id": n,
            "image_id": len(names),
            "category_id": category,
            "iscrowd": 0,
            "segmentation": [[v for c in ring for v in c]],
        }
        for n, (category, ring) in enumerate([*((1, ring) for ring in lesions), (2, hole)])
    ]
    images = [
        {"id": n + 1, "file_name": name, "width": size[0], "height": size[1]} for n, name in enumerate(names)
    ]
    return json.dumps(
        {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": group}, {"id": 2, "name": normal}],
        }
    )


FORMATS = {
    "asap": (".xml", asap), "imagescope": (".xml", imagescope), "ndpa": (".ndpi.ndpa", ndpa), "geojson": (".geojson", geojson),
    "camelyon16": (".json", camelyon16), "labelme": (".json", labelme), "coco": (".json", coco),
}  # fmt: skip
"""Name -> the ending after the slide's stem, and what writes it."""
