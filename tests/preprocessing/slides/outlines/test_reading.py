"""Outlines against areas worked by hand; fractions that add up to the outline's area; bad files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.finding import find_outlines
from esad.preprocessing.slides.outlines.fractions import outline_fractions
from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.slides.outlines.reading import read_areas, read_outlines

ASAP = """<ASAP_Annotations><Annotations>
<Annotation PartOfGroup="Tumor"><Coordinates>{outer}</Coordinates></Annotation>
<Annotation PartOfGroup="_2"><Coordinates>{hole}</Coordinates></Annotation>
<Annotation PartOfGroup="Exclusion"><Coordinates>{outer}</Coordinates></Annotation>
</Annotations></ASAP_Annotations>"""


def ring(x, y, side):
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def coordinates(points):
    return "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))


def test_asap_outline_with_a_hole_gives_exact_fractions(tmp_path):
    path = tmp_path / "Tumor_001.xml"
    path.write_text(ASAP.format(outer=coordinates(ring(0, 0, 100)), hole=coordinates(ring(0, 0, 50))))
    area = read_outlines(path)
    assert area.area == 100**2 - 50**2
    boxes = np.array([[0, 0, 50, 50], [50, 50, 50, 50], [25, 25, 50, 50], [90, 90, 20, 20], [200, 0, 9, 9]])
    assert outline_fractions(area, boxes) == pytest.approx([0, 1, 0.75, 0.25, 0])
    assert find_outlines(tmp_path) == {"tumor_001": path}


def test_geojson_and_plain_json_agree(tmp_path):
    square = [list(point) for point in ring(10, 20, 30)]
    (tmp_path / "a.geojson").write_text(shapely.to_geojson(shapely.Polygon(square)))
    (tmp_path / "b.json").write_text(json.dumps({"positive": [{"vertices": square}], "negative": []}))
    assert read_outlines(tmp_path / "a.geojson").equals(read_outlines(tmp_path / "b.json"))


def test_a_broken_outline_names_the_file(tmp_path):
    (tmp_path / "x.xml").write_text("<ASAP_Annotations>")
    with pytest.raises(InputError, match=r"x\.xml"):
        read_outlines(tmp_path / "x.xml")


def test_a_ring_that_crosses_itself_is_repaired_and_spikes_have_no_area(tmp_path):
    bow = [[0, 0], [10, 10], [10, 0], [0, 10]]
    spike = [[100, 100], [110, 100], [110, 110], [100, 110], [100, 100], [50, 100]]
    (tmp_path / "a.json").write_text(
        json.dumps(
            {"positive": [{"vertices": bow}, {"vertices": spike}, {"vertices": [[0, 0], [5, 5], [9, 9]]}]}
        )
    )
    area = read_outlines(tmp_path / "a.json")
    assert area.area == pytest.approx(2 * 25 + 100)
    assert outline_fractions(area, np.array([[0.0, 0, 10, 10], [50, 95, 40, 10]])) == pytest.approx([0.5, 0])


def feature(points, name=None):
    properties = {"classification": {"name": name}} if name else {}
    geometry = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": [ring(0, 0, 100), ring(10, 10, 20)]},
        {"type": "MultiPolygon", "coordinates": [[ring(0, 0, 100), ring(10, 10, 20)], [[[5, 5], [6, 6]]]]},
        {"type": "GeometryCollection", "geometries": [
            {"type": "Point", "coordinates": [1, 2]},
            {"type": "Polygon", "coordinates": [[*ring(0, 0, 100), (0, 0)], [*ring(10, 10, 20), (10, 10)]]},
        ]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrapped", ["bare", "feature", "list", "collection"])
def test_geojson_of_any_shape_and_wrapping_closed_or_not_keeps_its_holes(tmp_path, geometry, wrapped):
    whole = {"type": "Feature", "properties": None, "geometry": geometry}
    content = {"bare": geometry, "feature": whole, "list": [whole], "collection": {"features": [whole]}}
    (tmp_path / "a.geojson").write_text(json.dumps(content[wrapped]))
    assert read_outlines(tmp_path / "a.geojson").area == 100**2 - 20**2


def test_derived_classes_of_qupath_count_as_their_first_and_its_cells_are_no_outlines(tmp_path):
    named = feature(ring(0, 0, 10), "Tumor: Positive")
    listed = feature(ring(20, 0, 10))
    listed["properties"]["classification"] = {"names": ["Tumor", "Positive"]}
    cell = feature(ring(40, 0, 10), "Tumor")
    cell["properties"]["objectType"] = "cell"
    (tmp_path / "a.geojson").write_text(json.dumps([named, listed, cell]))
    assert read_outlines(tmp_path / "a.geojson").area == 200
    (tmp_path / "b.geojson").write_text(json.dumps([cell]))
    with pytest.raises(InputError, match="cell"):
        read_outlines(tmp_path / "b.geojson")


def test_outlines_of_too_few_points_are_passed_over_but_never_make_a_slide_normal(tmp_path):
    short = [coordinates(ring(0, 0, 9)[:count]) for count in range(3)]
    text = "".join(
        f'<Annotation PartOfGroup="_0"><Coordinates>{one}</Coordinates></Annotation>' for one in short
    )
    square = (
        f'<Annotation PartOfGroup="_1"><Coordinates>{coordinates(ring(0, 0, 9))}</Coordinates></Annotation>'
    )
    (tmp_path / "a.xml").write_text(f"<ASAP_Annotations>{text}{square}</ASAP_Annotations>")
    assert read_outlines(tmp_path / "a.xml").area == 81
    (tmp_path / "b.xml").write_text(f"<ASAP_Annotations>{text}</ASAP_Annotations>")
    (tmp_path / "c.geojson").write_text(json.dumps([feature([[0, 0], [5, 5], [9, 9]])]))
    (tmp_path / "d.geojson").write_text(json.dumps({"type": "Point", "coordinates": [1, 2]}))
    for name in ("b.xml", "c.geojson", "d.geojson"):
        with pytest.raises(InputError, match=rf"{name}.*no area"):
            read_outlines(tmp_path / name)
    (tmp_path / "e.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert read_outlines(tmp_path / "e.geojson").is_empty


def test_classes_of_geojson_are_tumour_hole_or_left_out(tmp_path):
    features = [
        feature(ring(0, 0, 100), "Tumor"), feature(ring(0, 0, 10), "Normal"), feature(ring(200, 0, 50), "Tumor"),
        feature(ring(500, 0, 50), "Ignore*"), feature(ring(700, 0, 50), "Stroma"),
    ]  # fmt: skip
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    areas = read_areas(tmp_path / "a.geojson", {"stroma": "ignore"})
    assert (areas.tumour.area, areas.ignored.area) == (100**2 - 10**2 + 50**2, 2 * 50**2)
    assert areas.understood == {
        "anomaly": {"Tumor": 2}, "hole": {"Normal": 1}, "ignore": {"Ignore*": 1, "Stroma": 1}
    }  # fmt: skip


def test_a_file_of_unknown_groups_only_is_refused_rather_than_read_as_normal(tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps({"features": [feature(ring(0, 0, 9), "Carcinoma")]}))
    square = coordinates(ring(0, 0, 9))
    (tmp_path / "b.xml").write_text(
        f'<ASAP_Annotations><Annotation PartOfGroup="Krebs"><Coordinates>{square}</Coordinates></Annotation></ASAP_Annotations>'
    )
    for name, group in (("a.geojson", "Carcinoma"), ("b.xml", "Krebs")):
        with pytest.raises(InputError, match=rf"{name}.*{group}.*tumor"):
            read_outlines(tmp_path / name)
    (tmp_path / "c.xml").write_text(
        f'<ASAP_Annotations><Annotation PartOfGroup="Exclusion"><Coordinates>{square}</Coordinates></Annotation></ASAP_Annotations>'
    )
    with pytest.raises(InputError, match=r"c\.xml: outlines no lesion.*1 of 'Exclusion'.*--outline-class"):
        read_outlines(tmp_path / "c.xml")
    said = read_areas(tmp_path / "c.xml", {"exclusion": "ignore"})
    assert (said.tumour.area, said.ignored.area) == (0, 81)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[1]", '{"positive": [{"vertices": [[1, 2], [3]]}]}', '{"positive": [{"vertices": [[1, null]]}]}',
        '{"features": [{"geometry": {"type": "Heap"}}]}', '{"positive": [{}]}',
    ],
)  # fmt: skip
def test_bad_json_names_the_file(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match=r"bad\.json"):
        read_outlines(tmp_path / "bad.json")


def test_xml_entities_are_not_expanded(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY x "&#48;">]><ASAP_Annotations><Annotation PartOfGroup="&x;"/></A>'
    (tmp_path / "x.xml").write_text(bomb)
    with pytest.raises(InputError, match=r"x\.xml.*declares XML entities"):
        read_outlines(tmp_path / "x.xml")


IMAGESCOPE = """<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="{name}"><Regions>
<Region Type="{kind}" NegativeROA="0"><Vertices>{outer}</Vertices></Region>
<Region Type="0" NegativeROA="1"><Vertices>{hole}</Vertices></Region></Regions></Annotation></Annotations>"""


def vertices(points):
    return "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)


@pytest.mark.parametrize(
    ("kind", "outer", "area"),
    [
        ("0", ring(100, 100, 800), 640_000),
        ("1", [(100, 100), (900, 900)], 640_000),
        ("2", [(100, 100), (900, 900)], np.pi * 400**2),
    ],
)
def test_imagescope_polygons_rectangles_and_ellipses_with_a_negative_region_as_hole(
    tmp_path, kind, outer, area
):
    path = tmp_path / "a.xml"
    hole = vertices(ring(400, 400, 200))
    path.write_text(IMAGESCOPE.format(name="Tumor", kind=kind, outer=vertices(outer), hole=hole))
    assert read_outlines(path).area == pytest.approx(area - 200**2, rel=1e-4)


def test_imagescope_layers_of_other_names_are_refused_and_ignored_ones_have_no_area(tmp_path):
    path = tmp_path / "a.xml"
    square, hole = vertices(ring(0, 0, 9)), vertices(ring(2, 2, 2))
    path.write_text(IMAGESCOPE.format(name="Layer 1", kind="0", outer=square, hole=hole))
    with pytest.raises(InputError, match="Layer 1"):
        read_outlines(path)
    path.write_text(IMAGESCOPE.format(name="Exclusion", kind="0", outer=square, hole=hole))
    assert read_areas(path, {"exclusion": "ignore"}).tumour.is_empty


def test_negative_regions_without_a_lesion_around_them_are_refused(tmp_path):
    path = tmp_path / "a.xml"
    square, hole = vertices(ring(0, 0, 9)), vertices(ring(2, 2, 2))
    content = IMAGESCOPE.format(name="Tumor", kind="0", outer=square, hole=hole)
    path.write_text(content.replace('NegativeROA="0"', 'NegativeROA="1"'))
    with pytest.raises(InputError, match="only what is cut out of a lesion"):
        read_areas(path)
    path.write_text(content)
    assert read_areas(path).tumour.area == 81 - 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.xml", "<annotations><ndpviewstate id='1'/></annotations>", "need the slide's hamamatsu.XOffset"),
        ("a.xml", "<annotations/>", "another program .*'annotations'"),
        ("a.xml", "<Session><Objects/></Session>", "another program .*'Session'"),
        ("a.json", '{"shapes": [], "imagePath": "a.png"}', "the slide is not known"),
        ("a.json", '{"shapes": []}', "another program .*shapes"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "the slide is not known"),
        ("a.json", '{"images": [], "categories": []}', "another program"),
        ("a.json", "[]", "nor a list of features"),
        ("a.xml", "", r"holds nothing \(0 bytes\)"),
        ("a.json", " \n", r"holds nothing \(2 bytes\)"),
        ("a.xml", "<ASAP_Annotations/>", "does not say that nothing is outlined"),
        ("a.xml", "<ASAP_Annotations><Annotations><Shape/></Annotations></ASAP_Annotations>", "'Shape'"),
        ("a.xml", "<Annotations MicronsPerPixel='1'><Layer/></Annotations>", "'Layer' among the layers"),
        ("a.json", "{}", "another program .*nothing"),
    ],
)
def test_a_schema_that_is_not_known_is_refused_and_never_an_empty_outline(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_outlines(tmp_path / name)


def test_a_file_that_says_that_it_has_no_outlines_is_empty(tmp_path):
    empty = {
        "a.xml": "<ASAP_Annotations><Annotations/></ASAP_Annotations>",
        "b.xml": '<Annotations MicronsPerPixel="0.25"><Annotation Name="Tumor"><Regions/></Annotation></Annotations>',
        "c.geojson": '{"type": "FeatureCollection", "features": []}',
    }
    for name, text in empty.items():
        (tmp_path / name).write_text(text)
        assert read_outlines(tmp_path / name).is_empty


def test_decimal_commas_are_read(tmp_path):
    corners = '<Coordinate X="100,5" Y="0"/><Coordinate X="200,5" Y="0"/><Coordinate X="200,5" Y="10"/>'
    text = ASAP.format(outer=corners, hole="")
    (tmp_path / "a.xml").write_text(text)
    assert read_outlines(tmp_path / "a.xml").bounds == (100.5, 0, 200.5, 10)


def test_an_unknown_class_beside_a_known_one_is_refused_with_its_count_and_may_be_said(tmp_path):
    path = tmp_path / "a.geojson"
    features = [
        feature(ring(0, 0, 9), "Tumor"),
        feature(ring(20, 0, 9), "DCIS"),
        feature(ring(40, 0, 9), "DCIS"),
    ]
    path.write_text(json.dumps({"features": features}))
    with pytest.raises(InputError, match=r"2 of 'DCIS'.*--outline-class"):
        read_outlines(path)
    assert read_areas(path, {"dcis": "anomaly"}).tumour.area == 3 * 81
    ignored = read_areas(path, {"DCIS": "ignore"})
    assert (ignored.tumour.area, ignored.ignored.area) == (81, 2 * 81)
    with pytest.raises(InputError, match="DCIS"):
        read_outlines(path, {"Tumor": "hole"})  # what is said comes first, and says nothing of the other


def test_what_is_said_of_a_known_class_comes_first(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(
        json.dumps({"features": [feature(ring(0, 0, 9), "Tumor"), feature(ring(3, 3, 3), "Ignore*")]})
    )
    assert read_outlines(path).area == 81
    assert read_outlines(path, {"ignore*": "hole"}).area == 81 - 9
    assert read_outlines(path, {"tumor": "ignore", "ignore*": "anomaly"}).area == 9


QUPATH = {
    "Tumor": "anomaly", "Stroma": "hole", "Immune cells": "hole", "Necrosis": "ignore", "Ignore*": "ignore", "Region*": "region",
    "Other": None, "Positive": None, "Negative": None,
}  # fmt: skip
"""QuPath's default classes; None is asked about."""


