"""Outlines of lesions that were dropped without a word: each stays a lesion, or its file is refused."""

from __future__ import annotations

import json
import zipfile

import pytest

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.slides.outlines.finding import match_outlines
from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.slides.outlines.reading import read_areas


def square(x, y, side):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def feature(ring, name=None, kind="Polygon", **properties):
    stated = {
        "objectType": "annotation",
        **({"classification": {"name": name}} if name else {}),
        **properties,
    }
    coordinates = [ring] if kind == "Polygon" else ring
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": stated}


def areas(tmp_path, *features, **how):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return read_areas(path, **how)


@pytest.mark.parametrize("around", ["Stroma", "Normal", "_2", "Immune cells"])
def test_a_lesion_inside_what_is_no_lesion_stays_one(tmp_path, around):
    found = areas(tmp_path, feature(square(0, 0, 500), around), feature(square(100, 100, 256), "Tumor"))
    assert found.tumour.area == 256**2


def test_rings_of_lesions_and_holes_count_by_the_innermost(tmp_path):
    rings = [
        ("Tumor", 0, 500),
        ("Normal", 50, 400),
        ("Tumor", 100, 300),
        ("Normal", 150, 200),
        ("Tumor", 200, 100),
    ]
    found = areas(tmp_path, *(feature(square(place, place, side), name) for name, place, side in rings))
    assert found.tumour.area == 500**2 - 400**2 + 300**2 - 200**2 + 100**2


def test_a_hole_that_reaches_past_its_lesion_is_cut_out_as_before(tmp_path):
    found = areas(tmp_path, feature(square(0, 0, 100), "Tumor"), feature(square(50, -100, 300), "Normal"))
    assert found.tumour.area == 50 * 100


def test_one_place_that_is_a_lesion_and_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"lesion at .* is outlined as no lesion, too"):
        areas(tmp_path, feature(square(0, 0, 100), "Tumor"), feature(square(0, 0, 100), "Normal"))


def test_a_lesion_in_a_negative_region_of_another_layer_stays_one(tmp_path):
    def region(ring, negative):
        corners = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ring[:4])
        return f'<Region Type="0" NegativeROA="{negative}"><Vertices>{corners}</Vertices></Region>'

    layers = {
        "Normal": region(square(0, 0, 500), 0) + region(square(90, 90, 280), 1),
        "Tumor": region(square(100, 100, 256), 0),
    }
    text = "".join(
        f'<Annotation Name="{name}"><Regions>{each}</Regions></Annotation>' for name, each in layers.items()
    )
    (tmp_path / "a.xml").write_text(f'<Annotations MicronsPerPixel="0.5">{text}</Annotations>')
    assert read_areas(tmp_path / "a.xml").tumour.area == 256**2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '<Annotation Type="Polygon" PartOfGroup="Tumor"><Points><Point X="1" Y="2"/></Points></Annotation>',
            "without Coordinates",
        ),
        ('<Annotation Type="Rectangle" PartOfGroup="Tumor"/>', "without Coordinates"),
    ],
)
def test_an_outline_of_asap_without_corners_is_refused(tmp_path, text, told):
    corners = "".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(square(0, 0, 50)[:4])
    )
    good = f'<Annotation Type="Polygon" PartOfGroup="Tumor"><Coordinates>{corners}</Coordinates></Annotation>'
    (tmp_path / "a.xml").write_text(
        f"<ASAP_Annotations><Annotations>{good}{text}</Annotations></ASAP_Annotations>"
    )
    with pytest.raises(InputError, match=told):
        read_areas(tmp_path / "a.xml")


def test_a_rectangle_of_asap_by_two_corners_is_one(tmp_path):
    corners = '<Coordinate Order="0" X="10" Y="20"/><Coordinate Order="1" X="110" Y="70"/>'
    one = (
        f'<Annotation Type="Rectangle" PartOfGroup="Tumor"><Coordinates>{corners}</Coordinates></Annotation>'
    )
    (tmp_path / "a.xml").write_text(f"<ASAP_Annotations><Annotations>{one}</Annotations></ASAP_Annotations>")
    assert read_areas(tmp_path / "a.xml").tumour.area == 100 * 50


