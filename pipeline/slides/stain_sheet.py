"""Sample tiles of a slide before and after stain normalisation, side by side, for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SAMPLES = 8
CELL = 128
"""Most pixels of a tile's side on the sheet: larger tiles are reduced by a whole factor."""
GAP = 4
MARGIN = 48
"""Pixels at the left, with the names of the two rows."""


def sample_places(count: int) -> np.ndarray:
    """Up to SAMPLES places, evenly over `count` tiles in their order: (n,) int64, the middles of equal parts."""
    import numpy as np

    samples = min(SAMPLES, count)
    return ((np.arange(samples) + 0.5) * count / max(samples, 1)).astype(np.int64)


def stain_sheet(before: np.ndarray, after: np.ndarray) -> Image.Image:
    """The tiles `before` above the same tiles `after`: uint8 (n, H, W, 3) each, n >= 1 -> an RGB picture."""
    from PIL import Image, ImageDraw, ImageFont

    shown = [_cells(tiles) for tiles in (before, after)]
    side = shown[0][0].width
    sheet = Image.new("RGB", (MARGIN + len(before) * (side + GAP), 2 * (side + GAP) - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, (name, cells) in enumerate(zip(("before", "after"), shown, strict=True)):
        top = row * (side + GAP)
        pen.text((GAP, top + side // 2), name, fill="black", font=font, anchor="lm")
        for column, cell in enumerate(cells):
            sheet.paste(cell, (MARGIN + column * (side + GAP), top))
    return sheet


def _cells(tiles: np.ndarray) -> list[Image.Image]:
    from PIL import Image

    factor = -(-tiles.shape[1] // CELL)
    return [Image.fromarray(tile).reduce(factor) for tile in tiles]
