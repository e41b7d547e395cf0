"""GeoJSON beside QuPath's current one: which objects are outlines, and where their class stands."""

from __future__ import annotations

import json

import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.preprocessing.slides.outlines.test_reading import feature, ring

TUMOUR = feature(ring(0, 0, 10), "Tumor")


def read(folder, *features, classes=None):
    (folder / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return read_areas(folder / "a.geojson", classes)


def one(properties, x=40, **members):
    return {**feature(ring(x, 0, 10)), "properties": properties, **members}


@pytest.mark.parametrize("kind", ["cell", "detection", "tile", "tma_core"])
@pytest.mark.parametrize("name", ["objectType", "object_type"])
def test_detections_of_every_qupath_are_no_outlines(tmp_path, name, kind):
    areas = read(tmp_path, TUMOUR, one({name: kind, "classification": {"name": "Tumor"}}))
    assert (areas.tumour.area, areas.understood["detection"]) == (100, {"cells": 1})


@pytest.mark.parametrize("kind", ["PathCellObject", "PathDetectionObject", "PathTileObject"])
def test_the_oldest_qupath_says_it_by_the_id_and_object_type_comes_first(tmp_path, kind):
    cell = one({"classification": {"name": "Tumor"}}, id=kind)
    assert read(tmp_path, TUMOUR, cell).tumour.area == 100
    assert read(tmp_path, TUMOUR, {**cell, "id": "PathAnnotationObject"}).tumour.area == 200
    assert read(tmp_path, TUMOUR, {**cell, "id": 17}).tumour.area == 200
    cell["properties"] |= {"objectType": "annotation", "object_type": "cell"}
    assert read(tmp_path, TUMOUR, cell).tumour.area == 200


def test_an_object_of_a_type_that_is_not_known_is_not_passed_over(tmp_path):
    with pytest.raises(InputError, match="'lesion'"):
        read(tmp_path, TUMOUR, one({"objectType": "lesion"}))


@pytest.mark.parametrize("name", ["class", "label", "Class", "Classification", "LABEL", "category"])
def test_a_class_under_another_name_is_the_class(tmp_path, name):
    assert read(tmp_path, TUMOUR, one({name: "Normal"})).understood == {
        "anomaly": {"Tumor": 1}, "hole": {"Normal": 1}
    }  # fmt: skip
    assert read(tmp_path, TUMOUR, one({name: {"name": "Normal"}})).understood["hole"] == {"Normal": 1}
    with pytest.raises(InputError, match=r"1 of 'DCIS'.*--outline-class"):
        read(tmp_path, one({name: "DCIS"}))
    assert read(tmp_path, one({name: "DCIS"}), classes={"dcis": "anomaly"}).tumour.area == 100


@pytest.mark.parametrize("name", ["name", "type", "Name"])
def test_a_lone_name_or_type_that_is_not_understood_is_asked_about(tmp_path, name):
    with pytest.raises(InputError, match=r"1 of 'fold'.*--outline-class"):
        read(tmp_path, one({name: "fold"}))
    assert read(tmp_path, one({name: "Tumor"})).tumour.area == 100
    assert read(tmp_path, one({name: " "})).tumour.area == 100
    assert read(tmp_path, one({"classification": {"name": "Tumor"}, name: "fold"})).tumour.area == 100
    assert read(tmp_path, one({"type": "Polygon"})).tumour.area == 100


def test_two_classes_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(InputError, match="'Normal' and 'Tumor'"):
        read(tmp_path, one({"class": "Normal", "label": "Tumor"}))
    assert read(tmp_path, one({"class": "tumor", "label": "Tumor"})).tumour.area == 100
    assert read(tmp_path, one({"label": "left", "classification": "Tumor"})).tumour.area == 100


def test_a_feature_without_geometry_has_no_area(tmp_path):
    """RFC 7946, 3.2: an unlocated feature has a geometry of null."""
    nowhere = one({"classification": {"name": "Tumor"}}, geometry=None)
    assert read(tmp_path, TUMOUR, nowhere).understood == {
        "anomaly": {"Tumor": 1},
        "mark": {"points, lines": 1},
    }
    with pytest.raises(InputError, match="no area"):
        read(tmp_path, nowhere)
