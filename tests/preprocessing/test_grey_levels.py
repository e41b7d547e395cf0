"""Landmarks by hand, maps that never fall, and another gamma undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.preprocessing.grey_levels import PERCENTILES, histogram, landmarks, level_map

LEVELS = st.lists(st.integers(0, 255), min_size=1, max_size=60)


def found(pixels):
    return landmarks(histogram(np.array(pixels, dtype=np.uint8)))


def test_landmarks_by_hand():
    assert found(range(100)) == pytest.approx([percentile - 0.5 for percentile in PERCENTILES])
    assert found([7] * 10) == pytest.approx([6.5 + percentile / 100 for percentile in PERCENTILES])


def test_the_own_landmarks_change_nothing():
    own = found(np.random.default_rng(0).integers(3, 200, 5000))
    assert level_map(own, own).tolist() == list(range(256))


@given(LEVELS, LEVELS)
def test_a_map_never_falls_and_keeps_black_and_white(own, reference):
    table = level_map(found(own), found(reference))
    assert (np.diff(table.astype(int)) >= 0).all()
    assert (table[0], table[255]) == (0, 255)


def test_another_gamma_is_undone():
    numbers = np.random.default_rng(0)
    pixels = (255 * numbers.beta(3, 2, 20000)).astype(np.uint8)
    darker = np.rint(255 * (pixels / 255.0) ** 1.6).astype(np.uint8)
    back = level_map(found(darker), found(pixels))[darker]
    assert np.abs(darker.astype(int) - pixels).mean() > 25
    assert np.abs(back.astype(int) - pixels).mean() < 1.5
