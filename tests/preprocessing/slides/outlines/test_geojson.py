"""GeoJSON beside QuPath's current one: which objects are outlines, and where their class stands."""

from __future__ import annotations

import json

import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.frame import BOUNDS, SlideFrame, bounds_of, stored_frame
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


@pytest.mark.parametrize("name", ["class", "label", "category", "classification", "class_id"])
@pytest.mark.parametrize("values", [(0, 1), (0.0, 1.0), ([0], [1])])
def test_a_number_as_a_class_is_asked_about_and_can_be_said(tmp_path, name, values):
    both = [one({name: value}, x=40 * place) for place, value in enumerate(values)]
    with pytest.raises(InputError, match=r"'0'.*'1'.*--outline-class"):
        read(tmp_path, *both)
    areas = read(tmp_path, *both, classes={"1": "anomaly", "0": "hole"})
    assert areas.understood == {"anomaly": {"1": 1}, "hole": {"0": 1}}


UNKNOWN_PROPERTIES = [
    ({"tissue_class": "Stroma"}, {"tissue_class": "Tumor"}, "tissue_class", ("Stroma", "Tumor")),
    ({"Klasse": "Normal"}, {"Klasse": "Tumor"}, "Klasse", ("Normal", "Tumor")),
    ({"annotation_type": "Normal"}, {"annotation_type": "Tumor"}, "annotation_type", ("Normal", "Tumor")),
    ({"category_id": 0}, {"category_id": 1}, "category_id", ("0", "1")),
    ({"category_id": 0.0}, {"category_id": 1.0}, "category_id", ("0", "1")),
    ({"labels": ["Stroma"]}, {"labels": ["Tumor"]}, "labels", ("Stroma", "Tumor")),
    ({"terms": [{"id": 5, "name": "A"}]}, {"terms": [{"id": 6, "name": "B"}]}, "terms.name", ("A", "B")),
    ({"terms": [17]}, {"terms": [18]}, "terms", ("17", "18")),
    ({"metadata": {"class": "Normal"}}, {"metadata": {"class": "X"}}, "metadata.class", ("Normal", "X")),
    ({"classification": {"id": 3}}, {"classification": {"id": 4}}, "classification.id", ("3", "4")),
    ({"isTumor": False}, {"isTumor": True}, "isTumor", ("false", "true")),
    ({"info": "Duct"}, {"info": "Wall"}, "info", ("Duct", "Wall")),
    ({"source": "Normal"}, {"source": "Tumor"}, "source", ("Normal", "Tumor")),
    ({"name": ["Stroma"]}, {"name": ["Tumor"]}, "name", ("Stroma", "Tumor")),
]


@pytest.mark.parametrize(("first", "second", "name", "values"), UNKNOWN_PROPERTIES)
@pytest.mark.parametrize("locked", [{}, {"isLocked": True, "objectType": "annotation"}])
def test_a_property_that_may_be_a_class_is_asked_about(tmp_path, first, second, name, values, locked):
    both = one({**locked, **first}), one({**locked, **second}, x=80)
    with pytest.raises(InputError, match=rf"'{name}' \('{values[0]}', '{values[1]}'\).*VALUE=anomaly"):
        read(tmp_path, *both)
    with pytest.raises(InputError, match=rf"'{name}' \('{values[0]}'\)"):  # said of one, and not of the other
        read(tmp_path, *both, classes={values[1]: "anomaly"})
    said = read(tmp_path, *both, classes={values[0]: "hole", values[1]: "anomaly"})
    assert said.understood == {"hole": {values[0]: 1}, "anomaly": {values[1]: 1}}
    assert read(tmp_path, *both, classes={"None": "anomaly"}).tumour.area == 200


def test_a_class_beside_the_properties_is_asked_about(tmp_path):
    with pytest.raises(InputError, match=r"'group_of' \('Stroma'\)"):
        read(tmp_path, one(None, group_of="Stroma"))


