"""Fit of the two stains of H&E: dictionary learning in closed forms (Vahadane et al., IEEE TMI 35(8), 2016).

The semantics are those of staintools 2.1.2: tissue is where OpenCV's 8-bit Lab lightness is under 0.8; optical
density OD = max(-ln(I / 255), 1e-6) with I = 0 read as 1; the stain matrix minimises the mean over tissue pixels of
1/2 ||x - a S||^2 + 0.1 ||a||_1 over codes a >= 0 and atoms S >= 0 of length at most 1. staintools draws a random
start and runs for one second of wall clock; here closed-form codes and atoms alternate on a colour histogram from a
fixed start, in one thread: the same matrix every time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from preprocessing.errors import InputError

DICTIONARY_LAMBDA = 0.1
CONCENTRATION_LAMBDA = 0.01
PERCENTILE = 99.0
LEAST_TISSUE = 50
"""Tissue pixels under which nothing is fitted; under ten times as many the fit carries a warning."""
LEAST_ANGLE = 3.0
"""Degrees between the two stains under which they cannot be told apart; under twice that the fit carries a warning."""
LEAST_CONCENTRATION = 1e-3
"""99th percentile of a stain's concentration under which it counts as absent."""
START = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
"""Haematoxylin and eosin of Ruifrok and Johnston (Anal Quant Cytol Histol 23, 2001): where the alternation begins."""
ROUNDS = 5000
TOLERANCE = 1e-9
"""Relative decrease of the objective in a round at which the alternation ends."""


def compiled(function: Callable) -> Callable:
    """Numba's machine code of `function`, kept on disk where a cache folder is writable.

    A container under an unknown user has none; there it is compiled anew in each process.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available"
        return numba.njit(nogil=True)(function)


@dataclass(frozen=True)
class StainFit:
    """Stains of a picture or slide.

    `matrix`: (2, 3) float64, optical density in R, G, B per unit of stain; haematoxylin first, unit rows, >= 0.
    `max_concentration`: (2,) float64, 99th percentile of each stain's concentration over all pixels, > 0.
    `guard`: why the fit deserves doubt, in words; empty when it does not.
    """

    matrix: np.ndarray
    max_concentration: np.ndarray
    guard: str = ""


def optical_density(pixels: np.ndarray) -> np.ndarray:
    """-ln(I / 255) of uint8 or float (..., 3) as float64 in [1e-6, 5.55], I = 0 read as 1; the input stays as it is."""
    return np.maximum(-1 * np.log(np.maximum(pixels, 1) / 255), 1e-6)


def _luminance_table() -> np.ndarray:
    # CIE Y of sRGB (D65) in the fixed point of 8-bit RGB -> Lab: linear light in steps of 1/2040, weights in 1/4096.
    share = np.arange(256) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    return np.rint(2040 * linear).astype(np.int32) * np.array([[871], [2929], [296]], dtype=np.int32)


LUMINANCE = _luminance_table()
TISSUE_LUMINANCE = 4696064
"""The least LUMINANCE whose lightness reaches 204 of 255; agrees with OpenCV on all 2^24 colours."""


def tissue_mask(pixels: np.ndarray) -> np.ndarray:
    """Where uint8 (..., 3) sRGB has OpenCV 8-bit Lab L / 255 < 0.8: bool (...). Black counts as tissue."""
    red, green, blue = (LUMINANCE[channel][pixels[..., channel]] for channel in range(3))
    return red + green + blue < TISSUE_LUMINANCE


@compiled
def _histogram(flat, luminance, threshold, counts, sums):  # type: ignore[no-untyped-def]
    for n in range(flat.shape[0]):
        r, g, b = flat[n, 0], flat[n, 1], flat[n, 2]
        if luminance[0, r] + luminance[1, g] + luminance[2, b] < threshold:
            place = (np.int64(r) >> 2) << 12 | (np.int64(g) >> 2) << 6 | np.int64(b) >> 2
            counts[place] += 1
            sums[place, 0] += r
            sums[place, 1] += g
            sums[place, 2] += b


def tissue_histogram(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours (M, 3) float64 of the occupied bins of 6 bits a channel, and their tissue pixels (M,) float64.

    `pixels` is uint8 (..., 3); the bins come in a fixed order whatever the order of the pixels.
    """
    counts = np.zeros(1 << 18, dtype=np.int64)
    sums = np.zeros((1 << 18, 3), dtype=np.int64)
    _histogram(pixels.reshape(-1, 3), LUMINANCE, TISSUE_LUMINANCE, counts, sums)
    places = np.flatnonzero(counts)
    weights = counts[places].astype(np.float64)
    return sums[places] / weights[:, None], weights


