"""From a radiograph to its small square: which part of it, resized how. Pure.

Two resizings are in public use for NIH's 1024 x 1024 pictures (docs/explanation/protocols.md#nih-resizing):

    crop768     the central 768 of 1024 (`crop` of the shorter side), then area means down to `size`
    resize300   300 x 300 bilinear, the central 224 of it, then bilinear down to `size`: the lists' own code

Bilinear is Pillow's, whose filter widens with the reduction. A picture that is not square gives its central square
first, so that nothing is squeezed. Equalising the histogram (decisions.md#a23: off) comes after the crop,
before the last resizing, as in the lists' own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from esad.preprocessing.errors import InputError

WHOLE, INNER = 300, 224
"""Sides of resize300 in its own pixels."""


@dataclass(frozen=True)
class Squaring:
    """How a radiograph becomes uint8 (size, size); `crop` is the share of the shorter side that crop768 keeps."""

    resizing: Literal["crop768", "resize300"] = "crop768"
    crop: float = 768 / 1024
    size: int = 64
    equalise: bool = False


def central_square(shape: tuple[int, ...], crop: float) -> tuple[int, int, int]:
    """(left, top, side) of the central square whose side is `crop` times the shorter side of (H, W)."""
    side = int(min(shape[:2]) * crop + 1e-6)
    return (shape[1] - side) // 2, (shape[0] - side) // 2, side


def covered_square(shape: tuple[int, ...], how: Squaring) -> tuple[float, float, float]:
    """(left, top, side) in pixels of a radiograph (H, W) of what its small square shows."""
    if how.resizing == "crop768":
        return central_square(shape, how.crop)
    left, top, side = central_square(shape, 1.0)
    border = (WHOLE - INNER) // 2 / WHOLE * side
    return left + border, top + border, side * INNER / WHOLE


def small_square(pixels: np.ndarray, how: Squaring, name: str) -> np.ndarray:
    """uint8 (H, W) -> uint8 (size, size); InputError naming `name` where what is kept is smaller than `size`."""
    _, _, covered = covered_square(pixels.shape, how)
    if covered < how.size:
        height, width = pixels.shape
        raise InputError(
            f"{name}: {width} x {height} pixels; the central square of {int(covered)} is smaller than {how.size}."
        )
    left, top, side = central_square(pixels.shape, how.crop if how.resizing == "crop768" else 1.0)
    square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    if how.resizing == "resize300":
        start = (WHOLE - INNER) // 2
        whole = square.resize((WHOLE, WHOLE), Image.Resampling.BILINEAR)
        square = whole.crop((start, start, start + INNER, start + INNER))
    if how.equalise:
        square = ImageOps.equalize(square)
    if how.resizing == "resize300":
        return np.asarray(square.resize((how.size, how.size), Image.Resampling.BILINEAR))
    return _area_means(square, how.size)


def _area_means(square: Image.Image, size: int) -> np.ndarray:
    """By a whole factor exact means, rounded; by others Pillow's box filter, which takes a pixel whole or not at all."""
    if square.width % size == 0:
        return np.asarray(square.reduce(square.width // size))
    return np.asarray(square.resize((size, size), Image.Resampling.BOX))


def region_in_square(
    region: tuple[float, float, float, float], shape: tuple[int, ...], how: Squaring
) -> tuple[float, float, float, float] | None:
    """A box x, y, width, height of source pixels in pixels of the small square, cut to it; None if it lies outside."""
    left, top, side = covered_square(shape, how)
    scale = how.size / side
    x0, y0 = ((region[axis] - start) * scale for axis, start in ((0, left), (1, top)))
    x1, y1 = x0 + region[2] * scale, y0 + region[3] * scale
    x0, y0, x1, y1 = (min(max(value, 0.0), float(how.size)) for value in (x0, y0, x1, y1))
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None