@pytest.mark.parametrize(
    "properties",
    [
        None,
        {},
        {"objectType": "annotation", "isLocked": False, "measurements": {"Area": 3}, "classification": None},
        {"objectType": "annotation", "measurements": [{"name": "Kind", "value": "a"}], "color": [200, 0, 0]},
        {"object_type": "annotation", "name": None, "colorRGB": -3670016, "metadata": {}},
        {"id": 4, "fid": 17, "OBJECTID": 3, "Shape_Area": 400, "Shape_Length": 80, "uuid": "x1"},
        {"area": 100.0, "area_um2": 25, "numPoints": 4, "score": 0.75, "comment": "", "tags": []},
        {"stroke": "#ff0000", "stroke-width": 2, "fill": "red", "fill-opacity": 1, "style": {"kind": "x"}},
        {"created_at": "2024-01-01", "createdBy": "anna", "user_name": "anna", "file_name": "tumor_1.tif"},
        {"annotation_id": 12, "slide_id": "normal_001", "shape": "polygon", "token": "#aabbcc"},
        {"key": "0a0a0a0a-1111-2222-3333-0123456789ab", "when": "2024-01-01T10:00:00Z"},
    ],
)
def test_what_says_nothing_of_a_class_leaves_an_outline_a_lesion(tmp_path, properties):
    plain = one(properties, id="PathAnnotationObject", bbox=[0, 0, 1, 1])
    assert read(tmp_path, plain, one(properties, x=80)).understood == {"anomaly": {"None": 2}}
    (tmp_path / "b.geojson").write_text(json.dumps(plain["geometry"]))
    assert read_areas(tmp_path / "b.geojson").tumour.area == 100


INNOCENT = [
    {"slice": 12}, {"the_z": 0, "the_t": 3}, {"Layer": "Layer 1"}, {"metadata": {"ANNOTATION_DESCRIPTION": "a cribriform one"}},
    {"comment": "see slide 3"}, {"notes": "x"}, {"status": "done"}, {"reviewed": True}, {"popupContent": "Lesion 1"}, {"score": 100},
    {"confidence": 1, "probability": 1.0, "iou": 1.0}, {"rotation": 0, "zoom": 2, "level": 0, "scale": 1}, {"track_id": 4, "seq": 2},
    {"pathologist": "Mueller", "drawn_by": "anna"}, {"scanner": "Leica", "hospital": "A", "barcode": "B12"}, {"stain": "HE", "wsi": "s"},
    {"organ": "lung", "session": "a", "hash": "ab12"}, {"lastModified": "today"}, {"DN": 1}, {"raster_val": 255}, {"element": "polyline"},
    {"has_hole": False, "isHole": False}, {"geometry_type": "circle", "image_type": "svs", "stain_type": "HE"}, {"fill": "#ff0000"},
    {"labelled_by": "anna", "label_visible": True, "class_area": 12}, {"color": [9, 9, 9]}, {"style": {"color": "red", "width": 2}},
]  # fmt: skip
"""What programs and people write beside outlines of lesions, the same on all."""
DIFFERENT = [
    ("slice", [1, 2, 2]), ("track_id", [1, 2, 2]), ("comment", ["nice", "ask Eva", "two foci"]), ("pathologist", ["Mu", "Li", "Li"]),
    ("index", [1, 2, 3]), ("num", list(range(9))), ("metadata", [{"ANNOTATION_DESCRIPTION": text} for text in ("one", "two")]),
    ("color", ["red", "blue", "green", "pink", "black", "white"]), ("reviewed", [True, False]), ("score", [97, 100]),
    ("story", ["It lies at the edge of the tissue.", "It is small, and lies in the fat."]), ("code", [4711, 4712]), ("foo", ["x", None]),
    ("drawn_by", ["anna", "eva"]), ("element", ["polyline", "circle"]), ("has_hole", [True, False]), ("length", [4, 4, 5]),
]  # fmt: skip
CLASSES = [
    ("tissue_class", ["x", "x"]), ("Klasse", ["x", "x"]), ("annotation_type", ["x", "x"]), ("category_id", [3, 3]),
    ("PartOfGroup", ["a", "a"]),
    ("grade", [3, 3]), ("Cat\u00e9gorie", ["x"]), ("TISSUETYPE", ["x"]), ("labels", [["x"]]), ("value", [1, 2]), ("value", [1.0, 2.0]),
    ("color", ["red", "green"]), ("color", [[9, 0, 0], [0, 9, 0], [9, 0, 0]]), ("fill", ["#ff0000", "#00ff00", "#00ff00"]),
    ("style", [{"color": "red"}, {"color": "green"}]), ("num", [1, 2, 2, 1]), ("index", [0, 1, 1]), ("DN", [1, 2]), ("Layer", ["a", "b"]),
    ("raster_val", [128, 255]), ("foo", ["a", "b", "c", "d", "e", "e"]), ("comment", ["duct", "duct", "wall"]), ("comment", ["Normal"]),
    ("source", ["Normal", "Normal"]), ("isHole", [True, False]), ("gleason_score", [3, 4]), ("\u7c7b\u522b", ["a", "b"]),
    ("slide", ["Tumor", "other"]), ("slide_type", ["a", "b"]), ("isTumor", [False, False]),
]  # fmt: skip


