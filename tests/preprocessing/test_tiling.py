"""Geometry as properties over odd sizes; tissue and outlines against areas worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.annotations import find_outlines, outline_fractions, read_outlines
from preprocessing.errors import InputError
from preprocessing.tiling import plan_reading, tile_grid
from preprocessing.tissue import box_fractions, tissue_mask


@given(
    width=st.integers(1, 5000), height=st.integers(1, 5000), tile=st.integers(16, 256),
    downsample=st.sampled_from([1.0, 2.0, 4.0, 4.0001, 7.3]),
)  # fmt: skip
def test_whole_tiles_fill_the_slide_without_leaving_it_or_overlapping(width, height, tile, downsample):
    corners = tile_grid(width, height, downsample, tile, tile)
    span = tile * downsample
    assert len(corners) == int(width / span + 1e-9) * int(height / span + 1e-9)
    if len(corners):
        assert (corners >= 0).all()
        assert (corners[:, 0] + span <= width + 1e-3).all()
        assert (corners[:, 1] + span <= height + 1e-3).all()
        columns = np.unique(corners[:, 0])
        assert (np.diff(columns) >= np.floor(span)).all()


@pytest.mark.parametrize(
    ("slide", "wanted", "exact", "level", "reduction", "mpp"),
    [
        (0.243, 1.0, False, 2, 1, 0.972),  # Camelyon16, Radboud: the slide's own level
        (0.226, 1.0, False, 2, 1, 0.904),  # Camelyon16, Utrecht
        (0.25, 1.0, True, 2, 1, 1.0),
        (0.243, 1.0, True, 2, 1.0 / 0.972, 1.0),
        (0.26, 0.35, False, 0, 0.35 / 0.26, 0.35),  # neither level nor whole factor: the exact size
    ],
)
def test_level_and_reduction(slide, wanted, exact, level, reduction, mpp):
    plan = plan_reading(slide, (1.0, 2.0, 4.0, 8.0), wanted, exact)
    assert plan.level == level
    assert plan.reduction == pytest.approx(reduction)
    assert plan.mpp == pytest.approx(mpp)


def test_a_slide_with_one_level_is_reduced_by_a_whole_factor():
    plan = plan_reading(0.499, (1.0,), 1.0, False)
    assert (plan.level, plan.reduction, plan.mpp) == (0, 2.0, pytest.approx(0.998))


def test_nothing_is_enlarged():
    with pytest.raises(ValueError, match="coarser"):
        plan_reading(2.0, (1.0, 4.0), 1.0, False)


def test_tissue_on_glass_blank_and_black():
    picture = np.full((60, 80, 3), 243, np.uint8)
    assert not tissue_mask(picture).any()
    picture[20:40, 30:60] = (200, 120, 180)
    picture[:, :6] = 0
    mask = tissue_mask(picture)
    assert mask[22:38, 32:58].all()
    assert mask.sum() == pytest.approx(20 * 30, rel=0.1)


def test_share_of_tissue_in_boxes():
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    boxes = np.array([[0, 0, 40, 40], [30, 0, 40, 40], [60, 60, 40, 40]])
    assert box_fractions(mask, boxes, 10.0) == pytest.approx([1, 0.5, 0])


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