@pytest.mark.parametrize(("name", "kind"), QUPATH.items())
def test_each_default_class_of_qupath_is_decided_and_counted(tmp_path, name, kind):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature(ring(0, 0, 9), "Tumor"), feature(ring(30, 0, 9), name)]))
    if kind is None:
        with pytest.raises(InputError, match=rf"1 of '{name}'.*--outline-class"):
            read_areas(path)
        return
    understood = read_areas(path).understood
    assert understood == (
        {"anomaly": {"Tumor": 2}} if name == "Tumor" else {"anomaly": {"Tumor": 1}, kind: {name: 1}}
    )


def test_an_outline_without_a_class_beside_others_is_asked_about(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature(ring(0, 0, 9), "Tumor"), feature(ring(30, 0, 900))]))
    with pytest.raises(InputError, match="1 of 'None'"):
        read_areas(path)
    assert read_areas(path, {"none": "region"}).regions.area == 900**2
    path.write_text(json.dumps([feature(ring(0, 0, 9)), feature(ring(30, 0, 9))]))
    assert read_areas(path).understood == {"anomaly": {"None": 2}}


def asap(*annotations):
    """`annotations`: (group, corners), type Polygon; or (group, corners, type)."""
    parts = "".join(
        f'<Annotation Type="{(*kind, "Polygon")[0]}" PartOfGroup="{group}"><Coordinates>{coordinates(corners)}</Coordinates></Annotation>'
        for group, corners, *kind in annotations
    )
    return f"<ASAP_Annotations><Annotations>{parts}</Annotations></ASAP_Annotations>"


