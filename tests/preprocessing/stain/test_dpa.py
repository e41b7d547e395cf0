"""The variant of the paper's tiles against its formulas, numpy's percentile and spams used directly.

docs/explanation/protocols.md#camelyon16-stain has the steps.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from esad.pipeline.slides.stain_target import dpa_target_matrix
from esad.preprocessing.errors import InputError
from esad.preprocessing.stain import vahadane as stain
from esad.preprocessing.stain.dpa import (
    NO_FLOOR,
    brightness_percentile,
    builtin_matrix,
    fit_matrix,
    repaint,
    standardise_brightness,
    typical_matrix,
    weighted_percentile,
)
from esad.preprocessing.stain.vahadane import fit_objective, tissue_mask
from tests.preprocessing.stain.test_vahadane import MATRIX, PICTURES, angles, mixture, one_stain, picture

TARGET = np.array([[0.55, 0.76, 0.35], [0.10, 0.95, 0.30]])
TARGET /= np.linalg.norm(TARGET, axis=1, keepdims=True)


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(3))))
def test_the_percentile_by_counting_is_numpys_to_the_bit(pixels):
    assert brightness_percentile(pixels) == np.percentile(pixels, 90)


def test_brightness_by_hand():
    pixels = np.array([[[0, 50, 100], [100, 200, 200], [200, 200, 200], [200, 200, 201]]], np.uint8)
    assert np.percentile(pixels, 90) == 200  # position 9.9 of 0 to 11
    expected = [
        [[0, 63, 127], [127, 255, 255], [255, 255, 255], [255, 255, 255]]
    ]  # 63.75 and 127.5 truncated
    assert np.array_equal(standardise_brightness(pixels), expected)
    for black in (np.zeros((4, 4, 3), np.uint8), np.zeros((0, 3), np.uint8)):
        with pytest.raises(InputError, match="the picture is black"):
            standardise_brightness(black)


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_repainting_is_the_formula_without_floor_or_scaling(pixels):
    density = -np.log(np.maximum(pixels, 1) / 255).reshape(-1, 3)
    codes = stain.concentrations(density, MATRIX)
    expected = (255 * np.exp(-(codes @ TARGET))).astype(np.uint8).reshape(pixels.shape)
    assert np.array_equal(repaint(pixels, MATRIX, TARGET), expected)


def test_white_stays_white_and_the_input_stays_as_it_is():
    white = np.full((5, 3), 255, np.uint8)
    white.flags.writeable = False
    assert np.array_equal(repaint(white, MATRIX, TARGET), white)
    assert np.array_equal(standardise_brightness(white), white)


def test_a_known_mixture_is_found_and_repainted_as_its_target_would_be():
    pixels = mixture(3)
    fit = fit_matrix(pixels)
    assert (angles(fit) < 3).all()
    wanted = mixture(3, matrix=TARGET)  # the same amounts of the target's stains
    difference = np.abs(repaint(pixels, MATRIX, TARGET).astype(int) - wanted)
    assert np.percentile(difference, 99) <= 5  # nearly black pixels have lost their amounts to rounding
    assert np.array_equal(fit_matrix(pixels[np.random.default_rng(0).permutation(len(pixels))]), fit)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=20))
def test_the_weighted_percentile_is_that_of_the_values_written_out(pairs):
    values, weights = np.array(pairs).T
    found = weighted_percentile(np.stack([values, -values], 1).astype(float), weights.astype(float))
    for sign, value in zip((1, -1), found, strict=True):
        assert value == np.percentile(sign * values.repeat(weights), 99, method="inverted_cdf")


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((100, 100, 3), 255, np.uint8), "0 tissue pixels"),
        (np.full((64, 64, 3), (120, 60, 120), np.uint8), "hardly any|degrees"),
        (one_stain(), "hardly any|degrees"),
    ],
    ids=["blank", "one colour", "one stain"],
)
def test_what_has_no_two_stains_is_refused(pixels, reason):
    with pytest.raises(InputError, match=reason):
        fit_matrix(pixels)


def test_the_typical_matrix_ignores_an_outlier():
    odd = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    found = typical_matrix(np.stack([MATRIX, odd, MATRIX]))
    assert found == pytest.approx(MATRIX)
    assert np.linalg.norm(typical_matrix(np.stack([MATRIX, TARGET])), axis=1) == pytest.approx([1, 1])


def test_a_target_is_standardised_before_its_fit(tmp_path):
    dim = (mixture().reshape(100, 200, 3) * 0.7).astype(np.uint8)
    Image.fromarray(dim).save(tmp_path / "dim.png")
    assert np.array_equal(
        dpa_target_matrix(str(tmp_path / "dim.png")), fit_matrix(standardise_brightness(dim))
    )
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    Image.new("RGB", (64, 64), "black").save(tmp_path / "black.png")
    for name, reason in (
        ("white.png", "0 tissue pixels"),
        ("black.png", "is black"),
        ("no.png", "not a read"),
    ):
        with pytest.raises(InputError, match=rf"{name}: .*{reason}"):
            dpa_target_matrix(str(tmp_path / name))


def against_spams(spams, pixels):
    """Our fit's objective over that of spams, and the most grey levels between ours and spams' codes painted."""
    flat = standardise_brightness(pixels).reshape(-1, 3)
    density = -np.log(np.maximum(flat, 1) / 255)
    learned = spams.trainDL(
        np.asfortranarray(density[tissue_mask(flat)].T), K=2, lambda1=0.1, mode=2, modeD=0, posAlpha=True,
        posD=True, iter=300, batchsize=4096, numThreads=1, verbose=False,
    ).T  # fmt: skip
    learned = learned[np.argsort(-learned[:, 0])] / np.linalg.norm(learned, axis=1, keepdims=True)
    ours = fit_matrix(flat)
    codes = spams.lasso(
        np.asfortranarray(density.T),
        D=np.asfortranarray(ours.T),
        mode=2,
        lambda1=0.01,
        pos=True,
        numThreads=1,
    )
    theirs = (255 * np.exp(-(codes.toarray().T @ TARGET))).astype(np.uint8)
    ratio = fit_objective(flat, ours, NO_FLOOR) / fit_objective(flat, learned, NO_FLOOR)
    return ratio, np.abs(repaint(flat, ours, TARGET).astype(int) - theirs).max()


def test_fit_and_codes_are_as_good_as_spams_on_a_mixture(spams):
    ratio, levels = against_spams(spams, mixture(5, 10_000))
    assert ratio <= 1.0001
    assert levels <= 1


@pytest.mark.data
@pytest.mark.parametrize("name", PICTURES)
def test_fit_and_codes_are_as_good_as_spams_on_real_pictures(data, name, spams):
    ratio, levels = against_spams(spams, picture(data, name)[:360, 200:500])
    assert ratio <= 1.0001
    assert levels <= 1


@pytest.mark.data
def test_the_builtin_target_is_the_fit_to_its_picture(data):
    panel = picture(data, "staintools_normalize_before")[stain.BUILTIN_PANEL]
    assert fit_matrix(standardise_brightness(panel)) == pytest.approx(builtin_matrix(), abs=2e-4)
