"""Items through a method batch by batch: read once, in order, and computed so that numbers do not depend on threads.

What a network gives for an item depends, in the last digits, on the other items of its batch and on how many threads share
a sum. So a batch is always of the same items, and on a CPU one thread computes it: several threads take several batches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store

ROWS, PICTURES = 8192, 64
"""Rows, and pictures on a GPU, of a batch."""
PIXELS, FEWEST, MOST = 2**17, 8, 256
"""A batch on a CPU has so many pixels, if that is so many pictures: what its layers give then stays in a core's cache."""
SIZES = [ROWS, PICTURES, PIXELS, FEWEST, MOST]
"""What decides which items share a batch: scores that were made with others are other scores, in their last digits."""
RELEASED_BYTES = 2**26
"""So much is read before the pages of the shards are given back."""
Found = TypeVar("Found")


def batch_size(shape: Sequence[int], device: torch.device) -> int:
    """Items of a batch for scoring, of a `shape` of (D,) or (H, W, C); the same on every machine with such a device.

    A power of two on a CPU: 32 pictures of 64 x 64 pixels, 16 of 96 x 96.
    """
    if len(shape) == 1:
        return ROWS
    if device.type != "cpu":
        return PICTURES
    return min(MOST, max(FEWEST, 2 ** round(math.log2(PIXELS / (shape[0] * shape[1])))))


def each_batch(
    positions: np.ndarray, size: int, work: Callable[[np.ndarray], Found], device: torch.device
) -> Iterator[tuple[np.ndarray, Found]]:
    """(positions of a batch, `work` of them), in order, for batches of `size`.

    On a CPU as many threads as torch has call `work`, each with one thread of its own; `work` must change nothing.
    """
    import torch

    batches = (positions[start : start + size] for start in range(0, len(positions), size))
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        yield from ((chosen, work(chosen)) for chosen in batches)
        return
    waiting: deque[tuple[np.ndarray, Future[Found]]] = deque()
    pool = ThreadPoolExecutor(threads, "batch", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for chosen in batches:
            waiting.append((chosen, pool.submit(work, chosen)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        yield from ((chosen, future.result()) for chosen, future in waiting)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the threads' own setting is the process's for threads to come


def read_once(store: Store, device: torch.device) -> Items:
    """The store's items, read from the mapped shards as they are asked for; what was read does not stay in memory.

    For work that sees each item once, in order: kept pages would count as this process's memory.
    """
    import torch

    item, read = int(np.prod(store.shape)) * np.dtype(store.description["dtype"]).itemsize, 0

    def items(positions: np.ndarray) -> torch.Tensor:
        nonlocal read
        found = torch.from_numpy(store.read(positions))
        read += len(positions) * item
        if read > RELEASED_BYTES:
            read = 0
            store.release()
        return found.pin_memory() if device.type == "cuda" else found

    return items