def test_asaps_outlines_without_a_group_are_asked_about_alone_and_have_no_label_beside_others(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(asap(("None", ring(0, 0, 9))))
    with pytest.raises(InputError, match=r"1 of 'None'.*None: those without a class"):
        read_areas(path)
    assert read_areas(path, {"None": "anomaly"}).tumour.area == 81
    path.write_text(asap(("None", ring(0, 0, 9)), ("_0", ring(50, 0, 9))))
    areas = read_areas(path)
    assert (areas.tumour.area, areas.ignored.area) == (81, 81)
    assert areas.understood == {"anomaly": {"_0": 1}, "ignore": {"None": 1}}


def test_coordinates_of_asap_go_by_their_order(tmp_path):
    path = tmp_path / "a.xml"
    text = asap(("Tumor", ring(0, 0, 10)))
    first, last = '<Coordinate Order="0" X="0" Y="0"/>', '<Coordinate Order="3" X="0" Y="10"/>'
    path.write_text(text.replace(first, "").replace(last, last + first))
    assert read_outlines(path).area == 100


def test_marks_without_area_are_counted_and_no_tile_on_one_of_a_lesion_is_normal(tmp_path):
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [500, 500]},
             "properties": {"classification": {"name": "Tumor"}}}  # fmt: skip
    line = {
        "type": "Feature",
        "geometry": {"type": "LineString", "coordinates": [[0, 700], [90, 700]]},
        "properties": {},
    }
    (tmp_path / "a.geojson").write_text(json.dumps([feature(ring(0, 0, 9), "Tumor"), point, line]))
    areas = read_areas(tmp_path / "a.geojson")
    assert areas.understood == {"anomaly": {"Tumor": 1}, "mark": {"points, lines": 2}}
    boxes = np.array([[450.0, 450, 100, 100], [0, 650, 100, 100]])
    assert (outline_fractions(areas.ignored, boxes) > 0).tolist() == [True, False]
    (tmp_path / "b.xml").write_text(asap(("Tumor", ring(0, 0, 9), "PointSet")))
    (tmp_path / "c.geojson").write_text(json.dumps([point, feature(ring(0, 0, 9), "Stroma")]))
    for name in ("b.xml", "c.geojson"):
        with pytest.raises(InputError, match=f"{name}.*no area"):
            read_areas(tmp_path / name)