@compiled
def two_codes(r, g, b, matrix, overlap, scale, penalty):  # type: ignore[no-untyped-def]
    """Codes of one optical density: the non-negative LASSO of two unit atoms has a closed form."""
    one = r * matrix[0, 0] + g * matrix[0, 1] + b * matrix[0, 2] - penalty
    two = r * matrix[1, 0] + g * matrix[1, 1] + b * matrix[1, 2] - penalty
    first = (one - overlap * two) * scale
    second = (two - overlap * one) * scale
    if first < 0:
        return 0.0, max(two, 0.0)
    if second < 0:
        return max(one, 0.0), 0.0
    return first, second


@compiled
def overlap_and_scale(matrix):  # type: ignore[no-untyped-def]
    """Cosine c between the two atoms, and 1 / (1 - c^2), bounded where the atoms coincide."""
    overlap = matrix[0, 0] * matrix[1, 0] + matrix[0, 1] * matrix[1, 1] + matrix[0, 2] * matrix[1, 2]
    return overlap, 1.0 / max(1.0 - overlap * overlap, 1e-12)


@compiled
def _codes(density, matrix, penalty, out):  # type: ignore[no-untyped-def]
    overlap, scale = overlap_and_scale(matrix)
    for n in range(density.shape[0]):
        out[0, n], out[1, n] = two_codes(
            density[n, 0], density[n, 1], density[n, 2], matrix, overlap, scale, penalty
        )


@compiled
def _pixel_codes(flat, density, matrix, penalty, out):  # type: ignore[no-untyped-def]
    overlap, scale = overlap_and_scale(matrix)
    for n in range(flat.shape[0]):
        r, g, b = density[flat[n, 0]], density[flat[n, 1]], density[flat[n, 2]]
        out[0, n], out[1, n] = two_codes(r, g, b, matrix, overlap, scale, penalty)


def concentrations(
    density: np.ndarray, matrix: np.ndarray, penalty: float = CONCENTRATION_LAMBDA
) -> np.ndarray:
    """argmin over a >= 0 of 1/2 ||x - a S||^2 + penalty ||a||_1 for each optical density x, in closed form.

    `density` (N, 3), `matrix` (2, 3) with unit rows -> (N, 2) float64.
    """
    out = np.empty((2, len(density)))
    _codes(np.asarray(density, dtype=np.float64), np.asarray(matrix, dtype=np.float64), penalty, out)
    return out.T


@compiled
def _alternate(density, weights, matrix, penalty, rounds, tolerance):  # type: ignore[no-untyped-def]
    # Block updates of each atom given the other: least squares, clipped at zero, brought to length 1. Under the
    # penalty the optimum lies on the sphere: a shorter atom needs larger codes for the same picture.
    gram, cross, before = np.zeros((2, 2)), np.zeros((2, 3)), np.inf
    total = weights.sum()
    for _ in range(rounds):
        gram[:], cross[:], objective = 0.0, 0.0, 0.0
        overlap, scale = overlap_and_scale(matrix)
        for n in range(density.shape[0]):
            x, w = density[n], weights[n]
            one, two = two_codes(x[0], x[1], x[2], matrix, overlap, scale, penalty)
            squares = 0.0
            for channel in range(3):
                squares += (x[channel] - one * matrix[0, channel] - two * matrix[1, channel]) ** 2
                cross[0, channel] += w * one * x[channel]
                cross[1, channel] += w * two * x[channel]
            objective += w * (0.5 * squares + penalty * (one + two))
            gram[0, 0] += w * one * one
            gram[0, 1] += w * one * two
            gram[1, 1] += w * two * two
        gram[1, 0] = gram[0, 1]
        if before - objective < tolerance * max(objective, 1e-12 * total):
            break
        before = objective
        for _ in range(5):
            for atom in range(2):
                if gram[atom, atom] > 0:
                    update = np.maximum(
                        (cross[atom] - gram[atom, 1 - atom] * matrix[1 - atom]) / gram[atom, atom], 0.0
                    )
                    length = np.sqrt((update * update).sum())
                    if length > 0:
                        matrix[atom] = update / length
    return objective / total


