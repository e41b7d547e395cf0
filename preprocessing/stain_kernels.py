"""The compiled loops of the stain fit and of painting, one thread each.

They are in one file because numba's cache on disk looks at the file of a function alone: a loop that called a
function of another file would go on with the old one after a change there.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np


def compiled(function: Callable) -> Callable:
    """Numba's machine code of `function`, kept on disk where a cache folder is writable.

    A container under an unknown user has none; there it is compiled anew in each process.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available"
        return numba.njit(nogil=True)(function)


@compiled
def add_to_histogram(flat, luminance, threshold, counts, sums):  # type: ignore[no-untyped-def]
    """Add the tissue of uint8 `flat` (N, 3) to `counts` (2^18,) and `sums` (2^18, 3): bins of 6 bits a channel."""
    for n in range(flat.shape[0]):
        r, g, b = flat[n, 0], flat[n, 1], flat[n, 2]
        if luminance[0, r] + luminance[1, g] + luminance[2, b] < threshold:
            place = (np.int64(r) >> 2) << 12 | (np.int64(g) >> 2) << 6 | np.int64(b) >> 2
            counts[place] += 1
            sums[place, 0] += r
            sums[place, 1] += g
            sums[place, 2] += b


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
def density_codes(density, matrix, penalty, out):  # type: ignore[no-untyped-def]
    """Codes `out` (2, N) of optical densities (N, 3)."""
    overlap, scale = overlap_and_scale(matrix)
    for n in range(density.shape[0]):
        out[0, n], out[1, n] = two_codes(
            density[n, 0], density[n, 1], density[n, 2], matrix, overlap, scale, penalty
        )


@compiled
def pixel_codes(flat, density, matrix, penalty, out):  # type: ignore[no-untyped-def]
    """Codes `out` (2, N) of uint8 `flat` (N, 3); `density` (256,) is the optical density of each level."""
    overlap, scale = overlap_and_scale(matrix)
    for n in range(flat.shape[0]):
        r, g, b = density[flat[n, 0]], density[flat[n, 1]], density[flat[n, 2]]
        out[0, n], out[1, n] = two_codes(r, g, b, matrix, overlap, scale, penalty)


@compiled
def alternate(density, weights, matrix, penalty, rounds, tolerance):  # type: ignore[no-untyped-def]
    """Improve `matrix` (2, 3) in place for densities (M, 3) of weights (M,); the objective of the last round."""
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


@compiled
def _colour(r, g, b, density, source, overlap, scale, penalty, ratio, target):  # type: ignore[no-untyped-def]
    """One repainted colour, as red << 16 | green << 8 | blue."""
    first, second = two_codes(density[r], density[g], density[b], source, overlap, scale, penalty)
    first *= ratio[0]
    second *= ratio[1]
    out = np.uint32(0)
    for channel in range(3):
        value = 255.0 * np.exp(-(first * target[0, channel] + second * target[1, channel]))
        out = out << np.uint32(8) | np.uint32(value)
    return out


@compiled
def paint(flat, density, source, penalty, ratio, target, out):  # type: ignore[no-untyped-def]
    """Repaint uint8 `flat` (N, 3) into `out`, each pixel anew."""
    overlap, scale = overlap_and_scale(source)
    for n in range(flat.shape[0]):
        colour = _colour(
            flat[n, 0], flat[n, 1], flat[n, 2], density, source, overlap, scale, penalty, ratio, target
        )
        out[n, 0], out[n, 1], out[n, 2] = colour >> 16 & 255, colour >> 8 & 255, colour & 255


@compiled
def paint_remembering(  # type: ignore[no-untyped-def]
    flat, density, source, penalty, ratio, target, known, memory, out
):
    """As `paint`, but a colour once painted is looked up in `memory` (2^24,) uint32: 0 or `known` | colour."""
    overlap, scale = overlap_and_scale(source)
    for n in range(flat.shape[0]):
        r, g, b = flat[n, 0], flat[n, 1], flat[n, 2]
        place = np.uint32(r) << 16 | np.uint32(g) << 8 | np.uint32(b)
        colour = memory[place]
        if colour == 0:  # two threads may both fill an entry: with the same value
            colour = known | _colour(r, g, b, density, source, overlap, scale, penalty, ratio, target)
            memory[place] = colour
        out[n, 0], out[n, 1], out[n, 2] = colour >> 16 & 255, colour >> 8 & 255, colour & 255
