"""Without a window some dead pixels or a marker do not squeeze the picture, and what is in order hardly changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.radiographs.dicom_pixels import FROM_PERCENTILES, to_eight_bit
from esad.preprocessing.radiographs.grey_range import grey_range
from esad.preprocessing.radiographs.reading import read_radiograph
from tests.preprocessing.radiographs.dicom_files import content_of, make_dicom


def read(stored, **elements):
    return read_radiograph(content_of(make_dicom(np.asarray(stored), **elements)), "a").picture()


def ramp(side=128, low=0, high=450):
    return np.tile(np.linspace(low, high, side).round().astype(np.uint16), (side, 1))


def by_ends(stored):
    return to_eight_bit(stored.astype(float), stored.min(), stored.max())


MARKS = {
    "dead pixels": lambda x, value: x.__setitem__((slice(60, 63), slice(70, 73)), value),
    "one pixel": lambda x, value: x.__setitem__((64, 64), value),
    "a dead line": lambda x, value: x.__setitem__((50, slice(None)), value),
    "a marker": lambda x, value: x.__setitem__((slice(20, 34), slice(90, 110)), value),
    "specks everywhere": lambda x, value: x.__setitem__(
        (slice(None, None, 16), slice(None, None, 16)), value
    ),
    "a border": lambda x, value: (
        x.__setitem__(slice(0, 12), value),
        x.__setitem__((slice(None), slice(0, 12)), value),
    ),
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(MARKS)), low=st.integers(800, 1500), width=st.integers(100, 900), dark=st.booleans(),
    sense=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
)  # fmt: skip
def test_what_lies_far_out_does_not_squeeze_the_picture(kind, low, width, dark, sense):
    plain = ramp(low=low, high=low + width)
    marked = plain.copy()
    value = 0 if dark else 4095
    MARKS[kind](marked, value)
    picture = read(marked, PhotometricInterpretation=sense)
    assert picture.notes == (FROM_PERCENTILES,)
    rest = marked != value
    expected = by_ends(plain) if sense == "MONOCHROME2" else 255 - by_ends(plain)
    assert (
        np.abs(picture.pixels[rest].astype(int) - expected[rest]).max() <= 30
    )  # a border takes the ramp's own end
    assert set(picture.pixels[~rest]) == {0 if dark == (sense == "MONOCHROME2") else 255}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), side=st.sampled_from([16, 40, 128]), kind=st.integers(0, 4))
def test_a_picture_whose_range_is_in_order_keeps_its_ends(seed, side, kind):
    rng = np.random.default_rng(seed)
    across = np.linspace(0, 1, side)
    shades = [
        np.tile(across, (side, 1)),
        np.tile(across, (side, 1)).T[::-1],
        np.add.outer(across, across) / 2,
        np.where(np.hypot.outer(across - 0.5, across - 0.5) < 0.3, 0.8, 0.2) + 0.2 * rng.random((side, side)),
        rng.random((side, side)),
    ]
    stored = (shades[kind] * rng.integers(200, 4095)).clip(0, 4095).astype(np.uint16)
    picture = read(stored)
    assert picture.notes == ()
    assert np.array_equal(picture.pixels, by_ends(stored))


def test_a_small_structure_beside_the_bulk_keeps_its_contrast():
    """A nodule or a wire that is somewhat denser than all else is not cut."""
    stored = ramp(high=2000)
    down, across = np.ogrid[:128, :128]
    inside = np.hypot(down - 64, across - 90) < 4
    stored[inside] = 2200 + 20 * (np.hypot(down - 64, across - 90)[inside]).astype(np.uint16)
    assert np.array_equal(read(stored).pixels, by_ends(stored))


def test_a_tail_without_gaps_is_kept_while_the_rest_has_room():
    """A bone scan's bladder; not so a marker with soft edges that would take nearly all of the greys."""
    down, across = np.ogrid[:256, :256]
    share = (1 - np.hypot(down - 128, across - 180) / 12).clip(0, 1)
    for peak, kept in ((900, True), (4000, False)):
        stored = np.maximum(ramp(256, high=450), (share * peak).astype(np.uint16))
        picture = read(stored)
        assert (picture.notes == ()) is kept
        assert np.array_equal(picture.pixels, by_ends(stored)) is kept
        assert kept or picture.pixels[0, -1] > 2 * by_ends(stored)[0, -1]


@pytest.mark.parametrize("side", [1, 2, 5, 16])
def test_tiny_and_constant_pictures_are_read(side):
    assert not read(np.full((side, side), 700, np.uint16)).pixels.any()
    stored = np.arange(side * side, dtype=np.uint16).reshape(side, side)
    assert np.array_equal(read(stored).pixels, by_ends(stored))


def test_a_flat_picture_with_one_structure_shows_it():
    stored = np.full((64, 64), 700, np.uint16)
    stored[30:34, 30:34] = 900
    picture = read(stored)
    assert np.array_equal(picture.pixels, by_ends(stored))
    assert picture.notes == ()


def test_eight_bits_and_windows_are_not_touched():
    stored = ramp()
    stored[60:63, 70:73] = 4095
    windowed = read(stored, WindowCenter=2048, WindowWidth=4096)
    assert windowed.notes == ()
    assert windowed.pixels[0].max() < 30
    eight = ramp(high=100).astype(np.uint8)
    eight[60:63, 70:73] = 255
    image = make_dicom(eight, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=eight.tobytes())
    assert np.array_equal(read_radiograph(content_of(image), "a").pixels(), eight)


def test_floating_pixels_have_the_same_range():
    stored = ramp()
    stored[60:63, 70:73] = 4011
    image = make_dicom(stored, BitsAllocated=32, FloatPixelData=stored.astype("<f4").tobytes())
    del image.PixelData, image.BitsStored, image.HighBit, image.PixelRepresentation
    picture = read_radiograph(content_of(image), "a").picture()
    assert np.array_equal(picture.pixels, read(stored).pixels)
    assert picture.notes == (FROM_PERCENTILES,)


def test_padding_counts_in_no_range():
    stored = ramp(low=1000, high=1500)
    padded = stored.copy()
    padded[:, :50] = 4000
    picture = read(padded, PixelPaddingValue=4000)
    assert picture.notes == ()
    assert (picture.pixels[0, 50], picture.pixels[0, -1], picture.pixels[0, 0]) == (0, 255, 0)


def test_without_any_value_the_range_is_empty():
    assert grey_range(np.arange(3.0), np.zeros(3, bool), np.zeros(3, int)) == (0.0, 0.0, False)


@pytest.mark.parametrize("shape", [(400, 40), (40, 400)])
def test_in_a_long_picture_the_whole_length_counts(shape):
    """Its central square would show a tenth of the values."""
    stored = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.uint16) * 5
    picture = read(stored)
    assert picture.notes == ()
    assert np.array_equal(picture.pixels, by_ends(stored))
