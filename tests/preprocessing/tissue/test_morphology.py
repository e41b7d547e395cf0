"""Growing, shrinking and parts against scipy's own, and by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from esad.preprocessing.tissue.morphology import grown, holes, parts_with, shrunk


@settings(deadline=None)
@given(seed=st.integers(0, 999), height=st.integers(1, 12), width=st.integers(1, 12), share=st.floats(0, 1))
def test_growing_and_shrinking_are_scipys(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    around = np.ones((3, 3))
    assert np.array_equal(grown(mask), ndimage.binary_dilation(mask, around))
    assert np.array_equal(shrunk(mask), ndimage.binary_erosion(mask, around, border_value=1))


def test_parts_are_kept_by_number_and_share_of_what_is_wanted():
    mask = np.array([[1, 1, 0, 1, 1], [0, 0, 0, 0, 1], [1, 0, 0, 0, 1]], bool)
    wanted = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    assert parts_with(mask, wanted).sum() == 2 + 4  # the part in the corner has none
    assert parts_with(mask, wanted, share=0.5).sum() == 2
    assert not parts_with(mask, wanted, least=2).any()


def test_holes_are_what_is_enclosed_and_small():
    mask = np.ones((9, 9), bool)
    mask[1, 1] = mask[4, 4:6] = mask[0, 4] = mask[8, 8] = False
    assert np.argwhere(holes(mask, 1)).tolist() == [[1, 1]]
    assert np.argwhere(holes(mask, 2)).tolist() == [[1, 1], [4, 4], [4, 5]]
