"""What rings enclose that cross themselves: everything that they go around, however often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.preprocessing.slides.outlines.geometry import polygon

SQUARE = np.array([(0, 0), (10, 0), (10, 10), (0, 10)], dtype=float)


def star(count, seed):
    """A jagged ring that does not cross itself."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    reach = 100 * (0.5 + 0.5 * np.random.default_rng(seed).random(count))
    return 200 + np.column_stack([np.cos(turns), np.sin(turns)]) * reach[:, None]


@given(st.integers(3, 60), st.integers(0, 999), st.integers(0, 59), st.sampled_from([1, 2, 3]), st.booleans())
def test_a_ring_traced_again_wholly_or_in_part_encloses_the_same(count, seed, more, times, closed):
    ring = star(count, seed)
    again = np.concatenate([ring] * times + [ring[: more % count]] + ([ring[:1]] if closed else []))
    whole = polygon([ring])
    # from the last corner traced again the ring closes by a chord, which may enclose more and never less
    assert polygon([again]).intersection(whole).area == pytest.approx(whole.area)
    assert polygon([np.concatenate([ring] * times)]).area == pytest.approx(whole.area)
    assert polygon([np.concatenate([ring, ring[:1], ring[::-1]])]).area == pytest.approx(whole.area)


@given(st.integers(3, 60), st.integers(0, 999), st.floats(0.5, 3))
def test_a_ring_traced_twice_with_a_shaking_hand_encloses_what_either_round_does(count, seed, shake):
    ring = star(count, seed)
    other = ring + np.random.default_rng(seed + 1).normal(0, shake, ring.shape)
    both = polygon([np.concatenate([ring, ring[:1], other, other[:1]])])
    assert both.intersection(polygon([ring])).area == pytest.approx(polygon([ring]).area, rel=0.02)


def test_the_overlap_of_a_spiral_is_inside_and_a_keyhole_stays_a_hole():
    spiral = [(0, 0), (384, 0), (384, 384), (128, 384), (128, 128), (512, 128), (512, 512), (0, 512)]
    assert polygon([spiral]).area == 245_760
    hole = np.array([(3, 3), (3, 7), (7, 7), (7, 3)], dtype=float)
    assert polygon([np.concatenate([SQUARE, SQUARE[:1], hole, hole[:1]])]).area == 84
    assert polygon([[(0, 0), (10, 10), (10, 0), (0, 10)]]).area == 50


def test_holes_that_overlap_or_leave_their_ring_are_cut_out_and_add_nothing():
    holes = [SQUARE * 0.4 + 2, SQUARE * 0.4 + 4, SQUARE + 8]
    assert polygon([SQUARE, *holes]).area == pytest.approx(100 - (16 + 16 - 4) - 4)
    assert polygon([SQUARE, np.concatenate([SQUARE, SQUARE]) * 0.4 + 2]).area == pytest.approx(84)
    assert polygon([SQUARE, SQUARE - 1]).area == pytest.approx(100 - 81)
