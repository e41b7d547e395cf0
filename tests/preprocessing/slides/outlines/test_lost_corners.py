"""An outline that lost a corner encloses less, and the tiles beside it would pass for normal: what can be told is refused."""

from __future__ import annotations

import json

import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.trust.outlines import AREA, FRAME, TEXTS


@pytest.mark.parametrize("name", TEXTS)
def test_the_outlines_themselves_are_read(tmp_path, name):
    (tmp_path / name).write_text(TEXTS[name])
    assert read_areas(tmp_path / name, None, FRAME).tumour.area == AREA


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("asap.xml", '<Coordinate Order="1"', '<coordinate Order="1"', "'coordinate' among corners"),
        ("asap.xml", '<Coordinate Order="1" X="300" Y="100"/>', "", "numbered 0 to 3, and there are 3"),
        ("asap.xml", '<Coordinate Order="1"', '<Coordinate Order="7"', "numbered 0 to 7, and there are 4"),
        ("imagescope.xml", '<Vertex X="300" Y="100"', '<vertex X="300" Y="100"', "'vertex' among corners"),
        ("view.ndpa", "<point><x>-175000</x><y>-225000</y></point>", "<pt><x>-175000</x><y>-225000</y></pt>", "'pt' among corners"),
    ],
)  # fmt: skip
def test_a_corner_that_is_lost_is_told(tmp_path, name, old, new, told):
    assert old in TEXTS[name]
    (tmp_path / name).write_text(TEXTS[name].replace(old, new, 1))
    with pytest.raises(InputError, match=told):
        read_areas(tmp_path / name, None, FRAME)


def test_corners_without_numbers_and_from_one_on_are_read(tmp_path):
    for number, change in enumerate((lambda n: "", lambda n: f'Order="{n + 1}"', lambda n: 'Order="0"')):
        text = TEXTS["asap.xml"]
        for n in reversed(range(4)):
            text = text.replace(f'Order="{n}"', change(n))
        (tmp_path / f"{number}.xml").write_text(text)
        assert read_areas(tmp_path / f"{number}.xml", None, FRAME).tumour.area == AREA


def test_a_hole_without_a_lesion_around_it_is_refused(tmp_path):
    negative = json.loads(TEXTS["camelyon.json"])["negative"]
    for content in ({"positive": [], "negative": negative}, {"positive": None, "negative": negative}):
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="no lesion"):
            read_areas(tmp_path / "a.json", None, FRAME)
    (tmp_path / "a.json").write_text('{"positive": [], "negative": []}')
    assert read_areas(tmp_path / "a.json", None, FRAME).tumour.area == 0
