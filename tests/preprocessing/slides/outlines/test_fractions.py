"""Shares of tiles that add up to the outline's area, exact and fast."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.slides.outlines.fractions import outline_fractions
from esad.preprocessing.slides.outlines.reading import read_outlines


def grid(width, height, side):
    xs, ys = np.meshgrid(np.arange(0, width, side), np.arange(0, height, side))
    return np.column_stack([xs.ravel(), ys.ravel(), np.full((xs.size, 2), side)]).astype(float)


def star(count, seed=0, radius=900.0):
    """A jagged ring that does not cross itself."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    reach = radius * (0.7 + 0.3 * np.random.default_rng(seed).random(count))
    return 1000 + np.column_stack([np.cos(turns), np.sin(turns)]) * reach[:, None]


@given(count=st.integers(3, 900), seed=st.integers(0, 99), side=st.sampled_from([50, 125, 400]))
@settings(deadline=None, max_examples=25)
def test_fractions_over_a_grid_add_up_to_the_area_and_equal_plain_intersection(count, seed, side):
    area = shapely.make_valid(shapely.Polygon(star(count, seed)))
    boxes = grid(2000, 2000, side)
    fractions = outline_fractions(area, boxes)
    assert fractions.sum() * side**2 == pytest.approx(area.area, rel=1e-9)
    squares = shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 0] + side, boxes[:, 1] + side)
    assert fractions == pytest.approx(shapely.area(shapely.intersection(area, squares)) / side**2, abs=1e-9)


def test_an_outline_of_a_hundred_thousand_vertices_on_ten_thousand_tiles_is_fast(tmp_path):
    turns = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    reach = 15_000 * (1 + 0.1 * np.sin(7 * turns) + 0.02 * np.sin(900 * turns))
    points = 20_000 + np.column_stack([np.cos(turns), np.sin(turns)]) * reach[:, None]
    (tmp_path / "a.geojson").write_text(shapely.to_geojson(shapely.Polygon(points)))
    started = time.process_time()
    area = read_outlines(tmp_path / "a.geojson")
    fractions = outline_fractions(area, grid(40_000, 40_000, 400))
    assert time.process_time() - started < 10  # 0.7 s when this was written
    assert shapely.get_num_coordinates(area) > 100_000
    assert fractions.sum() * 400**2 == pytest.approx(area.area, rel=1e-9)
    assert ((fractions > 0) & (fractions < 1)).sum() > 300


@pytest.mark.data
def test_real_outlines_of_camelyon16_add_up(data):
    for path in sorted((data / "camelyon16" / "polygons").glob("*.json")):
        area = read_outlines(path)
        left, top, right, bottom = area.bounds
        boxes = np.add(grid(right - left, bottom - top, 1024.0), [left, top, 0, 0])
        fractions = outline_fractions(area, boxes)
        assert area.is_valid
        assert fractions.sum() * 1024**2 == pytest.approx(area.area, rel=1e-9)
