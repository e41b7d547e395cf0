"""The Vahadane variant that the paper's Camelyon16 tiles went through, of the repository called DPA.

docs/explanation/protocols.md#camelyon16-stain has its steps.
Unlike `esad.preprocessing.stain.vahadane`: brightness is standardised first, in the target and in every picture; optical density has
no floor; concentrations are not scaled to the target's. Each 40x tile of 768 pixels has its own fit. The original
stores its tiles as JPEG three times on the way; here nothing is compressed.
"""

from __future__ import annotations

import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.stain.fit import (
    CONCENTRATION_LAMBDA,
    PERCENTILE,
    concentrations,
    optical_density,
    refuse_absent,
    tissue_matrix,
)
from esad.preprocessing.stain.kernels import paint

BRIGHT_PERCENTILE = 90
"""Percentile of all channel values that becomes 255."""
NO_FLOOR = 0.0
BUILTIN_MATRIX = ((0.554, 0.8099, 0.1928), (0.3449, 0.9245, 0.1625))
"""`fit_matrix` of the picture of `stain.builtin_target`, rounded; a test fits it again where that is at hand."""


def brightness_percentile(pixels: np.ndarray) -> float:
    """BRIGHT_PERCENTILE of all values of uint8 (..., 3), to the bit that of np.percentile (linear), by counting."""
    below = np.cumsum(np.bincount(pixels.reshape(-1), minlength=256))
    place = (below[-1] - 1) * (BRIGHT_PERCENTILE / 100)
    share = place - np.floor(place)
    low, high = (int(np.searchsorted(below, np.floor(place) + step, side="right")) for step in (0, 1))
    if share == 0:
        return float(low)
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def standardise_brightness(pixels: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) scaled so that BRIGHT_PERCENTILE of all its channel values is 255: a new array, truncated, clipped.

    Raises InputError where that percentile is 0 (black) or there is no pixel.
    """
    bright = brightness_percentile(pixels) if pixels.size else 0.0
    if not bright:
        raise InputError(
            f"brightness: the {BRIGHT_PERCENTILE}th percentile of {pixels.size // 3} pixels is 0; the picture is black."
        )
    return np.clip(np.arange(256) * 255.0 / bright, 0, 255).astype(np.uint8)[pixels]


def fit_matrix(standardised: np.ndarray) -> np.ndarray:
    """Stain matrix (2, 3) float64 of uint8 (..., 3) of standardised brightness: unit rows, haematoxylin first.

    Raises InputError where it is ill-conditioned: too little tissue or too like stains (`tissue_matrix`), or a stain
    that less than one in a hundred tissue pixels has.
    """
    flat = np.ascontiguousarray(standardised).reshape(-1, 3)
    matrix, density, weights = tissue_matrix(flat, NO_FLOOR)
    refuse_absent(weighted_percentile(concentrations(density, matrix), weights))
    return matrix


def weighted_percentile(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The least value that PERCENTILE of the weight (M,) does not exceed, for each column of `codes` (M, 2): (2,)."""
    wanted, out = PERCENTILE / 100 * weights.sum(), np.empty(codes.shape[1])
    for column, values in enumerate(codes.T):
        order = np.argsort(values, kind="stable")
        out[column] = values[order[np.searchsorted(np.cumsum(weights[order]), wanted)]]
    return out


def repaint(standardised: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) of standardised brightness from the stains `source` to `target` (2, 3): a new uint8 array.

    255 exp(-C target), truncated, where C are the concentrations under `source` (lambda 0.01).
    """
    flat = np.ascontiguousarray(standardised).reshape(-1, 3)
    density, out = optical_density(np.arange(256, dtype=np.uint8), NO_FLOOR), np.empty_like(flat)
    source, target = (np.ascontiguousarray(matrix, dtype=np.float64) for matrix in (source, target))
    paint(flat, density, source, CONCENTRATION_LAMBDA, np.ones(2), target, out)
    return out.reshape(standardised.shape)


def typical_matrix(matrices: np.ndarray) -> np.ndarray:
    """The median of stain matrices (N, 2, 3), number by number, its rows of length 1 again: (2, 3)."""
    median = np.median(matrices, axis=0)
    return median / np.linalg.norm(median, axis=1, keepdims=True)


def builtin_matrix() -> np.ndarray:
    """The built-in stains to paint with, (2, 3), unit rows."""
    matrix = np.array(BUILTIN_MATRIX)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