def test_an_ellipse_that_states_its_box_alone_is_an_ellipse(tmp_path):
    whole = feature(ring(0, 0, 100), "Tumor")
    whole["geometry"]["isEllipse"] = True
    (tmp_path / "a.geojson").write_text(json.dumps([whole]))
    assert read_outlines(tmp_path / "a.geojson").area == pytest.approx(np.pi * 50**2, rel=1e-4)


@pytest.mark.parametrize(
    ("corners", "told"),
    [
        (
            ring(20_000, 20_000, 100),
            r"from \(20000, 20000\) to \(20100, 20100\); the slide is 1000 x 800.*level-0 pixels",
        ),
        (ring(-900, 100, 100), "level-0 pixels"),
        (ring(0, 0, 4000), "another level"),
        (ring(900, 700, 300), "level-0 pixels"),
        (ring(-90, -70, 100), None),
        (ring(0, 0, 800), None),
    ],
)
def test_outlines_that_cannot_be_of_the_slide_are_refused(tmp_path, corners, told):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature([list(corner) for corner in corners], "Tumor")]))
    frame = SlideFrame((1000, 800))
    if told is None:
        assert read_areas(path, frame=frame).tumour.area > 0
    else:
        with pytest.raises(InputError, match=told):
            read_areas(path, frame=frame)


