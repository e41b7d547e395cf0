"""Hamamatsu's NDPA: nanometres from the centre of the glass, shapes, lines that are not closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.frame import SlideFrame, frame_of, stored_frame
from esad.preprocessing.slides.outlines.reading import read_areas
from esad.preprocessing.slides.reading import Slide
from tests.preprocessing.slides.ndpi_file import write_ndpi
from tests.preprocessing.slides.outlines.same_outline import FRAME, nanometres, ndpa

VIEW = "<annotations><ndpviewstate id='1'><title>{title}</title>{unit}<annotation {kind}>{body}</annotation></ndpviewstate></annotations>"


def view(kind, body, title="Tumor", unit="<coordformat>nanometers</coordformat>"):
    return VIEW.format(title=title, unit=unit, kind=kind, body=body)


def points(*corners):
    each = "".join("<point><x>{}</x><y>{}</y></point>".format(*nanometres(*corner)) for corner in corners)
    return f"<pointlist>{each}</pointlist>"


def read(folder, text, classes=None, frame=FRAME):
    (folder / "slide.ndpi.ndpa").write_text(text)
    return read_areas(folder / "slide.ndpi.ndpa", classes, frame)


def test_places_by_hand():
    """At 0.25 um a pixel, 8 mm left of and 1 mm below the centre of the glass: the middle of a slide whose offset that is."""
    frame = SlideFrame((4000, 2000), (0.25, 0.25), (-8e6, 1e6))
    assert nanometres(2000, 1000, frame) == (-8_000_000, 1_000_000)
    assert nanometres(0, 0, frame) == (-8_500_000, 750_000)


def test_pixels_that_are_not_square_and_offsets_are_taken_axis_by_axis(tmp_path):
    frame = SlideFrame((1024, 1024), (0.5, 0.25), (-3e6, 5e6), "slide")
    assert read(tmp_path, ndpa(frame=frame), frame=frame).tumour.bounds == pytest.approx(
        (200, 200, 828, 778), abs=0.01
    )


def test_a_circle_a_rectangle_and_a_box_of_two_corners(tmp_path):
    x, y = nanometres(500, 400)
    circle = read(tmp_path, view("type='circle'", f"<x>{x}</x><y>{y}</y><radius>50000</radius>")).tumour
    assert circle.area == pytest.approx(np.pi * 100**2, rel=1e-4)
    assert circle.centroid.coords[0] == pytest.approx((500, 400))
    special = "<specialtype>rectangle</specialtype><closed>0</closed>"
    for kind, body in (
        (
            "type='freehand' displayname='AnnotateRectangle'",
            special + points((10, 20), (60, 20), (60, 50), (10, 50)),
        ),
        ("type='rectangle'", points((10, 20), (60, 50))),
    ):
        assert read(tmp_path, view(kind, body)).tumour.bounds == pytest.approx((10, 20, 60, 50))


@pytest.mark.parametrize("body", ["<closed>0</closed>", ""])
def test_a_line_that_is_not_closed_is_refused_unless_it_is_ignored(tmp_path, body):
    text = view(
        "type='freehand' displayname='AnnotateFreehandLine'", body + points((0, 0), (90, 0), (90, 90))
    )
    with pytest.raises(InputError, match=r"not closed \(1 of 'Tumor'\).*--outline-class NAME=ignore"):
        read(tmp_path, text)
    closed = (
        text.replace("<pointlist>", "<closed>1</closed><pointlist>")
        if not body
        else text.replace(">0<", ">1<")
    )
    assert read(tmp_path, closed).tumour.area == pytest.approx(4050, rel=1e-3)


def test_pins_and_rulers_have_no_area(tmp_path):
    x, y = nanometres(500, 500)
    pin = view("type='pin'", f"<x>{x}</x><y>{y}</y>")
    with pytest.raises(InputError, match="no area"):
        read(tmp_path, pin)
    both = ndpa().replace("</annotations>", pin.removeprefix("<annotations>"))
    assert read(tmp_path, both).understood["mark"] == {"points, lines": 1}
    ruler = f"<x1>{x}</x1><y1>{y}</y1><x2>{x + 999}</x2><y2>{y}</y2>"
    with pytest.raises(InputError, match="no area"):
        read(tmp_path, view("type='linearmeasure'", ruler, title=""))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (view("type='freehand'", points((0, 0), (9, 0), (9, 9)), unit="<coordformat>pixels</coordformat>"), "coordinates in 'pixels'"),
        (view("type='heap'", ""), "type 'heap'"),
        (view("type='circle'", "<x>1</x><y>1</y>"), "not a number"),
        (view("type='freehand'", points((0, 0), (9, 0), (9, 9)), title=""), "1 of 'None'"),
        ("<annotations><ndpviewstate/></annotations>", "without annotation"),
        ("<annotations><view/></annotations>", "'view' among the views"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        read(tmp_path, text)


def test_details_stand_for_a_title_that_is_not_there(tmp_path):
    text = ndpa().replace("<title>Tumor</title><details/>", "<title/><details>Metastasis</details>")
    assert read(tmp_path, text).understood["anomaly"] == {"Metastasis": 2}


@pytest.mark.parametrize("frame", [None, replace(FRAME, offset=None), replace(FRAME, mpp=None)])
def test_without_the_slides_place_nanometres_are_refused(tmp_path, frame):
    with pytest.raises(
        InputError, match=r"slide\.ndpi\.ndpa.*need the slide's hamamatsu\.XOffsetFromSlideCentre"
    ):
        read(tmp_path, ndpa(), frame=frame)


def test_a_file_without_views_says_that_nothing_is_outlined(tmp_path):
    assert read(tmp_path, "<annotations></annotations>").tumour.is_empty


@pytest.mark.parametrize("offset", [(1_000_000, -2_000_000), None])
def test_the_frame_is_the_slides_own_and_is_stored_as_it_is(tmp_path, offset):
    path = write_ndpi(tmp_path / "slide.ndpi", np.full((64, 128, 3), 200, np.uint8), (0.5, 0.4), offset)
    with Slide(path) as slide:
        frame = frame_of(slide)
    assert frame == SlideFrame((128, 64), (0.5, 0.4), offset, "slide")
    assert stored_frame({"width": 128, "height": 64, **frame.columns()}, "slide") == frame
    assert stored_frame({"width": 128, "height": 64}, "slide") == SlideFrame((128, 64), name="slide")
