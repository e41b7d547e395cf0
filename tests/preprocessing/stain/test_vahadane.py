"""The two-stain solver against brute force, known mixtures, OpenCV, spams and staintools itself."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from threadpoolctl import threadpool_limits

from esad.pipeline.slides.stain_target import of_target, target_fit
from esad.preprocessing.errors import EsadError, InputError
from esad.preprocessing.stain import fit as stain_fit
from esad.preprocessing.stain import kernels as stain_kernels
from esad.preprocessing.stain import vahadane as stain
from esad.preprocessing.stain.vahadane import (
    LARGEST_RATIO,
    StainFit,
    StainMap,
    apply_stain,
    builtin_target,
    concentrations,
    fit_objective,
    fit_stain,
    optical_density,
    staintools_normaliser,
    tissue_mask,
)

MATRIX = np.array([[0.65, 0.70, 0.29], [0.20, 0.93, 0.31]])
MATRIX /= np.linalg.norm(MATRIX, axis=1, keepdims=True)
PICTURES = ("staintools_normalize_before", "torchstain_source", "torchstain_target")
NUMBER = st.floats(0.02, 1)
COLOUR = st.floats(0, 6)


def mixture(seed: int = 0, count: int = 20_000, matrix: np.ndarray = MATRIX) -> np.ndarray:
    """uint8 (count, 3) of random amounts of two stains, a third of the pixels of each one alone."""
    numbers = np.random.default_rng(seed)
    amounts = numbers.exponential(0.7, (count, 2))
    amounts[: count // 3, 0] = 0
    amounts[count // 3 : 2 * count // 3, 1] = 0
    return (255 * np.exp(-(amounts @ matrix))).round().clip(0, 255).astype(np.uint8)


def one_stain(noise: float = 0.0) -> np.ndarray:
    density = np.linspace(0.3, 1.5, 5000)[:, None] * MATRIX[0]
    shaken = 255 * np.exp(-density) + np.random.default_rng(0).normal(0, 1, density.shape) * noise
    return shaken.round().clip(0, 255).astype(np.uint8)


def angles(matrix: np.ndarray, truth: np.ndarray = MATRIX) -> np.ndarray:
    """Degrees between the rows of two stain matrices."""
    return np.degrees(np.arccos(np.clip((matrix * truth).sum(1), -1, 1)))


def picture(data, name: str) -> np.ndarray:
    return np.array(Image.open(data / "stain" / f"{name}.png").convert("RGB"))


def objective(density: np.ndarray, codes: np.ndarray, matrix: np.ndarray, penalty: float) -> np.ndarray:
    return 0.5 * ((density - codes @ matrix) ** 2).sum(-1) + penalty * codes.sum(-1)


@settings(deadline=None)  # the first call compiles
@given(
    arrays(float, (2, 3), elements=NUMBER),
    arrays(float, (16, 3), elements=COLOUR),
    st.sampled_from([0.01, 0.1]),
)
def test_concentrations_are_the_best_of_all_active_sets(rows, density, penalty):
    matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if 1 - (matrix[0] @ matrix[1]) ** 2 < 1e-4:  # under half a degree: no fit has such a matrix
        return
    found = concentrations(density, matrix, penalty)
    best = np.full(len(density), np.inf)
    for active in ([], [0], [1], [0, 1]):
        codes = np.zeros((len(density), 2))
        atoms = matrix[active]
        if active:
            codes[:, active] = np.linalg.solve(atoms @ atoms.T, (density @ atoms.T - penalty).T).T
        allowed = (codes >= 0).all(1)
        best[allowed] = np.minimum(best[allowed], objective(density, codes, matrix, penalty)[allowed])
    assert (found >= 0).all()
    assert objective(density, found, matrix, penalty) == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_optical_density_by_hand():
    expected = [np.log(255), np.log(255), np.log(2), 1e-6]
    assert optical_density(np.array([0, 1, 127.5, 255])) == pytest.approx(expected)


def test_the_tissue_mask_is_that_of_opencv_on_every_colour_of_a_lattice_and_near_the_threshold():
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (make install does)")
    lattice = np.array(list(product(range(0, 256, 5), repeat=3)), np.uint8)
    near = np.random.default_rng(0).integers(0, 256, (2_000_000, 3)).astype(np.uint8)
    near = near[np.abs(near @ [0.2, 0.72, 0.08] - 195) < 8]
    colours = np.concatenate([lattice, near])[None]
    theirs = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[..., 0] / 255.0 < 0.8
    assert np.array_equal(tissue_mask(colours), theirs)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 0.7), st.floats(0.05, 0.3), st.floats(0.1, 0.4))
def test_a_known_mixture_is_found_within_three_degrees(seed, red_h, red_e, blue):
    truth = np.array([[red_h, 0.7, blue], [red_e, 0.93, 0.2]])
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    fit = fit_stain(mixture(seed, 6000, truth))
    assert (angles(fit.matrix, truth) < 3).all()
    assert np.linalg.norm(fit.matrix, axis=1) == pytest.approx([1, 1])
    assert (fit.matrix >= 0).all()
    assert fit.matrix[0, 0] >= fit.matrix[1, 0]  # haematoxylin takes more red
    assert fit.guard == ""


def test_the_fit_is_the_same_every_time_and_for_any_order_and_shape_of_the_pixels():
    pixels = mixture()
    first = fit_stain(pixels)
    for again in (pixels.copy(), pixels[::-1], pixels.reshape(100, 200, 3), np.asfortranarray(pixels)):
        second = fit_stain(again)
        assert np.array_equal(first.matrix, second.matrix)
        assert np.array_equal(first.max_concentration, second.max_concentration)


def test_the_fit_is_the_same_for_shuffled_pixels_and_any_number_of_threads():
    pixels = mixture(7)
    first = fit_stain(pixels)
    orders = [np.random.default_rng(seed).permutation(len(pixels)) for seed in range(6)]
    found = []
    for count in (1, 2, 5):
        with threadpool_limits(count), ThreadPoolExecutor(count) as threads:
            found += threads.map(lambda order: fit_stain(pixels[order]), orders)
    assert all(np.array_equal(fit.matrix, first.matrix) for fit in found)
    assert all(np.array_equal(fit.max_concentration, first.max_concentration) for fit in found)


def test_the_largest_concentration_is_the_99th_percentile_over_all_pixels():
    pixels = np.concatenate([mixture(3, 5000), np.full((3000, 3), 250, np.uint8)])
    fit = fit_stain(pixels)
    expected = np.percentile(concentrations(optical_density(pixels), fit.matrix), 99, axis=0)
    assert fit.max_concentration == pytest.approx(expected, rel=1e-12)


def best_of_random_starts(pixels: np.ndarray, count: int = 8) -> float:
    """The least objective that the alternation reaches from random starts."""
    colours, weights = stain_fit.tissue_histogram(pixels)
    found = []
    for seed in range(count):
        start = np.random.default_rng(seed).random((2, 3)) + 0.01
        start /= np.linalg.norm(start, axis=1, keepdims=True)
        stain_kernels.alternate(optical_density(colours), weights, start, 0.1, 5000, 1e-10)
        found.append(fit_objective(pixels, start))
    return min(found)


def test_no_random_start_finds_a_better_matrix():
    pixels = mixture(4, 5000)
    assert fit_objective(pixels, fit_stain(pixels).matrix) <= 1.0001 * best_of_random_starts(pixels)


def test_inputs_are_left_as_they_are():
    pixels = mixture(count=5000)
    pixels[0] = 0
    before = pixels.copy()
    pixels.flags.writeable = False
    apply_stain(pixels, fit_stain(pixels), builtin_target())
    assert np.array_equal(pixels, before)


def test_towards_itself_nothing_changes_but_what_two_stains_cannot_paint():
    pixels = mixture(2)
    fit = fit_stain(pixels)
    difference = np.abs(apply_stain(pixels, fit, fit).astype(int) - pixels)
    assert np.percentile(difference, 90) <= 5


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_apply_is_the_formula_with_or_without_its_memory(tiles):
    source = StainFit(MATRIX, np.array([1.0, 1.0]))
    target = StainFit(MATRIX[::-1].copy(), np.array([2.0, 0.5]))
    codes = concentrations(optical_density(tiles).reshape(-1, 3), MATRIX) * [2, 0.5]
    expected = (255 * np.exp(-(codes @ target.matrix))).astype(np.uint8).reshape(tiles.shape)
    paint = StainMap(source, target)
    for remember in (False, True, True):
        assert np.array_equal(paint(tiles, remember=remember), expected)
        own = tiles.copy()
        assert paint(own, remember=remember, out=own) is own
        assert np.array_equal(own, expected)


def test_threads_that_share_a_map_paint_the_same_as_one():
    tiles = np.random.default_rng(0).integers(0, 256, (40, 31, 33, 3)).astype(np.uint8)
    source, target = StainFit(MATRIX, np.array([1.0, 2.0])), builtin_target()
    alone, shared = StainMap(source, target)(tiles, remember=False), StainMap(source, target)
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(shared, np.split(np.concatenate([tiles, tiles]), 8)))
    assert np.array_equal(np.concatenate(parts), np.concatenate([alone, alone]))


def test_the_table_of_colours_is_used_for_many_pixels_and_changes_nothing(monkeypatch):
    pixels = mixture(5)
    fit = fit_stain(pixels)
    few = apply_stain(pixels, fit, builtin_target())
    monkeypatch.setattr(stain, "REMEMBERING_PIXELS", 1)
    assert np.array_equal(apply_stain(pixels, fit, builtin_target()), few)


def test_the_ratio_of_concentrations_is_capped():
    faint = StainFit(MATRIX, np.array([0.01, 1.0]))
    capped = StainFit(MATRIX, np.array([1 / LARGEST_RATIO, 1.0]))
    target = StainFit(MATRIX, np.array([1.0, 1.0]))
    pixels = mixture(6, 1000)
    assert np.array_equal(apply_stain(pixels, faint, target), apply_stain(pixels, capped, target))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((100, 100, 3), 250, np.uint8), "0 tissue pixels of 10000"),
        (np.zeros((0, 3), np.uint8), "0 tissue pixels of 0"),
        (mixture(count=9).reshape(3, 3, 3), "at least 50 are needed"),
        (np.zeros((64, 64, 3), np.uint8), "hardly any"),
        (np.full((64, 64, 3), (120, 60, 120), np.uint8), "hardly any|degrees"),
        (one_stain(), "hardly any|degrees"),
        (np.concatenate([mixture(count=90), np.full((9910, 3), 255, np.uint8)]), "hardly any"),
    ],
    ids=["blank", "empty", "tiny", "black", "one colour", "one stain", "nearly blank"],
)
def test_what_has_no_two_stains_is_refused(pixels, reason):
    with pytest.raises(InputError, match=reason):
        fit_stain(pixels)


def test_one_stain_under_noise_is_refused_or_doubted():
    with pytest.raises(InputError, match=r"hardly any|degrees"):
        fit_stain(one_stain(noise=2))
    assert "degrees apart only" in fit_stain(one_stain(noise=4)).guard


def test_a_fit_to_little_tissue_says_so():
    assert "100 tissue pixels" in fit_stain(mixture(count=150)[tissue_mask(mixture(count=150))][:100]).guard


def test_the_objective_needs_tissue():
    with pytest.raises(InputError, match="none of 16 pixels is tissue"):
        fit_objective(np.full((4, 4, 3), 255, np.uint8), MATRIX)


def test_a_target_is_read_from_a_file_and_a_bad_one_is_named(tmp_path):
    pixels = mixture().reshape(100, 200, 3)
    Image.fromarray(pixels).save(tmp_path / "target.png")
    fit = target_fit(str(tmp_path / "target.png"))
    assert np.array_equal(fit.matrix, fit_stain(pixels).matrix)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "target.png").read_bytes()[:2000])
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    for name, reason in (
        ("notes.txt", "not a readable picture"),
        ("cut.png", "not a readable picture"),
        ("absent.png", "not a readable picture"),
        ("white.png", "0 tissue pixels"),
    ):
        with pytest.raises(InputError, match=rf"{name}: .*{reason}"):
            target_fit(str(tmp_path / name))


def test_without_staintools_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "staintools", None)
    with pytest.raises(EsadError, match="make install"):
        staintools_normaliser(None)


def test_staintools_leaves_tiles_that_it_cannot_transform_and_its_input_alone(tmp_path):
    pytest.importorskip("staintools", reason="staintools is not installed (make install does)")
    blank, black = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)
    tiles = np.stack([blank, black, mixture(count=4096).reshape(64, 64, 3)])
    tiles[2, 0, 0] = 0
    before = tiles.copy()
    out, failed = staintools_normaliser(None)(tiles)
    assert np.array_equal(tiles, before)
    assert failed == 2
    assert np.array_equal(out[:2], tiles[:2])
    ours = apply_stain(tiles[2], fit_stain(tiles[2]), builtin_target())
    assert (
        np.abs(out[2].astype(int) - ours).mean() < 1
    )  # it learns its matrix for one second from a random start
    Image.fromarray(blank).save(tmp_path / "white.png")
    with pytest.raises(InputError, match=r"white\.png: staintools cannot fit it"):
        of_target(str(tmp_path / "white.png"), staintools_normaliser)


def test_staintools_leaves_the_threads_of_the_process_as_they_are():
    """spams sets OpenMP's number of threads for good; training would then give other bits than before."""
    pytest.importorskip("staintools", reason="staintools is not installed (make install does)")
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        staintools_normaliser(None)(mixture(count=4096).reshape(1, 64, 64, 3))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.data
def test_the_builtin_target_is_the_fit_to_its_picture(data):
    fit = fit_stain(picture(data, "staintools_normalize_before")[stain.BUILTIN_PANEL])
    assert fit.matrix == pytest.approx(builtin_target().matrix, abs=2e-4)
    assert fit.max_concentration == pytest.approx(builtin_target().max_concentration, abs=2e-4)