BAD_NUMBERS = [
    "1e308",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    '"12"',
    "null",
    "[1]",
    "1" + "0" * 400,
    "1" + "0" * 5000,
]


@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_what_is_no_coordinate_is_refused(tmp_path, value):
    text = json.dumps([feature(ring(0, 0, 9), "Tumor")]).replace("[9, 0]", f"[{value}, 0]")
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InputError, match=r"a\.geojson: not a readable JSON of outlines") as caught:
        read_areas(tmp_path / "a.geojson")
    assert "Error" not in str(caught.value)
    (tmp_path / "a.xml").write_text(asap(("Tumor", ring(0, 0, 9))).replace('X="9"', f"X='{value}'"))
    if value != '"12"':
        with pytest.raises(InputError, match=r"a\.xml: not a readable XML of outlines"):
            read_areas(tmp_path / "a.xml")


@pytest.mark.parametrize("text", ["1_000", "1.234,5", "0x10", "1e", ".", "\uff11\uff12"])
def test_numbers_in_xml_are_plain(tmp_path, text):
    (tmp_path / "a.xml").write_text(asap(("Tumor", ring(0, 0, 9))).replace('X="9"', f'X="{text}"'))
    with pytest.raises(InputError, match="not a number"):
        read_areas(tmp_path / "a.xml")


