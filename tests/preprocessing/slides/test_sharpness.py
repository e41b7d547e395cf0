"""Sharpness against its definition, closed-form values, and real tiles put out of focus."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from esad.preprocessing.slides.sharpness import BLURRED, focus_note, sharpness


def plainly(tiles):
    """The definition, in floats: every second row, neighbours over pixels four apart."""
    rows = tiles[:, ::2].astype(float)
    near = rows[:, :, 1:-3] - rows[:, :, :-4]
    far = rows[:, :, 4:] - rows[:, :, :-4]
    return (near**2).sum((1, 2, 3)) / (far**2).sum((1, 2, 3))


@settings(deadline=None)
@given(
    seed=st.integers(0, 999), height=st.integers(1, 70), width=st.integers(5, 300), count=st.integers(1, 4)
)
def test_it_is_what_its_definition_says(seed, height, width, count):
    tiles = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    assert sharpness(tiles) == pytest.approx(plainly(tiles), rel=1e-6)


def test_a_ramp_noise_and_one_colour():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None], (1, 64, 64, 3))
    assert sharpness(ramp) == pytest.approx([1 / 16])
    noise = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    assert sharpness(noise) == pytest.approx([1], abs=0.01)
    assert sharpness(np.full((2, 64, 64, 3), 200, np.uint8)).tolist() == [1, 1]
    assert sharpness(np.empty((0, 64, 64, 3), np.uint8)).shape == (0,)


@settings(deadline=None)
@given(contrast=st.floats(0.3, 1.0), brightness=st.integers(0, 100))
def test_neither_contrast_nor_brightness_matters(contrast, brightness):
    tile = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (1, 64, 64, 3)), (0, 1, 1, 0))
    tile = (tile - tile.min()) / np.ptp(tile)
    first = sharpness((tile * 255).astype(np.uint8))
    other = sharpness((tile * 155 * contrast + brightness).astype(np.uint8))
    assert other == pytest.approx(first, rel=0.1)


def test_a_slide_is_said_to_be_blurred_where_most_of_its_tiles_are():
    values = np.array([0.1] * 6 + [0.3] * 4, np.float32)
    assert focus_note(values, 1.0) == "60% of 10 tiles are blurred (sharpness under 0.13)"
    assert focus_note(values[2:], 1.0) is None  # half of them
    assert focus_note(values, 0.25) is None  # at 40x sharp tiles are as smooth
    assert focus_note(values[:0], 1.0) is None


def test_a_tile_takes_microseconds():
    tiles = np.random.default_rng(0).integers(0, 256, (500, 64, 64, 3), dtype=np.uint8)
    sharpness(tiles)
    times = []
    for _ in range(40):
        started = time.process_time()
        sharpness(tiles)
        times.append(time.process_time() - started)
    assert min(times) / len(tiles) < 20e-6  # 1 us when this was written


@pytest.mark.data
def test_real_patches_in_and_out_of_focus_lie_on_either_side(data):
    with np.load(data / "pcam" / "pcam_64.npz") as file:
        pictures = file["x"][::9]
    density = np.log(240 / pictures.clip(1, 240).astype(float)).mean((1, 2)).max(1)
    stained = pictures[density > 0.25]
    assert len(stained) > 300
    assert (sharpness(stained) < BLURRED).mean() < 0.01
    blurred = ndimage.gaussian_filter(stained, (0, 2, 2, 0))
    assert (sharpness(blurred) < BLURRED).mean() > 0.99
