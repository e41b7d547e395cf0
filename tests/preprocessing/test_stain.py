"""The two-stain solver against brute force, known mixtures and staintools itself."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from preprocessing.errors import InputError
from preprocessing.stain import (
    StainFit,
    apply_stain,
    builtin_target,
    concentrations,
    fit_objective,
    fit_stain,
    luminosity,
    optical_density,
)

MATRIX = np.array([[0.65, 0.70, 0.29], [0.20, 0.93, 0.31]])
MATRIX /= np.linalg.norm(MATRIX, axis=1, keepdims=True)


def mixture(seed: int = 0, count: int = 20_000) -> np.ndarray:
    """uint8 (count, 3) of random amounts of two stains, some pixels of one alone."""
    numbers = np.random.default_rng(seed)
    amounts = numbers.exponential(0.7, (count, 2))
    amounts[: count // 3, 0] = 0
    amounts[count // 3 : count // 2, 1] = 0
    return (255 * np.exp(-(amounts @ MATRIX))).round().clip(0, 255).astype(np.uint8)


def angles(matrix: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((matrix * MATRIX).sum(1), -1, 1)))


def test_concentrations_are_the_best_of_all_active_sets():
    density = np.random.default_rng(1).normal(0.4, 0.6, (500, 3))
    found = concentrations(density, MATRIX, 0.1)

    def objective(codes):
        return 0.5 * ((density - codes @ MATRIX) ** 2).sum(1) + 0.1 * codes.sum(1)

    both = np.linalg.solve(MATRIX @ MATRIX.T, (density @ MATRIX.T - 0.1).T).T
    tries = [np.zeros_like(found), both.clip(0)]
    for atom in (0, 1):
        alone = np.zeros_like(found)
        alone[:, atom] = (density @ MATRIX[atom] - 0.1).clip(0)
        tries.append(alone)
    assert (found >= 0).all()
    assert (objective(found) <= np.min([objective(codes) for codes in tries], axis=0) + 1e-12).all()


def test_a_known_mixture_is_found_within_three_degrees_and_the_same_every_time():
    pixels = mixture()
    first, second = fit_stain(pixels), fit_stain(pixels.copy())
    assert (angles(first.matrix) < 3).all()
    assert np.array_equal(first.matrix, second.matrix)
    assert np.array_equal(first.max_concentration, second.max_concentration)


def test_the_input_is_left_as_it_is():
    pixels = mixture(count=1000)
    pixels[0] = 0
    before = pixels.copy()
    apply_stain(pixels, fit_stain(pixels), builtin_target())
    assert np.array_equal(pixels, before)


def test_towards_itself_nothing_changes_but_what_two_stains_cannot_paint():
    pixels = mixture(2)
    fit = fit_stain(pixels)
    difference = np.abs(apply_stain(pixels, fit, fit).astype(int) - pixels)
    assert np.median(difference) <= 3


def test_apply_by_hand():
    source = StainFit(MATRIX, np.array([1.0, 1.0]))
    target = StainFit(MATRIX[::-1].copy(), np.array([2.0, 1.0]))
    pixel = np.array([[120, 60, 140]], np.uint8)
    codes = concentrations(optical_density(pixel), MATRIX) * [2, 1]
    expected = (255 * np.exp(-(codes @ target.matrix))).astype(np.uint8)
    assert np.array_equal(apply_stain(pixel, source, target), expected)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((100, 100, 3), 250, np.uint8), "tissue pixels"),
        ((255 * np.exp(-np.linspace(0.3, 1.5, 5000)[:, None] * MATRIX[0])).astype(np.uint8), "stain"),
    ],
)
def test_what_has_no_two_stains_is_refused(pixels, reason):
    with pytest.raises(InputError, match=reason):
        fit_stain(pixels)


@pytest.mark.data
def test_the_builtin_target_is_the_fit_to_its_picture(data):
    picture = np.asarray(Image.open(data / "stain" / "staintools_normalize_before.png").convert("RGB"))
    fit = fit_stain(picture)
    assert fit.matrix == pytest.approx(builtin_target().matrix, abs=2e-3)
    assert fit.max_concentration == pytest.approx(builtin_target().max_concentration, abs=2e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", ["torchstain_source", "staintools_normalize_before"])
def test_fit_is_no_worse_than_spams_and_apply_equals_staintools(data, name):
    spams = pytest.importorskip("spams", reason="spams is not installed (make install does)")
    get_concentrations = pytest.importorskip("staintools.miscellaneous.get_concentrations").get_concentrations
    picture = np.asarray(Image.open(data / "stain" / f"{name}.png").convert("RGB"))[:256, :256].copy()
    flat = picture.reshape(-1, 3)
    tissue = optical_density(flat[luminosity(flat) < 0.8])
    learned = spams.trainDL(
        np.asfortranarray(tissue.T), K=2, lambda1=0.1, mode=2, modeD=0, posAlpha=True, posD=True, verbose=False, iter=500
    ).T  # fmt: skip
    learned = learned / np.linalg.norm(learned, axis=1, keepdims=True)
    ours = fit_stain(picture)
    assert fit_objective(picture, ours.matrix) <= 1.0005 * fit_objective(picture, learned)
    target = builtin_target()
    theirs = get_concentrations(picture.copy(), ours.matrix)
    largest = np.percentile(theirs, 99, axis=0)
    painted = 255 * np.exp(-(theirs * (target.max_concentration / largest)) @ target.matrix)
    result = apply_stain(picture, StainFit(ours.matrix, largest), target)
    difference = np.abs(result.astype(int) - painted.reshape(picture.shape).astype(np.uint8))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4  # truncation at the edge of a grey level
