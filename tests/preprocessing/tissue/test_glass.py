"""The glass's colour and shade against those that a thumbnail was drawn with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.tissue.glass import find_glass
from tests.preprocessing.tissue.drawn_thumbnails import photograph, piece, stained

SIZE = (150, 200)


def colour_at(glass, x, y):
    """Grey levels of the glass in the three channels at x, y from -1 to 1."""
    return np.exp(glass.coefficients @ np.array([1, x, y, x * x, x * y, y * y]))


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 99), grey=st.integers(150, 250), red=st.floats(0.9, 1), blue=st.floats(0.85, 1),
    shade=st.floats(0, 0.2),
)  # fmt: skip
def test_its_colour_is_found_in_the_middle_and_in_the_corners(seed, grey, red, blue, shade):
    wanted = np.array([grey * red, grey, grey * blue])
    glass = find_glass(photograph(stained(piece(seed, SIZE, 0.3)), wanted, shade))
    assert glass.seen
    assert colour_at(glass, 0, 0) == pytest.approx(wanted, rel=0.025)
    assert colour_at(glass, -0.9, 0.9) == pytest.approx(wanted * (1 - 0.81 * shade), rel=0.025)


def test_tissue_all_over_shows_none():
    glass = find_glass(photograph(stained(np.ones(SIZE, bool))))
    assert not glass.seen
    assert np.ptp(colour_at(glass, 0.5, 0.5)) == 0


def test_the_noise_of_glass_is_told_as_optical_density():
    glass = find_glass(photograph(np.zeros((*SIZE, 3)), (200, 200, 200), noise=2))
    assert glass.noise == pytest.approx(2 / 200, rel=0.1)
