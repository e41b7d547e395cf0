"""Where tissue is on a thumbnail, and why the rest is not. Pure."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from esad.preprocessing.stain.kernels import compiled
from esad.preprocessing.tissue.glass import find_glass
from esad.preprocessing.tissue.ink import find_ink
from esad.preprocessing.tissue.morphology import grown, holes, parts_with, shrunk

STAINED = 0.035
"""Least difference of two channels' optical densities that is a stain's colour and not glass."""
MOST_STAINED = 0.1
"""The same on the noisiest slides."""
NOISE = 2.5
"""How often its noise a difference must be."""
EVEN = 0.12
"""Share of a pixel's optical density up to which such a difference is still grey."""
SHADOW = 0.1
"""Least optical density of dust, edges and rims."""
UNLIT = 2.1
"""Optical density of all channels from which a pixel has seen no light."""
HOLE_UM = 100.0
"""Glass enclosed by tissue up to this wide (a fat cell, a vessel) belongs to it."""
HOLE_PIXELS = 8
"""The same in thumbnail pixels, where their size is not known."""


class Kind(IntEnum):
    """What a thumbnail pixel shows."""

    GLASS = 0
    TISSUE = 1
    INK = 2
    """A pen mark on the glass or over tissue; black ones, and rims of bubbles as dark as they."""
    BLACK = 3
    """No light: borders of the scan, gaps between its parts."""
    GREY = 4
    """Absorbs without a stain's colour: dust, fibres, edges of the cover slip, rims of bubbles, pencil."""


GLASS, STAIN, DARK, DULL = int(Kind.GLASS), int(Kind.TISSUE), int(Kind.BLACK), int(Kind.GREY)


@compiled
def _densities(thumbnail, coefficients, logs, out):  # type: ignore[no-untyped-def]
    """Optical density against the glass into float32 `out` (h, w, 3)."""
    height, width = thumbnail.shape[:2]
    for row in range(height):
        y = (2 * row + 1) / height - 1
        for channel in range(3):
            c = coefficients[channel]
            start, slope, bend = c[0] + c[2] * y + c[5] * y * y, c[1] + c[4] * y, c[3]
            for column in range(width):
                x = (2 * column + 1) / width - 1
                glass = start + (slope + bend * x) * x
                out[row, column, channel] = max(glass - logs[thumbnail[row, column, channel]], 0.0)


@compiled
def _sort(density, threshold, even, shadow, unlit, mean, out):  # type: ignore[no-untyped-def]
    """Means of 3 x 3 densities into `mean` (h, w, 3), and the kind that they and the pixel's own tell into `out` (h, w)."""
    height, width = density.shape[:2]
    three = np.empty((width, 3), dtype=np.float32)
    for row in range(height):
        above, below = density[max(row - 1, 0)], density[min(row + 1, height - 1)]
        for column in range(width):
            for channel in range(3):
                three[column, channel] = (
                    above[column, channel] + density[row, column, channel] + below[column, channel]
                )
        for column in range(width):
            left, right = three[max(column - 1, 0)], three[min(column + 1, width - 1)]
            for channel in range(3):
                mean[row, column, channel] = (left[channel] + three[column, channel] + right[channel]) / 9
            r, g, b = mean[row, column]
            own = density[row, column]
            high, low = max(r, g, b), min(r, g, b)
            if low > unlit:
                out[row, column] = DARK
            elif high - low <= max(threshold, even * high):
                out[row, column] = DULL if high > shadow else GLASS
            elif max(own[0], own[1], own[2]) - min(own[0], own[1], own[2]) < threshold / 2:
                out[row, column] = GLASS  # coloured by its neighbours alone
            else:
                out[row, column] = STAIN


LOGS = np.log(np.maximum(np.arange(256), 1)).astype(np.float32)


def tissue_mask(thumbnail: np.ndarray, mpp: float | None = None) -> np.ndarray:
    """Bool (h, w): where `tissue_kinds` finds tissue on an RGB thumbnail uint8 (h, w, 3)."""
    return tissue_kinds(thumbnail, mpp) == Kind.TISSUE


def tissue_kinds(thumbnail: np.ndarray, mpp: float | None = None) -> np.ndarray:
    """What each pixel of an RGB thumbnail uint8 (h, w, 3) of an H&E slide shows: `Kind` as int8 (h, w).

    Tissue absorbs some colours more than others, compared with the slide's own glass: neither pale stain nor a tint or
    shade of the glass matters. Pen marks go, with the tissue under them. Holes up to HOLE_UM are tissue, specks under
    3 x 3 pixels are not. A thumbnail all in grey (a monochrome scan) has tissue wherever it absorbs.
    `mpp` are microns a thumbnail pixel; where it is None holes up to HOLE_PIXELS are tissue.
    """
    glass = find_glass(thumbnail)
    density = np.empty(thumbnail.shape, dtype=np.float32)
    _densities(np.ascontiguousarray(thumbnail), glass.coefficients, LOGS, density)
    mean, kinds = np.empty_like(density), np.empty(thumbnail.shape[:2], dtype=np.int8)
    threshold = min(max(STAINED, NOISE * glass.noise), MOST_STAINED)
    _sort(density, threshold, EVEN, SHADOW, UNLIT, mean, kinds)
    if _is_monochrome(thumbnail):
        kinds[kinds == Kind.GREY] = Kind.TISSUE
    else:
        absorbing = (kinds == Kind.TISSUE) | (kinds == Kind.GREY)
        ink = find_ink(mean, absorbing)
        kinds[grown(ink | grown(shrunk(kinds == Kind.BLACK))) & absorbing] = (
            Kind.INK
        )  # their edges are mixed colours
    widest = HOLE_UM / mpp if mpp else HOLE_PIXELS
    tissue = _one_piece(kinds == Kind.TISSUE, (kinds == Kind.GLASS) | (kinds == Kind.GREY), widest)
    kinds[(kinds == Kind.TISSUE) & ~tissue] = Kind.GLASS
    kinds[tissue] = Kind.TISSUE
    return kinds


def _is_monochrome(thumbnail: np.ndarray) -> bool:
    """Whether the three channels are one picture; the glass of a colour scan differs by its noise alone."""
    red, green, blue = (thumbnail[..., channel] for channel in range(3))
    return bool((red == green).all() and (green == blue).all())


def _one_piece(tissue: np.ndarray, free: np.ndarray, widest: float) -> np.ndarray:
    """`tissue` with its gaps of a pixel and holes up to `widest` pixels filled where they are `free`, without specks."""
    closed = tissue | (shrunk(grown(tissue)) & free)
    filled = closed | (holes(closed, np.pi / 4 * widest**2) & free)
    return parts_with(filled, shrunk(filled))


def box_fractions(mask: np.ndarray, boxes: np.ndarray, downsample: float) -> np.ndarray:
    """Share of `mask` inside each box, float (N,); boxes (N, 4) x, y, width, height in level-0 pixels.

    `downsample` are level-0 pixels a mask pixel; a box smaller than a mask pixel takes that pixel.
    """
    integral = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    left, top = (np.floor(boxes[:, axis] / downsample).astype(int) for axis in (0, 1))
    right = np.maximum(np.ceil((boxes[:, 0] + boxes[:, 2]) / downsample).astype(int), left + 1)
    bottom = np.maximum(np.ceil((boxes[:, 1] + boxes[:, 3]) / downsample).astype(int), top + 1)
    height, width = mask.shape
    left, right = left.clip(0, width - 1), right.clip(1, width)
    top, bottom = top.clip(0, height - 1), bottom.clip(1, height)
    sums = integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]
    return sums / ((right - left) * (bottom - top))
