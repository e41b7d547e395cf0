"""A slide's thumbnail with its tissue mask drawn: what is tissue, what is not and why, and which tiles were kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from esad.preprocessing.tissue.mask import Kind
from esad.preprocessing.tissue.morphology import shrunk

Colour = tuple[int, int, int]

OUTLINE: Colour = (0, 140, 0)
TINTS: dict[Kind, tuple[Colour, str]] = {
    Kind.INK: ((255, 150, 0), "ink"),
    Kind.BLACK: ((200, 0, 0), "borders and gaps"),
    Kind.GREY: ((0, 110, 255), "dust, edges, bubbles"),
}
"""Colour and meaning. No meaning names a colour: beside a square of another one it would be read as that square's."""
LOST: tuple[Colour, str] = ((200, 0, 200), "unreadable")
BLURRED: tuple[Colour, str] = ((0, 190, 190), "blurred tiles")
TINT_SHARE, GRID_SHARE = 0.6, 0.35
LEAST_TILE = 6
"""Thumbnail pixels that a tile must span for its border to be drawn."""
PNG_LEVEL = 1
"""Noise hardly compresses: the fastest level gives files as small as the slowest, in half the time."""
LEGEND_HEIGHT, LEGEND_TEXT = 18, 12


@dataclass(frozen=True)
class Overview:
    """A thumbnail uint8 (h, w, 3), what each pixel shows (`esad.preprocessing.tissue.mask.Kind`, int8 (h, w)), and bool (h, w) where
    the slide could not be read; `downsample` level-0 pixels a thumbnail pixel."""

    thumbnail: np.ndarray
    kinds: np.ndarray
    lost: np.ndarray
    downsample: float


def mask_picture(overview: Overview, kept: np.ndarray, blurred: np.ndarray) -> np.ndarray:
    """The overview with its tissue outlined, the rest tinted by kind, and a legend below: uint8 (h + LEGEND_HEIGHT, w, 3).

    `kept` and `blurred` are boxes (N, 4) x, y, width, height in level-0 pixels: tiles in the store, and tiles left out for
    their sharpness. Kept ones get a faint border where they are large enough to be told apart.
    """
    picture = overview.thumbnail.copy()
    used: list[tuple[Colour, str]] = [(OUTLINE, "tissue")]
    marks = [(overview.kinds == kind, look) for kind, look in TINTS.items()]
    marks += [(overview.lost, LOST), (_covered(overview, blurred), BLURRED)]
    for where, look in marks:
        if where.any():
            _blend(picture, where, look[0], TINT_SHARE)
            used.append(look)
    _blend(picture, _borders(overview, kept), OUTLINE, GRID_SHARE)
    tissue = overview.kinds == Kind.TISSUE
    picture[tissue & ~shrunk(tissue)] = OUTLINE
    return np.concatenate([picture, _legend(used, picture.shape[1])])


def write_pictures(
    root: Path, number: int, overview: Overview, kept: np.ndarray, blurred: np.ndarray
) -> dict[str, str]:
    """Write the bare thumbnail and the mask's picture of slide `number`; their columns of sources.parquet."""
    from PIL import Image

    from esad.preprocessing.store.store import write_atomically

    columns = {"thumbnail": f"thumbnails/{number:05d}.png", "mask_picture": f"masks/{number:05d}.png"}
    pictures = (overview.thumbnail, mask_picture(overview, kept, blurred))
    for path, picture in zip(columns.values(), pictures, strict=True):
        write_atomically(root / path, partial(Image.fromarray(picture).save, compress_level=PNG_LEVEL))
    return columns


def _blend(picture: np.ndarray, where: np.ndarray, colour: Colour, share: float) -> None:
    picture[where] = (1 - share) * picture[where] + share * np.array(colour)


def _corners(overview: Overview, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Left and top (N,) of boxes of one size in thumbnail pixels, and their side."""
    left, top = np.floor(boxes[:, :2] / overview.downsample).astype(int).T
    return left, top, max(1, round(float(boxes[0, 2]) / overview.downsample))


def _covered(overview: Overview, boxes: np.ndarray) -> np.ndarray:
    where = np.zeros(overview.kinds.shape, dtype=bool)
    if len(boxes):
        left, top, side = _corners(overview, boxes)
        for x, y in zip(left, top, strict=True):
            where[y : y + side, x : x + side] = True
    return where


def _borders(overview: Overview, boxes: np.ndarray) -> np.ndarray:
    height, width = overview.kinds.shape
    where = np.zeros((height, width), dtype=bool)
    if len(boxes):
        left, top, side = _corners(overview, boxes)
        if side >= LEAST_TILE:
            along = np.arange(side + 1)
            for down, across in (
                (0 * along, along),
                (side + 0 * along, along),
                (along, 0 * along),
                (along, side + 0 * along),
            ):
                where[
                    (top[:, None] + down).clip(0, height - 1), (left[:, None] + across).clip(0, width - 1)
                ] = True
    return where


def _legend(used: list[tuple[Colour, str]], width: int) -> np.ndarray:
    """Squares of colour and what they mean, from the left; what does not fit is cut off."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width, LEGEND_HEIGHT), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(LEGEND_TEXT)
    x = 4
    for colour, meaning in used:
        pen.rectangle((x, 4, x + 9, 13), fill=colour)
        pen.text((x + 14, LEGEND_HEIGHT // 2), meaning, fill="black", font=font, anchor="lm")
        x += 26 + round(pen.textlength(meaning, font=font))
    return np.asarray(strip)
