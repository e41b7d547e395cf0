"""From level pixels to tile pixels: exact area means. Pure."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from esad.preprocessing.stain.kernels import compiled

LARGE_FACTOR = 64
"""Beyond it one sum over the blocks is faster than one over each of factor² pictures."""


def reduce_whole(picture: np.ndarray, factor: int) -> np.ndarray:
    """Mean of factor x factor pixels, rounded half up: uint8 (H, W, C) -> uint8 (ceil(H / f), ceil(W / f), C).

    An incomplete last row or column of blocks counts its edge pixels again.
    """
    if factor == 1:
        return np.ascontiguousarray(picture)
    down, across = -picture.shape[0] % factor, -picture.shape[1] % factor
    if down or across:
        picture = np.pad(picture, ((0, down), (0, across), (0, 0)), mode="edge")
    rows, columns = picture.shape[0] // factor, picture.shape[1] // factor
    if factor > LARGE_FACTOR:
        blocks = picture.reshape(rows, factor, columns, factor, -1)
        sums = blocks.sum((1, 3), dtype=np.uint64)
    else:
        sums = np.zeros((rows, columns, picture.shape[2]), dtype=np.uint16 if factor <= 11 else np.uint64)
        for top in range(factor):
            for left in range(factor):
                sums += picture[top::factor, left::factor]
    area = factor**2  # 2 * 255 * 11² + 11² is the largest that 16 bits hold
    return ((2 * sums + sums.dtype.type(area)) // sums.dtype.type(2 * area)).astype(np.uint8)


@lru_cache(maxsize=4096)
def area_weights(offset: float, reduction: float, count: int, length: int) -> np.ndarray:
    """float64 (count, length): the share of each of `length` pixels in each of `count` cells of `reduction` pixels.

    The first cell begins at `offset`; every row sums to 1 where the cells lie within the pixels.
    """
    edges = offset + reduction * np.arange(count + 1)[:, None]
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return overlap.clip(0) / reduction


def resample_area(
    picture: np.ndarray, left: float, top: float, tile_size: int, reduction: float
) -> np.ndarray:
    """Exact area means of cells of reduction x reduction pixels from (left, top): uint8 (tile_size, tile_size, 3).

    Fractions of a pixel count by their area (Pillow's box filter takes a pixel whole or not at all); rounded half up.
    """
    x, y = int(left), int(top)
    side = int(np.ceil(tile_size * reduction)) + 1
    piece = picture[y : y + side, x : x + side].astype(np.float64)
    down = area_weights(round(top - y, 9), reduction, tile_size, piece.shape[0])
    across = area_weights(round(left - x, 9), reduction, tile_size, piece.shape[1])
    rows = np.tensordot(down, piece, axes=(1, 0))
    return np.floor(np.matmul(across, rows) + 0.5).clip(0, 255).astype(np.uint8)


def cut_tiles(
    block: np.ndarray, lefts: np.ndarray, tops: np.ndarray, factor: int, places: np.ndarray, out: np.ndarray
) -> None:
    """Cut tiles from `block` (H, W, 3) at pixels (`lefts`, `tops`) into `out` (N, side, side, 3) at `places`.

    Each tile covers side * `factor` pixels and is reduced as `reduce_whole` does. uint8, C-contiguous `out`; releases
    the GIL.
    """
    rows = np.ascontiguousarray(block).reshape(block.shape[0], -1)
    _cut(rows, lefts, tops, factor, places, out.reshape(len(out), out.shape[1], -1))


@compiled
def _cut(rows, lefts, tops, factor, places, out):  # type: ignore[no-untyped-def]
    """`rows` (H, 3 W) and `out` (N, side, 3 side): the three channels of a pixel lie beside each other.

    Indices are unsigned: with signed ones numba looks for negative values, and the copy is five times slower.
    """
    side, length, step = np.uint64(out.shape[1]), np.uint64(out.shape[2]), np.uint64(factor)
    three, area = np.uint64(3), factor * factor
    for n in range(places.shape[0]):
        place, first, left = np.uint64(places[n]), np.uint64(tops[n]), three * np.uint64(lefts[n])
        for row in range(side):
            top = first + np.uint64(row) * step
            if factor == 1:
                for k in range(length):
                    out[place, np.uint64(row), np.uint64(k)] = rows[top, left + np.uint64(k)]
            else:
                for k in range(length):
                    pixel, channel = np.uint64(k) // three, np.uint64(k) % three
                    start = left + pixel * three * step + channel
                    total = 0
                    for i in range(step):
                        for j in range(step):
                            total += rows[top + np.uint64(i), start + three * np.uint64(j)]
                    out[place, np.uint64(row), np.uint64(k)] = (2 * total + area) // (2 * area)