def learn_matrix(density: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """The stain matrix (2, 3) of weighted optical densities (M, 3), (M,), haematoxylin first, and its objective."""
    matrix = START / np.linalg.norm(START, axis=1, keepdims=True)
    objective = _alternate(density, weights, matrix, DICTIONARY_LAMBDA, ROUNDS, TOLERANCE)
    return matrix[np.argsort(-matrix[:, 0], kind="stable")], float(objective)


def fit_objective(pixels: np.ndarray, matrix: np.ndarray) -> float:
    """What the fit minimises, for a given stain matrix (2, 3) with unit rows, over the tissue of uint8 (..., 3).

    The mean over tissue pixels, one by one and not binned, of 1/2 ||x - a S||^2 + 0.1 ||a||_1 at the best a >= 0.
    Raises InputError where there is no tissue.
    """
    flat = pixels.reshape(-1, 3)
    density = optical_density(flat[tissue_mask(flat)])
    if not len(density):
        raise InputError(f"stain fit: none of {len(flat)} pixels is tissue (Lab lightness under 0.8).")
    codes = concentrations(density, matrix, DICTIONARY_LAMBDA)
    residual = density - codes @ matrix
    return float((0.5 * (residual**2).sum(1) + DICTIONARY_LAMBDA * codes.sum(1)).mean())


def fit_stain(pixels: np.ndarray) -> StainFit:
    """Stain matrix and 99th-percentile concentrations of uint8 (..., 3) sRGB; deterministic.

    The matrix is learned from the tissue pixels, the percentiles (linear, as np.percentile) are over all pixels.
    Raises InputError where that is ill-conditioned: fewer than LEAST_TISSUE tissue pixels, two stains less than
    LEAST_ANGLE degrees apart (one stain, black, grey), or a stain that hardly any pixel has.
    """
    flat = np.ascontiguousarray(pixels).reshape(-1, 3)
    colours, weights = tissue_histogram(flat)
    found = int(weights.sum())
    if found < LEAST_TISSUE:
        raise InputError(
            f"stain fit: {found} tissue pixels of {len(flat)} (Lab lightness under 0.8); "
            f"at least {LEAST_TISSUE} are needed. Choose an area with tissue, or --stain none."
        )
    matrix, _ = learn_matrix(optical_density(colours), weights)
    angle = float(np.degrees(np.arccos(np.clip(matrix[0] @ matrix[1], -1, 1))))
    if angle < LEAST_ANGLE:
        raise InputError(
            f"stain fit: the two stains differ by {angle:.1f} degrees only; at least {LEAST_ANGLE:g} are needed. "
            "The picture has one stain; normalise with --stain none."
        )
    codes = np.empty((2, len(flat)))
    density = optical_density(np.arange(256, dtype=np.uint8))
    _pixel_codes(flat, density, matrix, CONCENTRATION_LAMBDA, codes)
    largest = np.percentile(codes, PERCENTILE, axis=1)
    if (largest < LEAST_CONCENTRATION).any():
        stain = ("haematoxylin", "eosin")[int(largest.argmin())]
        raise InputError(
            f"stain fit: hardly any {stain} (99th percentile of its concentration {largest.min():.2g}, at least "
            f"{LEAST_CONCENTRATION:g} is needed); the picture is blank or has one stain. Normalise with --stain none."
        )
    doubts = []
    if found < 10 * LEAST_TISSUE:
        doubts.append(f"{found} tissue pixels only")
    if angle < 2 * LEAST_ANGLE:
        doubts.append(f"stains {angle:.1f} degrees apart only")
    return StainFit(matrix, largest, ", ".join(doubts))
