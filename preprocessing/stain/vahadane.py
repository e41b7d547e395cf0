"""Vahadane stain normalisation: repaint a picture's two stains as a target's (Vahadane et al., IEEE TMI 35(8), 2016).

C = concentrations of the picture under its own stain matrix S (non-negative LASSO, lambda 0.01), scaled stain by
stain to the target's 99th percentile; output = 255 exp(-C S_target), truncated to uint8, as staintools 2.1.2 does.
The fit is `esad.preprocessing.stain.fit`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from esad.preprocessing.errors import EsadError, InputError
from esad.preprocessing.stain.fit import (
    CONCENTRATION_LAMBDA,
    LEAST_TISSUE,
    StainFit,
    concentrations,
    fit_objective,
    fit_stain,
    optical_density,
    tissue_mask,
)
from esad.preprocessing.stain.kernels import paint, paint_remembering

__all__ = [
    "StainFit",
    "StainMap",
    "apply_stain",
    "builtin_target",
    "concentration_ratio",
    "concentrations",
    "fit_objective",
    "fit_stain",
    "optical_density",
    "staintools_normaliser",
    "tissue_mask",
]

LARGEST_RATIO = 5.0
"""Cap on target over source concentration: near-blank sources would turn noise into stain (ratio 24 was seen)."""
REMEMBERING_PIXELS = 1 << 20
"""From this many pixels on, a table of colours already painted is faster than painting each pixel anew."""
KNOWN = np.uint32(1 << 24)


def concentration_ratio(source: StainFit, target: StainFit) -> np.ndarray:
    """Target over source 99th-percentile concentrations: (2,) float64, at most LARGEST_RATIO."""
    return np.minimum(target.max_concentration / source.max_concentration, LARGEST_RATIO)


class StainMap:
    """The map of colours from one picture's stains to the target's, which remembers the colours it has painted.

    Every pixel depends on its own colour alone, so the result is the same for any batch, order or number of
    threads; calls from several threads share the table (64 MiB of address space, filled as colours occur).
    """

    def __init__(self, source: StainFit, target: StainFit) -> None:
        """Prepare the map from `source` to `target`; nothing is computed yet."""
        self._settings = (
            optical_density(np.arange(256, dtype=np.uint8)),
            np.ascontiguousarray(source.matrix, dtype=np.float64),
            CONCENTRATION_LAMBDA,
            concentration_ratio(source, target),
            np.ascontiguousarray(target.matrix, dtype=np.float64),
        )

    @cached_property
    def _memory(self) -> np.ndarray:
        """The table; two threads may both make it, and then one of them paints its first tiles anew."""
        return np.zeros(1 << 24, dtype=np.uint32)

    def __call__(self, tiles: np.ndarray, remember: bool = True, out: np.ndarray | None = None) -> np.ndarray:
        """Repaint uint8 (..., 3) into `out`, C-contiguous and of the same shape: a new array, or `tiles` itself.

        `remember=False` computes each pixel anew.
        """
        flat = np.ascontiguousarray(tiles).reshape(-1)
        painted = np.empty(tiles.shape, dtype=np.uint8) if out is None else out
        if remember:
            paint_remembering(flat, *self._settings, KNOWN, self._memory, painted.reshape(-1))
        else:
            paint(flat.reshape(-1, 3), *self._settings, painted.reshape(-1, 3))
        return painted


def apply_stain(tiles: np.ndarray, source: StainFit, target: StainFit) -> np.ndarray:
    """Repaint uint8 (..., 3) from the source's stains to the target's: a new uint8 array of the same shape.

    Equal to staintools 2.1.2 given the same matrices and percentiles, except where the ratio of concentrations is
    above LARGEST_RATIO and is capped there. For one slide in many calls keep a `StainMap`.
    """
    return StainMap(source, target)(tiles, remember=tiles.size // 3 >= REMEMBERING_PIXELS)


def builtin_target() -> StainFit:
    """The built-in target, as stated constants.

    `fit_stain` of the panel "Target" of StainTools' sample figure (`stain/staintools_normalize_before.png`,
    BUILTIN_PANEL; MIT licence), rounded; a test fits it again where that picture is at hand.
    """
    matrix = np.array(BUILTIN_MATRIX)
    return StainFit(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.array(BUILTIN_CONCENTRATION))


BUILTIN_PANEL = (slice(92, 272), slice(225, 466))
"""Rows and columns of the panel."""
BUILTIN_MATRIX = ((0.572, 0.7796, 0.255), (0.4187, 0.8612, 0.288))
BUILTIN_CONCENTRATION = (2.0121, 1.177)


def read_picture(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of an image file; InputError where it cannot be read."""
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: not a readable picture ({error}); a stain target is an H&E image such as PNG, JPEG or TIFF."
        ) from error


def staintools_normaliser(target: np.ndarray | None) -> Callable[[np.ndarray], tuple[np.ndarray, int]]:
    """staintools itself, one fit a tile: tiles uint8 (N, H, W, 3) -> (tiles, how many it could not transform).

    `target` is a picture uint8 (H, W, 3); without one the normaliser gets the matrix and the 99th percentiles of
    `builtin_target`. Tiles that have fewer than LEAST_TISSUE tissue pixels or where staintools fails or divides by zero
    (blank, one colour) come back as they were. It takes a second a tile at least, and its random start is its own:
    results differ from run to run. Raises EsadError where staintools is not installed, InputError where the target
    cannot be fitted.
    """
    try:
        from staintools import StainNormalizer  # noqa: PLC0415  optional
        from staintools.miscellaneous.exceptions import TissueMaskException  # noqa: PLC0415
    except ImportError as error:
        raise EsadError(
            f"--stain staintools: the package cannot be imported ({error}); `make install` installs it, "
            "--stain vahadane needs no further package."
        ) from error
    failures = (TissueMaskException, ValueError, FloatingPointError, np.linalg.LinAlgError)
    normaliser = StainNormalizer(method="vahadane")
    if target is None:
        fit = builtin_target()
        normaliser.stain_matrix_target = fit.matrix
        normaliser.maxC_target = fit.max_concentration[None]
        normaliser.target_concentrations = fit.max_concentration[None]
    else:
        try:
            with _threads_put_back():
                normaliser.fit(target.copy())  # a copy: staintools writes into its input
        except failures as error:
            raise InputError(f"staintools cannot fit it as a stain target ({error}).") from error

    def transform(tiles: np.ndarray) -> tuple[np.ndarray, int]:
        out, failed = tiles.copy(), 0
        with _threads_put_back(), np.errstate(divide="raise", invalid="raise"):
            for place, tile in enumerate(tiles):
                if np.count_nonzero(tissue_mask(tile)) < LEAST_TISSUE:
                    failed += 1
                    continue
                try:
                    out[place] = normaliser.transform(tile.copy())
                except failures:
                    failed += 1
        return out, failed

    return transform


def _threads_put_back() -> threadpool_limits:
    """spams sets the number of threads of the whole process: leaving the block puts it back."""
    return threadpool_limits(os.cpu_count(), user_api="openmp")
