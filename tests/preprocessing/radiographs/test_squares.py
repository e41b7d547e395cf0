"""The small square: central, inside, exact means; the lists' own resizing; regions follow the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.squares import (
    Squaring,
    central_square,
    covered_square,
    region_in_square,
    small_square,
)

BOTH = [Squaring(), Squaring("resize300")]
NOISE = np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8)


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.01, 1))
def test_the_square_is_central_and_inside(height, width, crop):
    left, top, side = central_square((height, width), crop)
    assert 0 <= side <= min(height, width)
    assert abs(side - crop * min(height, width)) <= 1
    assert abs(2 * left + side - width) <= 1
    assert abs(2 * top + side - height) <= 1


def test_the_papers_crop_is_768_of_1024():
    assert central_square((1024, 1024), 768 / 1024) == (128, 128, 768)
    assert central_square((2048, 1024), 768 / 1024) == (128, 640, 768)


@pytest.mark.parametrize("side", [1024, 512])
def test_shrinking_by_a_whole_factor_is_the_mean_rounded_once(side):
    pixels = NOISE[:side, :side]
    edge, factor = side // 8, side * 3 // 4 // 64
    means = pixels[edge : side - edge, edge : side - edge].reshape(64, factor, 64, factor).mean((1, 3))
    assert np.abs(small_square(pixels, Squaring(), "a") - means).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("equalise", [False, True])
def test_resize300_is_the_lists_own_code_on_square_pictures(equalise):
    """Step by step: L, 300 x 300 bilinear, CenterCrop(224), equalize, Resize(64) bilinear.

    docs/explanation/protocols.md#nih-resizing.
    """
    whole = Image.fromarray(NOISE).convert("L").resize((300, 300), Image.Resampling.BILINEAR)
    inner = whole.crop((38, 38, 262, 262))
    inner = ImageOps.equalize(inner) if equalise else inner
    expected = np.asarray(inner.resize((64, 64), Image.Resampling.BILINEAR))
    assert np.array_equal(small_square(NOISE, Squaring("resize300", equalise=equalise), "a"), expected)


@pytest.mark.parametrize("how", BOTH, ids=lambda how: how.resizing)
def test_what_lies_beside_the_central_square_of_a_long_picture_does_not_count(how):
    long = np.random.default_rng(1).integers(0, 256, (1500, 1024), dtype=np.uint8)
    other = long.copy()
    other[:200], other[-200:] = 255, 255
    assert np.array_equal(small_square(long, how, "a"), small_square(other, how, "a"))
    assert np.array_equal(small_square(long, how, "a"), small_square(long[238:1262], how, "a"))


def test_equalising_makes_the_shares_of_grey_even_whatever_the_exposure():
    even = Squaring(equalise=True)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, axis=1)
    dark = (ramp // 4).astype(np.uint8)
    # all but rounding: a quarter as many levels, each four times as wide
    difference = small_square(dark, even, "a").astype(int) - small_square(ramp, even, "a")
    assert np.abs(difference).max() <= 4
    assert small_square(dark, even, "a").std() > 3 * small_square(dark, Squaring(), "a").std()


@pytest.mark.parametrize(
    ("how", "least"), [(Squaring(crop=1.0), 64), (Squaring(), 86), (Squaring("resize300"), 86)]
)
def test_a_square_of_exactly_the_size_is_taken_and_one_below_refused(how, least):
    assert small_square(np.zeros((least, least), np.uint8), how, "a").shape == (64, 64)
    with pytest.raises(
        InputError, match=rf"a\.png: 90 x {least - 1} pixels; the central square of 63 is smaller"
    ):
        small_square(np.zeros((least - 1, 90), np.uint8), how, "a.png")


@given(
    st.tuples(st.integers(-50, 1100), st.integers(-50, 1100), st.integers(1, 500), st.integers(1, 500)),
    st.sampled_from([(1024, 1024), (900, 1100)]),
    st.sampled_from(BOTH),
)
def test_a_region_covers_what_the_drawn_box_covers(box, shape, how):
    x, y, width, height = box
    pixels = np.zeros(shape, np.uint8)
    pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 255
    drawn = small_square(pixels, how, "a") > 127
    region = region_in_square(box, shape, how)
    if region is None:
        assert not drawn.any()
        return
    left, top, across, down = region
    assert left >= 0
    assert top >= 0
    assert max(left + across, top + down) <= 64 + 1e-9
    assert abs(drawn.sum() - across * down) <= across + down + 2


def test_both_resizings_show_nearly_the_same_part():
    ours, lists = (covered_square((1024, 1024), how) for how in BOTH)
    assert ours == (128, 128, 768)
    assert np.allclose(lists, (129.7067, 129.7067, 764.5867), atol=1e-3)
