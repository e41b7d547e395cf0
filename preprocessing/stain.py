"""Vahadane stain normalisation with a deterministic two-stain solver (Vahadane et al., IEEE TMI 2016).

Semantics are those of staintools 2.1.2 (METHOD 6.1): optical density OD = max(-ln(I / 255), 1e-6) with I = 0 read
as 1; stain matrix S (2, 3), haematoxylin first, unit rows, not negative; concentrations C >= 0 by LASSO; output
255 exp(-C S_target) truncated to uint8. Where staintools learns the dictionary for a second of wall clock from a
random start, the fit here alternates closed forms on a colour histogram: same result every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from PIL import Image, UnidentifiedImageError

from preprocessing.errors import EsadError, InputError

DICTIONARY_LAMBDA = 0.1
CONCENTRATION_LAMBDA = 0.01
TISSUE_LUMINOSITY = 0.8
LEAST_TISSUE = 50
LEAST_ANGLE = 3.0
"""Degrees between the two stains under which they cannot be told apart."""
LARGEST_RATIO = 5.0
"""Cap on target over source concentration: near-blank sources would turn noise into stain (ratio 24 was seen)."""
START = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
"""Ruifrok's haematoxylin and eosin: where the alternation begins."""


@dataclass(frozen=True)
class StainFit:
    """`matrix` (2, 3) unit rows, haematoxylin first; `max_concentration` (2,) 99th percentiles; `guard` a warning."""

    matrix: np.ndarray
    max_concentration: np.ndarray
    guard: str = ""


def optical_density(pixels: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) -> float64 (..., 3), at least 1e-6; the input is left as it is."""
    return np.maximum(-np.log(np.maximum(pixels, 1) / 255.0), 1e-6)


def luminosity(pixels: np.ndarray) -> np.ndarray:
    """Lightness L of CIE Lab in [0, 1] of sRGB uint8 (..., 3), rounded to 255 steps as OpenCV's 8-bit Lab is."""
    share = pixels / 255.0
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    y = linear @ np.array([0.212671, 0.715160, 0.072169])
    lightness = np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)
    return np.round(lightness * 2.55) / 255


def concentrations(
    density: np.ndarray, matrix: np.ndarray, penalty: float = CONCENTRATION_LAMBDA
) -> np.ndarray:
    """Non-negative LASSO codes (N, 2) of densities (N, 3) for unit rows `matrix`, in closed form (METHOD 6.3).

    Minimises 1/2 ||x - a S||^2 + penalty ||a||_1 over a >= 0 for each row.
    """
    projected = density @ matrix.T - penalty
    overlap = float(matrix[0] @ matrix[1])
    scale = 1 / max(1 - overlap**2, 1e-12)
    first = (projected[:, 0] - overlap * projected[:, 1]) * scale
    second = (projected[:, 1] - overlap * projected[:, 0]) * scale
    only_second, only_first = first < 0, (second < 0) & (first >= 0)
    out = np.column_stack([first, second])
    out[only_second] = np.column_stack([np.zeros(only_second.sum()), projected[only_second, 1].clip(0)])
    out[only_first] = np.column_stack([projected[only_first, 0].clip(0), np.zeros(only_first.sum())])
    return out


