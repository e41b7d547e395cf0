"""Masks from outlines: as shapely's own test of each pixel's middle, and each pixel once."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.slides.outlines.reading import read_outlines
from esad.preprocessing.slides.rasterise import outline_mask


def middles_inside(area, pixel, corner, size):
    row, column = np.mgrid[: size[0], : size[1]]
    return shapely.contains_xy(area, (column + corner[0] + 0.5) * pixel, (row + corner[1] + 0.5) * pixel)


@given(seed=st.integers(0, 2**31), corner=st.tuples(st.integers(-3, 12), st.integers(-3, 12)))
@settings(deadline=None, max_examples=60)
def test_a_pixel_is_in_where_its_middle_is(seed, corner):
    """Random outlines with holes, several pieces and edges beyond the mask on every side."""
    numbers = np.random.default_rng(seed)
    rings = [shapely.make_valid(shapely.Polygon(numbers.uniform(-100, 900, (7, 2)))) for _ in range(3)]
    area = shapely.difference(shapely.union(rings[0], rings[1]), rings[2])
    mask = outline_mask(area, 32, corner, (20, 17))
    assert mask.dtype == bool
    assert np.array_equal(mask, middles_inside(area, 32, corner, (20, 17)))


@given(cut=st.integers(0, 8), size=st.sampled_from([(8, 8), (1, 5)]))
def test_a_border_through_middles_gives_each_pixel_to_one_side(cut, size):
    both = [
        outline_mask(shapely.box(*box), 2, (0, 0), size).astype(int)
        for box in ((0, 0, 2 * cut + 1, 99), (2 * cut + 1, 0, 99, 99))
    ]
    assert (sum(both) == 1).all()


def test_of_nothing_nothing():
    assert not outline_mask(shapely.Polygon(), 32, (0, 0), (4, 5)).any()
    assert outline_mask(shapely.box(0, 0, 99, 99), 32, (0, 0), (0, 0)).shape == (0, 0)


@pytest.mark.data
def test_a_real_outline(data):
    area = read_outlines(data / "camelyon16" / "polygons" / "Tumor_001.json")
    left, top, right, bottom = (np.array(area.bounds) // 32).astype(int)
    size = (bottom - top + 1, right - left + 1)
    mask = outline_mask(area, 32, (left, top), size)
    different = mask != middles_inside(area, 32, (left, top), size)
    assert mask.sum() == pytest.approx(area.area / 32**2, rel=0.01)
    row, column = np.nonzero(different)  # only where an outline runs through the middle itself
    on = shapely.points((column + left + 0.5) * 32, (row + top + 0.5) * 32)
    assert (shapely.distance(area.boundary, on) < 1e-6).all()