@pytest.mark.data
def test_no_random_start_finds_a_better_matrix_on_real_tiles(data):
    tiles = np.load(data / "pcam" / "pcam_64.npz")["x"]
    hard = [141, 258, 1098, 1162, 1173, 1712, 1748, 1855, 2414, 3112, 3387, 3998, 4282]  # local minima
    for tile in tiles[[*range(0, 4500, 300), *hard]]:
        if np.count_nonzero(tissue_mask(tile)) >= 50:  # among them one of one stain, which fit_stain refuses
            colours, weights = stain_fit.tissue_histogram(tile)
            matrix = stain_fit.learn_matrix(optical_density(colours), weights)
            assert fit_objective(tile, matrix) <= 1.0001 * best_of_random_starts(tile)


@pytest.mark.data
@pytest.mark.parametrize("name", PICTURES)
def test_the_fit_is_as_good_as_spams_converged(data, name, spams):
    pixels = picture(data, name)[:360, 200:760]
    tissue = np.asfortranarray(optical_density(pixels[tissue_mask(pixels)]).T)
    learned = spams.trainDL(
        tissue, K=2, lambda1=0.1, mode=2, modeD=0, posAlpha=True, posD=True, iter=300, batchsize=4096,
        numThreads=1, verbose=False,
    ).T  # fmt: skip
    theirs = fit_objective(pixels, learned / np.linalg.norm(learned, axis=1, keepdims=True))
    assert fit_objective(pixels, fit_stain(pixels).matrix) <= 1.0001 * theirs


@pytest.mark.data
@pytest.mark.usefixtures("spams")
@pytest.mark.parametrize("name", PICTURES)
def test_apply_equals_staintools_to_the_last_bit(data, name, monkeypatch):
    staintools = pytest.importorskip("staintools", reason="staintools is not installed (make install does)")
    pixels, target = picture(data, name), builtin_target()
    fit = fit_stain(pixels)
    normaliser = staintools.StainNormalizer(method="vahadane")
    monkeypatch.setattr(normaliser.extractor, "get_stain_matrix", staticmethod(lambda _: fit.matrix))
    normaliser.stain_matrix_target, normaliser.maxC_target = target.matrix, target.max_concentration[None]
    theirs = normaliser.transform(pixels.copy())
    assert np.array_equal(apply_stain(pixels, fit, target), theirs)
    assert np.array_equal(StainMap(fit, target)(pixels, remember=True), theirs)