@pytest.mark.parametrize("properties", INNOCENT, ids=str)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_property_that_is_the_same_on_all_outlines_is_no_class_but_by_its_name(tmp_path, properties, count):
    found = read(tmp_path, *(one(properties, x=40 * place) for place in range(count)))
    assert found.understood == {"anomaly": {"None": count}}


def named(name, values):
    return [one({name: value}, x=40 * place) for place, value in enumerate(values)]


@pytest.mark.parametrize(("name", "values"), DIFFERENT, ids=str)
def test_a_measure_a_person_and_a_free_text_that_differ_are_no_classes(tmp_path, name, values):
    assert read(tmp_path, *named(name, values)).understood == {"anomaly": {"None": len(values)}}


@pytest.mark.parametrize(("name", "values"), CLASSES, ids=str)
def test_a_property_that_is_called_as_a_class_or_differs_and_repeats_is_asked_about(tmp_path, name, values):
    with pytest.raises(InputError, match="--outline-class"):
        read(tmp_path, *named(name, values))


def test_a_feature_without_geometry_has_no_area(tmp_path):
    """RFC 7946, 3.2: an unlocated feature has a geometry of null."""
    nowhere = one({"classification": {"name": "Tumor"}}, geometry=None)
    assert read(tmp_path, TUMOUR, nowhere).understood == {
        "anomaly": {"Tumor": 1},
        "mark": {"points, lines": 1},
    }
    with pytest.raises(InputError, match="no area"):
        read(tmp_path, nowhere)


SCANNED = SlideFrame((1000, 800), bounds=(300.0, 200.0, 500.0, 400.0))
ANNOTATION = {"objectType": "annotation", "classification": {"name": "Tumor"}}


@pytest.mark.parametrize(
    "members",
    [
        {"properties": ANNOTATION},
        {"properties": {"isLocked": False, "classification": {"name": "Tumor"}}},
        {"properties": {"classification": {"name": "Tumor", "color": [200, 0, 0]}}},
        {"properties": {"classification": {"name": "Tumor", "colorRGB": -3670016}}},
        {"id": "PathAnnotationObject"},
    ],
)
def test_qupath_counts_pixels_from_the_bounds_of_what_was_scanned(tmp_path, members):
    (tmp_path / "a.geojson").write_text(json.dumps([{**feature(ring(10, 20, 100), "Tumor"), **members}]))
    for frame, corner in ((SCANNED, (310, 220)), (SlideFrame((1000, 800)), (10, 20))):
        area = read_areas(tmp_path / "a.geojson", frame=frame).tumour
        assert area.bounds == (*corner, corner[0] + 100, corner[1] + 100)


def test_geojson_of_an_unknown_program_is_asked_about_where_a_slide_has_bounds(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature(ring(10, 20, 100), "Tumor")]))
    with pytest.raises(InputError, match=r"begins at \(300, 200\).*labels.geojson_origin=bounds, or =slide"):
        read_areas(path, frame=SCANNED)
    assert read_areas(path, frame=SCANNED, origin="bounds").tumour.bounds == (310, 220, 410, 320)
    assert read_areas(path, frame=SCANNED, origin="slide").tumour.bounds == (10, 20, 110, 120)
    path.write_text('{"type": "FeatureCollection", "features": []}')
    assert read_areas(path, frame=SCANNED).tumour.area == 0


def test_what_qupath_wrote_can_be_said_to_be_of_level_0(tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps([one(ANNOTATION)]))
    assert read_areas(tmp_path / "a.geojson", frame=SCANNED, origin="slide").tumour.bounds[0] == 40


@pytest.mark.parametrize(
    ("stated", "bounds"),
    [
        ((300, 200, 500, 400), (300.0, 200.0, 500.0, 400.0)),
        ((300, 200, 701, 400), None),
        ((-1, 200, 500, 400), None),
        ((300, 200, 0, 400), None),
        ((300, 200, "wide", 400), None),
        ((300, 200, 500), None),
    ],
)
def test_bounds_are_those_that_the_file_states_within_the_slide(stated, bounds):
    properties = {name: str(value) for name, value in zip(BOUNDS, stated, strict=False)}
    assert bounds_of(properties, (1000, 800)) == bounds
    frame = SlideFrame((1000, 800), bounds=bounds)
    assert stored_frame({"width": 1000, "height": 800, **frame.columns()}, "") == frame
