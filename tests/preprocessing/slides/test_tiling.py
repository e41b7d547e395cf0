"""Geometry as properties over odd sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.slides.tiling import plan_reading, tile_grid


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


@given(
    width=st.integers(1, 3000), height=st.integers(1, 3000), tile=st.integers(16, 96), step=st.integers(1, 200),
    factor=st.integers(1, 6),
)  # fmt: skip
@settings(deadline=None, max_examples=50)
def test_the_count_is_closed_form_and_corners_fall_on_pixels_of_the_level(width, height, tile, step, factor):
    width, height = width + tile * factor, height + tile * factor  # at least one tile
    step = max(step, tile // 2)
    corners = tile_grid(width, height, float(factor), tile, step)
    across, down = ((size - tile * factor) // (step * factor) + 1 for size in (width, height))
    assert len(corners) == across * down
    assert (corners % (step * factor) == 0).all()
    assert (corners.max(0) + tile * factor <= [width, height]).all()
    assert len(np.unique(corners, axis=0)) == len(corners)


@given(
    slide=st.floats(0.1, 0.9), wanted=st.floats(0.2, 8), exact=st.booleans(), levels=st.integers(1, 6),
)  # fmt: skip
def test_the_plan_reaches_what_is_wanted_and_never_enlarges(slide, wanted, exact, levels):
    downsamples = tuple(2.0**level for level in range(levels))
    tolerance = 0.005 if exact else 0.15
    if slide > wanted * (1 + tolerance + 1e-9):
        with pytest.raises(ValueError, match="coarser"):
            plan_reading(slide, downsamples, wanted, exact)
        return
    if slide > wanted * (1 + tolerance - 1e-9):
        return  # on the edge itself rounding decides
    plan = plan_reading(slide, downsamples, wanted, exact)
    assert plan.reduction >= 1
    assert plan.mpp == pytest.approx(slide * plan.downsample)
    assert abs(plan.mpp / wanted - 1) <= tolerance + 1e-9
