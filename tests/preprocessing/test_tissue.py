"""Tissue against areas worked by hand, and shares in boxes against plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.tissue import box_fractions, tissue_mask


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


def glass(height=300, width=400, seed=0):
    noise = np.random.default_rng(seed).normal(243, 1.5, (height, width, 3))
    return noise.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [(200, 120, 180), (235, 215, 230), (120, 80, 160)])
def test_pale_and_dark_tissue_are_both_found_among_noise(colour):
    picture = glass()
    picture[100:200, 150:300] = colour
    mask = tissue_mask(picture)
    assert mask[102:198, 152:298].mean() > 0.99
    mask[100:200, 150:300] = False
    assert mask.mean() < 0.01


def test_a_biopsy_of_a_three_hundredth_of_the_slide_is_found():
    picture = glass()
    picture[50:70, 100:120] = (190, 110, 170)
    mask = tissue_mask(picture)
    assert mask[52:68, 102:118].all()
    assert mask.sum() <= 24 * 24


@pytest.mark.parametrize("value", [0, 20, 243, 255])
def test_a_slide_of_one_shade_of_black_or_glass_has_no_tissue(value):
    assert not tissue_mask(np.full((50, 70, 3), value, np.uint8)).any()
    assert not tissue_mask(glass()).any()


def test_tissue_that_fills_the_slide_is_all_kept():
    assert tissue_mask(np.full((40, 40, 3), (200, 120, 180), np.uint8)).all()


@given(
    seed=st.integers(0, 1000), x=st.integers(0, 60), y=st.integers(0, 40), width=st.integers(1, 20),
    height=st.integers(1, 20), scale=st.sampled_from([1, 4, 32]),
)  # fmt: skip
def test_shares_are_plain_means_of_the_mask(seed, x, y, width, height, scale):
    mask = np.random.default_rng(seed).random((60, 80)) < 0.4
    box = np.array([[x, y, width, height]]) * scale
    share = box_fractions(mask, box, float(scale))[0]
    assert share == pytest.approx(mask[y : y + height, x : x + width].mean())
