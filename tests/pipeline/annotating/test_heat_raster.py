"""Scores as a picture over a slide: no remainder at any level, the nearest tile wins, a lone high tile stays to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.pipeline.annotating.heat_raster import (
    MOST_PIXELS,
    SMALLEST_LEVEL,
    halved,
    heat_grid,
    tile_of_pixel,
    values_of,
)
from esad.preprocessing.slides.tiling import tile_grid


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(1, 300_000), height=st.integers(1, 300_000), side=st.floats(1, 5000), left=st.integers(0, 9999),
)  # fmt: skip
def test_every_level_covers_the_box_without_a_remainder(width, height, side, left):
    grid = heat_grid((left, 7, width, height), side)
    assert grid.columns % 2 ** (grid.levels - 1) == grid.rows % 2 ** (grid.levels - 1) == 0
    assert grid.pixel[0] * grid.columns == pytest.approx(width)
    assert grid.pixel[1] * grid.rows == pytest.approx(height)
    assert max(grid.pixel) <= max(1, side) * (1 + 1e-9)  # no tile is lost between two middles
    assert grid.columns * grid.rows <= 2.3 * max(MOST_PIXELS, width * height / side**2) + 1
    if min(width, height) > 3000:
        assert max(grid.columns, grid.rows) >> (grid.levels - 1) <= 2 * SMALLEST_LEVEL


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(200, 3000), height=st.integers(200, 3000), downsample=st.floats(1, 6), step=st.sampled_from([32, 24, 16, 11]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_the_middle_of_each_tile_shows_that_tile_whatever_the_step(width, height, downsample, step, seed):
    corners = tile_grid(width, height, downsample, 32, step)
    side = round(32 * downsample)
    boxes = np.column_stack([corners, np.full((len(corners), 2), side)]).astype(float)
    scores = np.random.default_rng(seed).permutation(len(boxes)).astype(float)
    grid = heat_grid((0, 0, width, height), step * downsample)
    shown = tile_of_pixel(grid, boxes, scores)
    across, down = grid.pixel
    column = ((boxes[:, 0] + side / 2) / across).astype(int)
    row = ((boxes[:, 1] + side / 2) / down).astype(int)
    assert np.array_equal(shown[row, column], np.arange(len(boxes)))
    x, y = (np.arange(grid.columns) + 0.5) * across, (np.arange(grid.rows) + 0.5) * down
    covered = np.zeros(shown.shape, dtype=bool)
    for left, top, wide, high in boxes:
        covered |= ((x >= left) & (x < left + wide))[None] & ((y >= top) & (y < top + high))[:, None]
    assert np.array_equal(shown >= 0, covered)


def test_of_two_tiles_at_one_place_the_higher_score_is_shown_in_either_order():
    grid = heat_grid((0, 0, 64, 64), 32)
    boxes = np.array([[0, 0, 32, 32], [0, 0, 32, 32], [32, 32, 32, 32]], dtype=float)
    for scores in ([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]):
        picture = values_of(tile_of_pixel(grid, boxes, np.array(scores)), scores)
        assert picture[0, 0] == 2
        assert picture[-1, -1] == 3
        assert np.isnan(picture[-1, 0])


def test_no_tiles_give_an_empty_picture():
    shown = tile_of_pixel(heat_grid((0, 0, 64, 64), 32), np.zeros((0, 4)), np.zeros(0))
    assert (shown == -1).all()


def test_halving_keeps_the_highest_and_is_empty_only_where_all_four_are():
    nan = np.nan
    picture = np.array(
        [[1, nan, nan, nan], [nan, 7, nan, nan], [-3, -2, 0, 0], [-1, -5, 0, 0]], dtype=np.float32
    )
    assert np.array_equal(halved(picture), [[7, nan], [-1, 0]], equal_nan=True)
