"""labelme and COCO: sizes, shapes, images by name, masks and crowds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.preprocessing.slides.outlines.same_outline import FRAME, coco, labelme


def read(folder, content, frame=FRAME, classes=None):
    (folder / "slide.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_areas(folder / "slide.json", classes, frame)


@pytest.mark.parametrize("write", [labelme, coco])
def test_a_picture_of_another_size_is_refused_with_both(tmp_path, write):
    with pytest.raises(InputError, match="is 512 x 512, the slide 1024 x 1024"):
        read(tmp_path, write(size=(512, 512)))
    with pytest.raises(InputError, match="does not state its width"):
        read(tmp_path, write(size=(None, 1024)))
    with pytest.raises(InputError, match="the slide is not known"):
        read(tmp_path, write(), None)


SHAPES = [
    ("rectangle", [[10, 20], [60, 50]], 1500), ("rectangle", [[10, 20], [60, 20], [60, 50], [10, 50]], 1500),
    ("circle", [[500, 500], [530, 540]], np.pi * 50**2), ("polygon", [[0, 0], [10, 0], [0, 10]], 50),
    (None, [[0, 0], [10, 0], [0, 10]], 50),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "points", "area"), SHAPES)
def test_shapes_of_labelme(tmp_path, kind, points, area):
    content = json.loads(labelme())
    content["shapes"] = [{"label": "tumor", "shape_type": kind, "points": points}]
    assert read(tmp_path, content).tumour.area == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (
            {"label": "tumor", "shape_type": "mask", "points": [[0, 0], [9, 9]], "mask": "iVBOR"},
            "a mask, which is not read",
        ),
        ({"label": "tumor", "shape_type": "blob", "points": [[0, 0], [9, 9]]}, "type 'blob' with 2 points"),
        ({"label": "tumor", "shape_type": "point", "points": [[0, 0]]}, "no area"),
        ({"label": "", "points": [[0, 0], [9, 0], [9, 9]]}, "1 of 'None'"),
        ({"label": 7, "points": [[0, 0], [9, 0], [9, 9]]}, "a label is not a text"),
        ({"label": "tumor"}, "'points' is missing"),
    ],
)
def test_shapes_of_labelme_that_are_refused(tmp_path, shape, told):
    content = json.loads(labelme())
    content["shapes"] = [shape]
    with pytest.raises(InputError, match=told):
        read(tmp_path, content)
    content["shapes"] = []
    assert read(tmp_path, content).tumour.is_empty


def test_a_slide_that_coco_names_without_annotation_is_empty_and_one_that_it_does_not_name_is_refused(
    tmp_path,
):
    assert read(tmp_path, coco(), replace(FRAME, name="OTHER")).tumour.is_empty
    with pytest.raises(InputError, match=r"0 of its 2 images \(first: 'other'\) have the slide's name"):
        read(tmp_path, coco(), replace(FRAME, name="third"))
    with pytest.raises(InputError, match="2 of its 2 images"):
        read(tmp_path, coco(names=("a/slide.tif", "b/slide.png")))


def changed(**annotation):
    content = json.loads(coco())
    content["annotations"] = [{**content["annotations"][0], **annotation}]
    return content


def test_boxes_parts_and_crowds_of_coco(tmp_path):
    assert read(tmp_path, changed(segmentation=[], bbox=[10, 20, 50, 30])).tumour.bounds == (10, 20, 60, 50)
    parts = [[0, 0, 10, 0, 10, 10, 0, 10], [100, 0, 110, 0, 110, 10, 100, 10]]
    assert read(tmp_path, changed(segmentation=parts)).tumour.area == 200
    content = changed(segmentation=parts, iscrowd=1)
    content["annotations"].append({**json.loads(coco())["annotations"][0]})
    areas = read(tmp_path, content)
    assert (areas.tumour.area, areas.ignored.area) == (400 * 300, 200)


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        (
            {"segmentation": {"counts": "abc", "size": [9, 9]}, "iscrowd": 1},
            r"a mask \(RLE\), which is not read",
        ),
        ({"segmentation": [[0, 0, 9]]}, "not a list of x, y"),
        ({"segmentation": []}, "'bbox' is missing"),
        ({"segmentation": [], "bbox": [0, 0, -9, 9]}, "negative size"),
        ({"category_id": 9}, "a category that is not listed"),
        ({"image_id": 9}, "an image that is not listed"),
        ({"iscrowd": 2}, "iscrowd is '2'"),
    ],
)
def test_annotations_of_coco_that_are_refused(tmp_path, annotation, told):
    with pytest.raises(InputError, match=told):
        read(tmp_path, changed(**annotation))


def test_a_coco_image_may_leave_out_ome_and_compose_accents_otherwise(tmp_path):
    content = coco(names=("other.tif", "Gefa\u0308\u00df.tif"))
    named = replace(FRAME, name="Gef\u00e4\u00df.ome")
    assert read(tmp_path, content, named).tumour.area == read(tmp_path, coco()).tumour.area
