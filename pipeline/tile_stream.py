"""From a slide to its shard in one pass: blocks are read, stained and written by several threads, never all held.

Memory stays flat: a sample of blocks for the stain fit, and a block for each thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.slide_stain import SlideStain

if TYPE_CHECKING:
    import numpy as np

    from pipeline.config import TileSettings
    from preprocessing.shard_writer import ShardWriter
    from preprocessing.tile_reader import TileReader

SAMPLE_BYTES = 1 << 26
"""About as many bytes of tiles are read first, for the stain fit."""
LEAST_BLOCKS = 16
"""The sample is of so many places of the slide at least."""


@dataclass(frozen=True)
class Streamed:
    """`read` and `written` bool (N,), which tiles could be read and which of those are in the shard; `sharpness` float32 (N,)
    of those that were read; their stains; tiles of the sample as read, uint8 (M, H, W, 3)."""

    read: np.ndarray
    written: np.ndarray
    sharpness: np.ndarray
    stain: SlideStain
    sample: np.ndarray


def stream_tiles(
    reader: TileReader,
    corners: np.ndarray,
    settings: TileSettings,
    shard: ShardWriter,
    threads: int,
    least_sharpness: float = 0.0,
) -> Streamed:
    """Read the tiles at `corners` (N, 2), bring their stains to the target's and write them at their positions.

    Tiles of less than `least_sharpness` are not written. The result does not depend on `threads`. Raises OSError where the
    disk is full.
    """
    import numpy as np

    from preprocessing.sharpness import sharpness

    blocks = reader.blocks(corners)
    read, written = np.zeros((2, len(corners)), dtype=bool)
    sharp = np.zeros(len(corners), dtype=np.float32)
    with ThreadPoolExecutor(threads) as pool:
        held = _read_blocks(reader, corners, blocks, _sampled(blocks, reader.tile_size), pool)
        if not any(there.any() for _, there in held.values()):  # a slide damaged at just these places
            held = _read_blocks(reader, corners, blocks, range(len(blocks)), pool)
        sample = np.concatenate([tiles[there] for tiles, there in held.values()])
        stain = SlideStain(sample, settings, len(corners))

        def work(number: int) -> None:
            members = blocks[number]
            tiles, there = held.pop(number) if number in held else reader.read(corners[members])
            if not there.all():
                tiles, members = tiles[there], members[there]
            read[members], sharp[members] = True, sharpness(tiles)
            clear = sharp[members] >= least_sharpness
            if not clear.all():
                tiles, members = tiles[clear], members[clear]
            if len(members):
                shard.write(members, stain(tiles))
                written[members] = True

        list(pool.map(work, range(len(blocks))))
    return Streamed(read, written, sharp, stain, sample)


def _sampled(blocks: list[np.ndarray], tile_size: int) -> list[int]:
    """Numbers of the blocks that the sample is made of, evenly over all."""
    import numpy as np

    tiles = sum(map(len, blocks)) / len(blocks)
    count = max(LEAST_BLOCKS, round(SAMPLE_BYTES / (tiles * tile_size**2 * 3)))
    return np.unique(np.linspace(0, len(blocks) - 1, count).round().astype(int)).tolist()


def _read_blocks(
    reader: TileReader,
    corners: np.ndarray,
    blocks: list[np.ndarray],
    numbers: Sequence[int],
    pool: ThreadPoolExecutor,
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Number of a block -> its tiles, and which of them could be read."""
    found = pool.map(lambda number: reader.read(corners[blocks[number]]), numbers)
    return dict(zip(numbers, found, strict=True))