def histogram(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct colours (M, 3) float64, means of bins of 6 bits a channel, and their counts (M,)."""
    flat = pixels.reshape(-1, 3)
    keys = ((flat >> 2).astype(np.int64) * np.array([4096, 64, 1])).sum(-1)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(inverse, flat[:, channel], len(counts)) for channel in range(3)], axis=1)
    return sums / counts[:, None], counts.astype(np.float64)


def dictionary_objective(density: np.ndarray, weights: np.ndarray, matrix: np.ndarray) -> float:
    """For unit atoms: weighted mean over pixels of 1/2 ||x - a S||^2 + 0.1 ||a||_1 at the best a >= 0."""
    codes = concentrations(density, matrix, DICTIONARY_LAMBDA)
    residual = density - codes @ matrix
    return float(np.average(0.5 * (residual**2).sum(1) + DICTIONARY_LAMBDA * codes.sum(1), weights=weights))


def learn_matrix(
    density: np.ndarray, weights: np.ndarray, rounds: int = 1000, tolerance: float = 1e-9
) -> np.ndarray:
    """The stain matrix (2, 3) that minimises `dictionary_objective`, from START, deterministic.

    Alternates the closed-form codes with block updates of each atom: the least-squares atom given the other one,
    projected to what is not negative and to the unit sphere (where the penalised optimum lies).
    """
    matrix = START / np.linalg.norm(START, axis=1, keepdims=True)
    before = np.inf
    for _ in range(rounds):
        codes = concentrations(density, matrix, DICTIONARY_LAMBDA)
        weighted = codes * weights[:, None]
        gram, cross = codes.T @ weighted, weighted.T @ density
        for _ in range(5):
            for atom in (0, 1):
                if gram[atom, atom] <= 0:
                    continue
                other = 1 - atom
                update = ((cross[atom] - gram[atom, other] * matrix[other]) / gram[atom, atom]).clip(0)
                length = np.linalg.norm(update)
                if length > 0:
                    matrix[atom] = update / length
        objective = dictionary_objective(density, weights, matrix)
        if before - objective < tolerance * max(objective, 1e-12):
            break
        before = objective
    return matrix[np.argsort(-matrix[:, 0], kind="stable")]


def fit_objective(pixels: np.ndarray, matrix: np.ndarray) -> float:
    """The dictionary objective of a stain matrix on the tissue pixels of uint8 (..., 3), pixel by pixel."""
    flat = pixels.reshape(-1, 3)
    flat = flat[luminosity(flat) < TISSUE_LUMINOSITY]
    density = optical_density(flat)
    return dictionary_objective(density, np.ones(len(flat)), matrix)


def fit_stain(pixels: np.ndarray) -> StainFit:
    """Fit stain matrix and 99th-percentile concentrations to uint8 (..., 3).

    Raises InputError where there is too little tissue or only one stain.
    """
    flat = np.ascontiguousarray(pixels).reshape(-1, 3)
    colours, counts = histogram(flat)
    tissue = luminosity(colours) < TISSUE_LUMINOSITY
    found = int(counts[tissue].sum())
    if found < LEAST_TISSUE:
        raise InputError(
            f"stain fit: {found} tissue pixels of {len(flat)}; at least {LEAST_TISSUE} are needed."
        )
    density = optical_density(colours)
    matrix = learn_matrix(density[tissue], counts[tissue])
    angle = float(np.degrees(np.arccos(np.clip(matrix[0] @ matrix[1], -1, 1))))
    if angle < LEAST_ANGLE:
        raise InputError(
            f"stain fit: the two stains differ by {angle:.1f} degrees only; the picture has one stain."
        )
    codes = concentrations(density, matrix)
    largest = np.array([_percentile(codes[:, stain], counts, 0.99) for stain in (0, 1)])
    if (largest < 1e-3).any():
        raise InputError("stain fit: one of the two stains is absent.")
    return StainFit(matrix, largest)


def _percentile(values: np.ndarray, counts: np.ndarray, share: float) -> float:
    """Percentile of values that occur `counts` times, linear as np.percentile."""
    order = np.argsort(values, kind="stable")
    last = counts[order].cumsum()
    place = share * (last[-1] - 1)
    below, above = (
        values[order[np.searchsorted(last, rank, side="right")]] for rank in (np.floor(place), np.ceil(place))
    )
    return float(below + (above - below) * (place - np.floor(place)))


def concentration_ratio(source: StainFit, target: StainFit) -> np.ndarray:
    """Target over source concentrations (2,), at most LARGEST_RATIO."""
    return np.minimum(target.max_concentration / source.max_concentration, LARGEST_RATIO)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _apply(  # type: ignore[no-untyped-def]
    flat, density, source, ratio, target, out
):
    overlap = source[0, 0] * source[1, 0] + source[0, 1] * source[1, 1] + source[0, 2] * source[1, 2]
    scale = 1.0 / max(1.0 - overlap * overlap, 1e-12)
    for n in range(flat.shape[0]):
        r, g, b = density[flat[n, 0]], density[flat[n, 1]], density[flat[n, 2]]
        one = source[0, 0] * r + source[0, 1] * g + source[0, 2] * b - 0.01
        two = source[1, 0] * r + source[1, 1] * g + source[1, 2] * b - 0.01
        first = (one - overlap * two) * scale
        second = (two - overlap * one) * scale
        if first < 0:
            first, second = 0.0, max(two, 0.0)
        elif second < 0:
            first, second = max(one, 0.0), 0.0
        first *= ratio[0]
        second *= ratio[1]
        for channel in range(3):
            out[n, channel] = np.uint8(
                255.0 * np.exp(-(first * target[0, channel] + second * target[1, channel]))
            )


def apply_stain(tiles: np.ndarray, source: StainFit, target: StainFit) -> np.ndarray:
    """Repaint uint8 (..., 3) from the source's stains to the target's; same shape, truncated as staintools does."""
    flat = np.ascontiguousarray(tiles).reshape(-1, 3)
    out = np.empty_like(flat)
    density = optical_density(np.arange(256, dtype=np.uint8))
    _apply(flat, density, source.matrix, concentration_ratio(source, target), target.matrix, out)
    return out.reshape(tiles.shape)


def builtin_target() -> StainFit:
    """The built-in target, as stated constants.

    Fitted with `fit_stain` to `stain/staintools_normalize_before.png` (StainTools' sample H&E, MIT licence); a test
    fits it again where that picture is at hand.
    """
    matrix = np.array(BUILTIN_MATRIX)
    return StainFit(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.array(BUILTIN_CONCENTRATION))


BUILTIN_MATRIX = ((0.5972, 0.5947, 0.5382), (0.4363, 0.8946, 0.0966))
BUILTIN_CONCENTRATION = (0.8713, 1.3437)


def read_picture(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of an image file; InputError where it cannot be read."""
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable picture for a stain target ({error}).") from error


def target_from_image(path: Path) -> StainFit:
    """The stains of an image file, to normalise towards."""
    try:
        return fit_stain(read_picture(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def staintools_transform(tiles: np.ndarray, target: Path | None) -> tuple[np.ndarray, int]:
    """Tiles uint8 (N, H, W, 3) through staintools itself, one fit a tile, and how many it could not transform.

    Tiles on which staintools fails (blank ones) come back as they were. One second a tile at least (MEASURED).
    Raises EsadError where staintools is not installed.
    """
    try:
        from staintools import StainNormalizer  # noqa: PLC0415  optional
        from staintools.miscellaneous.exceptions import TissueMaskException  # noqa: PLC0415
    except ImportError as error:
        raise EsadError(
            "--stain staintools: the package is not installed; `make install` installs it."
        ) from error
    normaliser = StainNormalizer(method="vahadane")
    if target is not None:
        normaliser.fit(read_picture(target).copy())
    else:
        fit = builtin_target()
        normaliser.stain_matrix_target = fit.matrix
        normaliser.maxC_target = fit.max_concentration[None]
        normaliser.target_concentrations = fit.max_concentration[None]
    out, failed = tiles.copy(), 0
    for place, tile in enumerate(tiles):
        try:
            out[place] = normaliser.transform(tile.copy())
        except (TissueMaskException, ValueError, FloatingPointError, np.linalg.LinAlgError):
            failed += 1
    return out, failed
