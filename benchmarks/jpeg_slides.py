"""Made-up slides for the benchmarks: JPEG tiles (4:2:0) of drawn tissue, in a TIFF pyramid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tifffile

from esad.pipeline.synthesis.slides import draw_slide

SIDE = 512


def tissue_tiles(count: int, drawn: int = 6144) -> np.ndarray:
    """uint8 (count, SIDE, SIDE, 3) at 1 um a pixel, from the middles of slides drawn with `drawn` pixels of 0.5 um.

    6144 gives 16 tiles a slide, 2048 one.
    """
    pieces: list[np.ndarray] = []
    half = drawn // 2
    across = max(1, half // SIDE * 2 // 3)
    start = (half - across * SIDE) // 2
    places = range(start, start + across * SIDE, SIDE)
    seed = 0
    while len(pieces) < count:
        picture, _ = draw_slide(np.random.default_rng(seed), drawn, abnormal=False)
        small = picture.reshape(half, 2, half, 2, 3).mean((1, 3)).round().astype(np.uint8)
        pieces += [small[y : y + SIDE, x : x + SIDE] for y in places for x in places]
        seed += 1
    return np.stack(pieces[:count])


def write_level(
    file: tifffile.TiffWriter,
    streams: Iterator[bytes],
    width: int,
    height: int,
    tile: int,
    mpp: float,
    first: bool,
) -> None:
    """A level of JPEG tiles that are encoded already, row by row; all but the `first` are smaller copies of it."""
    file.write(
        streams, shape=(height, width, 3), dtype=np.uint8, tile=(tile, tile), photometric="ycbcr", subsampling=(2, 2),
        compression="jpeg", subfiletype=int(not first), metadata=None, resolution=(1e4 / mpp, 1e4 / mpp),
        resolutionunit="CENTIMETER",
    )  # fmt: skip
