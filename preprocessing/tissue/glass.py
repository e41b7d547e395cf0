"""The colour of bare glass on a thumbnail, and how it varies over the slide with the illumination. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 8
"""Side of the blocks, in thumbnail pixels, whose means are looked at: JPEG's own blocks."""
FLAT = 3.0
"""Grey levels of spread within a block up to which it may be bare glass."""
VOID = 253
"""From this level on in all channels a block may be the filling of what was never scanned, not glass."""
DIMMEST = 90
"""Grey level under which nothing is glass."""
DIMMEST_GUESS = 200
"""The same where no glass is seen."""
MOST_MAGENTA = 0.1
"""Optical density by which glass may absorb more in green than in red and blue; more is pale tissue."""
LEAST_GLASS = 0.15
"""Share of the blocks that must be glass for its illumination to be followed."""
MOST_SHADE = 0.25
"""Optical density by which the illumination may differ from the glass's own colour."""


@dataclass(frozen=True)
class Glass:
    """Log intensity of glass: `coefficients` float64 (3, 6) of 1, x, y, x², xy, y² with x, y from -1 to 1.

    `noise` is the spread of bare glass, as optical density; `seen` is False where the thumbnail shows no glass and
    its colour is a guess.
    """

    coefficients: np.ndarray
    noise: float
    seen: bool


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _blocks(thumbnail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour float64 (M, N, 3) of each block, and spread (M, N) of its green channel; whole blocks only."""
    height, width = thumbnail.shape[:2]
    side = int(np.clip(min(height, width) // 8, 1, BLOCK))
    rows, columns = height // side, width // side
    parts = thumbnail[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    sums = parts.sum(1, dtype=np.uint16).sum(2, dtype=np.uint32)
    green = parts[..., 1].astype(np.uint16)
    squares = (green * green).sum(1, dtype=np.uint32).sum(2, dtype=np.uint32)
    mean = sums / side**2
    return mean, np.sqrt((squares / side**2 - mean[..., 1] ** 2).clip(0))


def find_glass(thumbnail: np.ndarray) -> Glass:
    """The glass of an RGB thumbnail uint8 (h, w, 3): the brightest flat colour that is not magenta.

    Where none is seen (tissue all over) glass is taken to be grey and as bright as the brightest channel. Where there is
    much of it, a quadratic surface follows the illumination.
    """
    mean, spread = _blocks(thumbnail)
    lowest = mean.min(-1)
    flat = (spread <= FLAT) & (lowest >= DIMMEST)
    lit = flat & (lowest < VOID)
    if lit.sum() >= max(3, 0.02 * flat.size):  # else the glass itself is overexposed
        flat = lit
    if flat.sum() < 3:
        return _guess(mean)
    magenta = np.log(np.minimum(mean[..., 0], mean[..., 2]).clip(1) / mean[..., 1].clip(1))
    near = flat & (lowest > 0.8 * np.percentile(lowest[flat], 98))
    near &= magenta < np.percentile(magenta[near], 5) + 0.03  # pale tissue is more magenta than its glass
    colour = np.percentile(mean[near], 90, axis=0)
    # a little of it may be the lightest tissue of a slide without glass: then it must be all but grey
    if np.log(min(colour[0], colour[2]) / colour[1]) > (MOST_MAGENTA if near.mean() > 0.1 else 0.01):
        return _guess(mean)
    noise = float(np.median(spread[near]) / colour[1])
    return Glass(_surface(mean, near, np.log(colour)), noise, True)


def _guess(mean: np.ndarray) -> Glass:
    coefficients = np.zeros((3, 6))
    coefficients[:, 0] = np.log(max(float(np.percentile(mean.max(-1), 99.5)), DIMMEST_GUESS))
    return Glass(coefficients, 0.0, False)


def _surface(mean: np.ndarray, near: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Coefficients (3, 6) fitted to the log colours of those `near` blocks that differ from `colour` in brightness only."""
    constant = np.zeros((3, 6))
    constant[:, 0] = colour
    difference = np.log(mean.clip(1)) - colour
    tint = difference.max(-1) - difference.min(-1)
    used = near & (tint < 0.05) & (np.abs(difference).max(-1) < MOST_SHADE)
    if used.sum() < max(24, LEAST_GLASS * used.size):
        return constant
    y, x = ((2 * places + 1) / size - 1 for places, size in zip(np.nonzero(used), used.shape, strict=True))
    if min(np.ptp(x), np.ptp(y)) < 1:
        return constant
    terms = _terms(x, y)
    # plain sums, not BLAS: the same bits whatever the number of threads
    normal = np.einsum("in,jn->ij", terms, terms) / len(x) + np.diag([0, *[1e-3] * 5])
    wanted = np.einsum("in,nc->ic", terms, difference[used]) / len(x)
    return constant + np.linalg.solve(normal, wanted).T