def test_a_region_of_imagescope_without_vertices_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text(
        '<Annotations MicronsPerPixel="0.5"><Annotation Name="Tumor"><Regions><Region Type="0"><Points/></Region></Regions>'
        "</Annotation></Annotations>"
    )
    with pytest.raises(InputError, match="without Vertices"):
        read_areas(tmp_path / "a.xml")


def test_a_line_that_closes_is_asked_about(tmp_path):
    lesion = feature(square(0, 0, 50), "Tumor")
    with pytest.raises(InputError, match="or close and are no areas"):
        areas(tmp_path, lesion, feature(square(100, 100, 200), "Tumor", "LineString"))
    assert (
        areas(tmp_path, lesion, feature(square(100, 100, 200)[:4], "Tumor", "LineString")).tumour.area == 2500
    )


def test_detections_of_a_lesion_beside_outlines_of_none_are_refused(tmp_path):
    normal = feature(square(0, 0, 100), "Normal")
    cells = feature(square(200, 200, 20), "Tumor", objectType="detection")
    with pytest.raises(InputError, match=r"detections \(cells, tiles\) of a lesion"):
        areas(tmp_path, normal, cells)
    assert areas(tmp_path, normal, cells, feature(square(200, 200, 90), "Tumor")).tumour.area == 8100
    assert (
        areas(tmp_path, normal, feature(square(0, 0, 9), "Stroma", objectType="detection")).tumour.area == 0
    )


@pytest.mark.parametrize(
    "names", [{"names": ["Region*", "Tumor"]}, {"name": "Stroma: Tumor"}, {"names": ["Normal", "Tumor"]}]
)
def test_classes_that_contradict_each_other_are_asked_about(tmp_path, names):
    mixed = feature(square(0, 0, 500), classification=names)
    with pytest.raises(InputError, match=": Tumor"):
        areas(tmp_path, mixed, feature(square(0, 0, 64), "Tumor"))


@pytest.mark.parametrize(
    "name", ["pathClass", "category_name", "title", "description", "Tissue type", "labels"]
)
def test_a_class_in_another_property_is_asked_about(tmp_path, name):
    outline = feature(square(0, 0, 100))
    outline["properties"] = {name: "Benign"}
    with pytest.raises(InputError, match="Benign"):
        areas(tmp_path, outline, classes=None)


def test_coordinates_that_are_shares_of_the_slide_are_refused(tmp_path):
    with pytest.raises(InputError, match="between 0 and 1"):
        areas(
            tmp_path,
            feature([[0.1, 0.1], [0.5, 0.1], [0.5, 0.5], [0.1, 0.1]], "Tumor"),
            frame=SlideFrame((4000, 3000)),
        )


@pytest.mark.parametrize("name", ["b.tif", "b_mask.tif", "B_Mask.png", "b-annotations.geojson", "b.zip"])
def test_what_may_outline_a_slide_and_is_not_read_is_known(tmp_path, name):
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("0001-0002.roi", b"Iout")
    else:
        (tmp_path / name).write_text("{}")
    found = match_outlines(tmp_path, ["a", "b"], own={tmp_path / "slides" / "b.tif"})
    assert found.unread == {"b": tmp_path / name}
    assert not found.files


def test_slides_beside_their_outlines_are_no_masks(tmp_path):
    slides = [tmp_path / "b.tif", tmp_path / "b_2.tif"]
    for path in slides:
        path.write_bytes(b"II")
    assert match_outlines(tmp_path, ["b", "b_2"], own={path.resolve() for path in slides}).unread == {}


def test_a_linked_folder_of_outlines_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outlines").mkdir()
    (tmp_path / "outlines" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="a link to a folder"):
        match_outlines(tmp_path / "outlines", ["a"])