def test_files_that_nest_deeply_or_say_a_thing_twice_are_refused(tmp_path):
    part = '{"type": "GeometryCollection", "geometries": ['
    texts = {
        "a.json": "[" * 100_000, "b.json": part * 400 + "]}" * 400, "c.json": part * 3000 + "]}" * 3000,
        "d.geojson": '{"type": "FeatureCollection", "features": [{}], "features": []}',
        "e.xml": "<ASAP_Annotations>" + "<Annotations>" * 50_000,
        "f.xml": '<?xml version="1.0" encoding="nonsense"?><ASAP_Annotations><Annotations/></ASAP_Annotations>',
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name) as caught:
            read_areas(tmp_path / name)
        assert not str(caught.value).rstrip(").").endswith("Error")


def test_a_bomb_of_entities_is_refused(tmp_path):
    lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    (tmp_path / "a.xml").write_text(
        f'<!DOCTYPE x [<!ENTITY a0 "ha">{lines}]><ASAP_Annotations>&a9;</ASAP_Annotations>'
    )
    (tmp_path / "b.xml").write_text(
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ASAP_Annotations>&e;</ASAP_Annotations>'
    )
    for name in ("a.xml", "b.xml"):
        with pytest.raises(InputError, match="entities"):
            read_areas(tmp_path / name)


def test_json_of_any_unicode_and_with_a_byte_order_mark_is_read(tmp_path):
    text = json.dumps([feature(ring(0, 0, 9), "Tumor")])
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "a.geojson").write_bytes(text.encode(encoding))
        assert read_outlines(tmp_path / "a.geojson").area == 81
