"""From a slide to its shard in one pass: blocks are read, stained and written by several threads, never all held.

Memory stays flat: a sample of blocks for the stain fit, and a block for each thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from esad.preprocessing.slides.tile_reader import TileReader
    from esad.preprocessing.store.shards import ShardWriter

SAMPLE_BYTES = 1 << 26
"""About as many bytes of tiles are read first, for the stain fit."""
LEAST_BLOCKS = 16
"""The sample is of so many places of the slide at least."""


class Stain(Protocol):
    """How what is read becomes tiles in the target's stains: `SlideStain`, `DpaStain`."""

    def as_tiles(self, areas: np.ndarray) -> np.ndarray:
        """As tiles in their own stains."""

    def __call__(self, places: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tiles in the target's stains, and which are settled (bool); the others wait for `rest`.

        They may lie where the areas were.
        """

    def rest(self, areas: np.ndarray) -> np.ndarray:
        """Tiles that were not settled, once all others are; they may lie where the areas were."""

    def recorded(self) -> dict[str, Any]:
        """Columns of the sources table."""


@dataclass(frozen=True)
class Streamed:
    """`read` and `written` bool (N,), which tiles could be read and which of those are in the shard; `sharpness` float32 (N,)
    of those that were read; their stains."""

    read: np.ndarray
    written: np.ndarray
    sharpness: np.ndarray
    stain: Stain


def stream_tiles(
    reader: TileReader,
    corners: np.ndarray,
    make_stain: Callable[[np.ndarray], Stain],
    shard: ShardWriter,
    threads: int,
    least_sharpness: float = 0.0,
) -> Streamed:
    """Read the tiles at `corners` (N, 2), bring their stains to the target's and write them at their positions.

    `make_stain` makes the stain of a sample, uint8 (M, H, W, 3) as read. Tiles of less than `least_sharpness` are not
    written. The result does not depend on `threads`. Raises OSError where the disk is full.
    """
    import numpy as np

    from esad.preprocessing.slides.sharpness import sharpness

    blocks, own = reader.blocks(corners), threading.local()
    read, written, waiting = np.zeros((3, len(corners)), dtype=bool)
    sharp = np.zeros(len(corners), dtype=np.float32)
    with ThreadPoolExecutor(threads) as pool:
        held = _read_blocks(reader, corners, blocks, _sampled(blocks, reader.tile_size), pool)
        if not any(there.any() for _, there in held.values()):  # a slide damaged at just these places
            held = _read_blocks(reader, corners, blocks, range(len(blocks)), pool)
        stain = make_stain(np.concatenate([areas[there] for areas, there in held.values()]))

        def read_block(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if not hasattr(own, "room"):
                own.room = reader.room_for(blocks)
            return reader.read(corners[members], own.room)

        def work(number: int) -> None:
            members = blocks[number]
            areas, there = held.pop(number) if number in held else read_block(members)
            areas, members = _only(there, areas, members)
            read[members], sharp[members] = True, sharpness(stain.as_tiles(areas))
            areas, members = _only(sharp[members] >= least_sharpness, areas, members)
            if len(members):
                tiles, settled = stain(members, areas)
                waiting[members] = ~settled
                tiles, members = _only(settled, tiles, members)
                shard.write(members, tiles)
                written[members] = True

        def again(members: np.ndarray) -> None:
            areas, there = read_block(members)
            areas, members = _only(there, areas, members)
            shard.write(members, stain.rest(areas))
            written[members] = True

        list(pool.map(work, range(len(blocks))))
        left = np.flatnonzero(waiting)
        list(pool.map(again, [left[members] for members in reader.blocks(corners[left])]))
    return Streamed(read, written, sharp, stain)


def _only(chosen: np.ndarray, areas: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those that are chosen (bool); the arrays themselves, not copies, where all are."""
    return (areas, members) if chosen.all() else (areas[chosen], members[chosen])


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
