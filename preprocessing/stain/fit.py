"""Fit of the two stains of H&E: dictionary learning in closed forms (Vahadane et al., IEEE TMI 35(8), 2016).

The semantics are those of staintools 2.1.2: tissue is where OpenCV's 8-bit Lab lightness is under 0.8; optical
density OD = max(-ln(I / 255), 1e-6) with I = 0 read as 1; the stain matrix minimises the mean over tissue pixels of
1/2 ||x - a S||^2 + 0.1 ||a||_1 over codes a >= 0 and atoms S >= 0 of length at most 1. staintools draws a random
start and runs for one second of wall clock; here closed-form codes and atoms alternate on a colour histogram from
two fixed starts, in one thread: the same matrix every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.stain.kernels import add_to_histogram, alternate, density_codes, pixel_codes

DICTIONARY_LAMBDA = 0.1
CONCENTRATION_LAMBDA = 0.01
PERCENTILE = 99.0
LEAST_DENSITY = 1e-6
"""Floor of the optical density in staintools; the variant of the paper's data has none
(docs/explanation/protocols.md#camelyon16-stain)."""
LEAST_TISSUE = 50
"""Tissue pixels under which nothing is fitted; under ten times as many the fit carries a warning."""
LEAST_ANGLE = 3.0
"""Degrees between the two stains under which they cannot be told apart: noise of two grey levels around one stain."""
DOUBTFUL_ANGLE = 7.0
"""Degrees under which the fit carries a warning; 99 % of PatchCamelyon's tiles are above."""
LEAST_CONCENTRATION = 1e-3
"""99th percentile of a stain's concentration under which it counts as absent."""
STARTS = np.array([[[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], [[0.90, 0.40, 0.10], [0.10, 0.70, 0.70]]])
"""Where the alternation begins: haematoxylin and eosin of Ruifrok and Johnston (Anal Quant Cytol Histol 23, 2001),
and two atoms far apart. Either alone ends in a local minimum up to 0.5 % too high on one of a thousand PatchCamelyon
tiles, both together on none."""
ROUNDS = 5000
TOLERANCE = 1e-9
"""Relative decrease of the objective in a round at which the alternation ends."""


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


def optical_density(pixels: np.ndarray, floor: float = LEAST_DENSITY) -> np.ndarray:
    """-ln(I / 255) of uint8 or float (..., 3) as float64 in [floor, 5.55], I = 0 read as 1; the input stays as it is."""
    return np.maximum(-1 * np.log(np.maximum(pixels, 1) / 255), floor)


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


def tissue_histogram(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours (M, 3) float64 of the occupied bins of 6 bits a channel, and their tissue pixels (M,) float64.

    `pixels` is uint8 (..., 3); the bins come in a fixed order whatever the order of the pixels.
    """
    counts = np.zeros(1 << 18, dtype=np.int64)
    sums = np.zeros((1 << 18, 3), dtype=np.int64)
    add_to_histogram(pixels.reshape(-1, 3), LUMINANCE, TISSUE_LUMINANCE, counts, sums)
    places = np.flatnonzero(counts)
    weights = counts[places].astype(np.float64)
    return sums[places] / weights[:, None], weights


def concentrations(
    density: np.ndarray, matrix: np.ndarray, penalty: float = CONCENTRATION_LAMBDA
) -> np.ndarray:
    """argmin over a >= 0 of 1/2 ||x - a S||^2 + penalty ||a||_1 for each optical density x, in closed form.

    `density` (N, 3), `matrix` (2, 3) with unit rows -> (N, 2) float64.
    """
    out = np.empty((2, len(density)))
    density_codes(np.asarray(density, dtype=np.float64), np.asarray(matrix, dtype=np.float64), penalty, out)
    return out.T


def learn_matrix(density: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The stain matrix (2, 3) of weighted optical densities (M, 3), (M,): unit rows, haematoxylin first.

    The better of the ends from STARTS; an end that is better by less than a millionth does not count.
    """
    best, least = STARTS[0], np.inf
    for start in STARTS:
        matrix = start / np.linalg.norm(start, axis=1, keepdims=True)
        objective = alternate(density, weights, matrix, DICTIONARY_LAMBDA, ROUNDS, TOLERANCE)
        if objective < least * (1 - 1e-6):
            best, least = matrix, objective
    return best[np.argsort(-best[:, 0], kind="stable")]


def fit_objective(pixels: np.ndarray, matrix: np.ndarray, floor: float = LEAST_DENSITY) -> float:
    """What the fit minimises, for a given stain matrix (2, 3) with unit rows, over the tissue of uint8 (..., 3).

    The mean over tissue pixels, one by one and not binned, of 1/2 ||x - a S||^2 + 0.1 ||a||_1 at the best a >= 0.
    Raises InputError where there is no tissue.
    """
    flat = pixels.reshape(-1, 3)
    density = optical_density(flat[tissue_mask(flat)], floor)
    if not len(density):
        raise InputError(f"stain fit: none of {len(flat)} pixels is tissue (Lab lightness under 0.8).")
    codes = concentrations(density, matrix, DICTIONARY_LAMBDA)
    residual = density - codes @ matrix
    return float((0.5 * (residual**2).sum(1) + DICTIONARY_LAMBDA * codes.sum(1)).mean())


def angle_between(matrix: np.ndarray) -> float:
    """Degrees between the two rows of length 1 of a stain matrix (2, 3)."""
    return float(np.degrees(np.arccos(np.clip(matrix[0] @ matrix[1], -1, 1))))


def tissue_matrix(
    pixels: np.ndarray, floor: float = LEAST_DENSITY
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stain matrix (2, 3) of the tissue of uint8 (N, 3), with what it was learned from: densities and weights.

    Densities are (M, 3), one a bin of `tissue_histogram`, weights (M,) its pixels. Raises InputError for fewer than
    LEAST_TISSUE tissue pixels and for two stains less than LEAST_ANGLE degrees apart.
    """
    colours, weights = tissue_histogram(pixels)
    found = int(weights.sum())
    if found < LEAST_TISSUE:
        raise InputError(
            f"stain fit: {found} tissue pixels of {len(pixels)} (Lab lightness under 0.8); "
            f"at least {LEAST_TISSUE} are needed. Choose an area with tissue, or --stain none."
        )
    density = optical_density(colours, floor)
    matrix = learn_matrix(density, weights)
    angle = angle_between(matrix)
    if angle < LEAST_ANGLE:
        raise InputError(
            f"stain fit: the two stains differ by {angle:.1f} degrees only; at least {LEAST_ANGLE:g} are needed. "
            "The picture has one stain; normalise with --stain none."
        )
    return matrix, density, weights


def refuse_absent(largest: np.ndarray) -> None:
    """InputError where the 99th percentile of a stain's concentrations, (2,), is under LEAST_CONCENTRATION."""
    if (largest < LEAST_CONCENTRATION).any():
        stain = ("haematoxylin", "eosin")[int(largest.argmin())]
        raise InputError(
            f"stain fit: hardly any {stain} (99th percentile of its concentration {largest.min():.2g}, at least "
            f"{LEAST_CONCENTRATION:g} is needed); the picture is blank or has one stain. Normalise with --stain none."
        )


def fit_stain(pixels: np.ndarray) -> StainFit:
    """Stain matrix and 99th-percentile concentrations of uint8 (..., 3) sRGB; deterministic.

    The matrix is learned from the tissue pixels, the percentiles (linear, as np.percentile) are over all pixels.
    Raises InputError where that is ill-conditioned: fewer than LEAST_TISSUE tissue pixels, two stains less than
    LEAST_ANGLE degrees apart (one stain, black, grey), or a stain that hardly any pixel has.
    """
    flat = np.ascontiguousarray(pixels).reshape(-1, 3)
    matrix, _, weights = tissue_matrix(flat)
    codes = np.empty((2, len(flat)))
    pixel_codes(flat, optical_density(np.arange(256, dtype=np.uint8)), matrix, CONCENTRATION_LAMBDA, codes)
    largest = np.percentile(codes, PERCENTILE, axis=1)
    refuse_absent(largest)
    found, angle, doubts = int(weights.sum()), angle_between(matrix), []
    if found < 10 * LEAST_TISSUE:
        doubts.append(f"{found} tissue pixels only")
    if angle < DOUBTFUL_ANGLE:
        doubts.append(f"stains {angle:.1f} degrees apart only")
    return StainFit(matrix, largest, ", ".join(doubts))
