"""The compiled loops of the stain fit and of painting, one thread each.

They are in one file because numba's cache on disk looks at the file of a function alone: a loop that called a
function of another file would go on with the old one after a change there.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np


def compiled(function: Callable, fastmath: bool | set[str] = False) -> Callable:
    """Numba's machine code of `function`, kept on disk where a cache folder is writable.

    A container under an unknown user has none; there it is compiled anew in each process.
    """
    try:
        return numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
    except RuntimeError:  # numba: "no locator available"
        return numba.njit(nogil=True, fastmath=fastmath)(function)


def summing(function: Callable) -> Callable:
    """As `compiled`, and its sums may be taken in another order: in lanes, eleven times faster.

    The order is fixed when it is compiled: it depends on the processor's kind, not on threads or on the run.
    """
    return compiled(function, fastmath={"reassoc", "nsz", "contract"})


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
    """Codes of one optical density: the non-negative LASSO of two unit atoms has a closed form.

    Choices instead of branches, so that the loops that call it work on several pixels at once.
    """
    one = r * matrix[0, 0] + g * matrix[0, 1] + b * matrix[0, 2] - penalty
    two = r * matrix[1, 0] + g * matrix[1, 1] + b * matrix[1, 2] - penalty
    first = (one - overlap * two) * scale
    second = (two - overlap * one) * scale
    one, two = one if one > 0 else 0.0, two if two > 0 else 0.0
    return (
        0.0 if first < 0 else one if second < 0 else first,
        two if first < 0 else 0.0 if second < 0 else second,
    )


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


@summing
def moments(density, weights, matrix, penalty):  # type: ignore[no-untyped-def]
    """The objective, X^T A (2, 3) and A^T A (2, 2) for densities X (3, M), weights (M,) and their best codes A."""
    overlap, scale = overlap_and_scale(matrix)
    red, green, blue = density[0], density[1], density[2]
    hr = hg = hb = er = eg = eb = hh = he = ee = objective = 0.0
    for n in range(weights.shape[0]):
        r, g, b, w = red[n], green[n], blue[n], weights[n]
        one, two = two_codes(r, g, b, matrix, overlap, scale, penalty)
        dr = r - one * matrix[0, 0] - two * matrix[1, 0]
        dg = g - one * matrix[0, 1] - two * matrix[1, 1]
        db = b - one * matrix[0, 2] - two * matrix[1, 2]
        objective += w * (0.5 * (dr * dr + dg * dg + db * db) + penalty * (one + two))
        first, second = w * one, w * two
        hr, hg, hb = hr + first * r, hg + first * g, hb + first * b
        er, eg, eb = er + second * r, eg + second * g, eb + second * b
        hh, he, ee = hh + first * one, he + first * two, ee + second * two
    return objective, np.array([[hr, hg, hb], [er, eg, eb]]), np.array([[hh, he], [he, ee]])


@compiled
def alternate(density, weights, matrix, penalty, rounds, tolerance):  # type: ignore[no-untyped-def]
    """Improve `matrix` (2, 3) in place for densities (M, 3) of weights (M,); the objective of the last round."""
    # Block updates of each atom given the other: least squares, clipped at zero, brought to length 1. Under the
    # penalty the optimum lies on the sphere: a shorter atom needs larger codes for the same picture.
    planes, before, objective, total = np.ascontiguousarray(density.T), np.inf, np.inf, weights.sum()
    for _ in range(rounds):
        objective, cross, gram = moments(planes, weights, matrix, penalty)
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


AT_ONCE = np.uint64(256)
"""Pixels that are painted together: a few kilobytes, in the nearest cache."""
THREE = np.uint64(3)


@compiled
def paint_remembering(  # type: ignore[no-untyped-def]
    flat, density, source, penalty, ratio, target, known, memory, out
):
    """As `paint`, but a colour once painted is looked up in `memory` (2^24,) uint32: 0 or `known` | colour.

    `flat` and `out` are uint8 (3 N,) and may be the same array. In `memory` colours that differ little lie together,
    in cubes of 8 x 8 x 8. Loops of one kind each, unsigned, over one axis: the compiler then makes vectors of all but the
    look-up, which halves the time.
    """
    overlap, scale = overlap_and_scale(source)
    places, colours = np.empty(AT_ONCE, np.uint32), np.empty(AT_ONCE, np.uint32)
    total = np.uint64(flat.shape[0]) // THREE
    for start in range(np.uint64(0), total, AT_ONCE):
        count = min(AT_ONCE, total - start)
        pixels = flat[THREE * start : THREE * (start + count)]
        painted = out[THREE * start : THREE * (start + count)]
        for k in range(count):
            r = np.uint32(pixels[THREE * k])
            g = np.uint32(pixels[THREE * k + np.uint64(1)])
            b = np.uint32(pixels[THREE * k + np.uint64(2)])
            cube = (r & np.uint32(248)) << np.uint32(16) | (g & np.uint32(248)) << np.uint32(11)
            cube |= (b & np.uint32(248)) << np.uint32(6)
            within = (r & np.uint32(7)) << np.uint32(6) | (g & np.uint32(7)) << np.uint32(3)
            places[k] = cube | within | b & np.uint32(7)
        all_known = known
        for k in range(count):
            colours[k] = memory[places[k]]
            all_known &= colours[k]
        if all_known == 0:
            for k in range(count):
                if colours[k] == 0:  # two threads may both fill an entry: with the same value
                    r, g, b = (
                        pixels[THREE * k],
                        pixels[THREE * k + np.uint64(1)],
                        pixels[THREE * k + np.uint64(2)],
                    )
                    colours[k] = known | _colour(
                        r, g, b, density, source, overlap, scale, penalty, ratio, target
                    )
                    memory[places[k]] = colours[k]
        for k in range(count):
            painted[THREE * k] = colours[k] >> np.uint32(16)
            painted[THREE * k + np.uint64(1)] = colours[k] >> np.uint32(8)
            painted[THREE * k + np.uint64(2)] = colours[k]
