"""A shard written piece by piece, by several threads, so that a slide's tiles need not lie in memory together."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from esad.preprocessing.store.durable import give_name
from esad.preprocessing.store.store import shard_path
from esad.preprocessing.store.writing import check_room, named_in_errors, set_aside, temporary_path

AT_ONCE = 256
"""Items that are moved at once where gaps are closed."""


class ShardWriter:
    """`shards/NNNNN.npy` under a temporary name, until `commit`; a context manager that removes what is not committed."""

    def __init__(
        self, root: Path, number: int, count: int, shape: tuple[int, ...], dtype: str = "uint8"
    ) -> None:
        """The shard of unit `number` for `count` items of `shape`, (H, W, C) or (D,), and `dtype`.

        OSError where the disk has no room for them.
        """
        self.path, self.count, self.shape, self.dtype = (
            shard_path(root, number),
            count,
            shape,
            np.dtype(dtype),
        )
        self._temporary = temporary_path(self.path)
        self._size = int(np.prod(shape)) * self.dtype.itemsize
        self._whole = self._size * count
        with self._named():
            check_room(self.path, self._whole)
            try:
                with self._temporary.open("wb") as file:
                    self._begin = self._header(file, count)
                    set_aside(file.fileno(), self._begin + self._whole)
                self._file = os.open(self._temporary, os.O_RDWR)
            except OSError:
                self._temporary.unlink(missing_ok=True)
                raise

    def _named(self) -> AbstractContextManager[None]:
        return named_in_errors(self.path, self._temporary, self._whole)

    def _header(self, file: object, count: int) -> int:
        """Write the `.npy` header; returns its length."""
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": (count, *self.shape)}
        npy.write_array_header_1_0(file, described)  # type: ignore[arg-type]
        return file.tell()  # type: ignore[attr-defined]

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._temporary.unlink(missing_ok=True)

    def write(self, places: np.ndarray, items: np.ndarray) -> None:
        """Write items (N, *shape) at ascending `places` (N,), as the shard's dtype; OSError where the disk is full."""
        items = np.ascontiguousarray(items, dtype=self.dtype)
        ends = np.flatnonzero(np.diff(places) != 1) + 1
        with self._named():
            for start, end in zip([0, *ends], [*ends, len(places)], strict=True):
                if end > start:
                    self._put(items[start:end], int(places[start]))

    def _put(self, items: np.ndarray, place: int) -> None:
        left, offset = items.reshape(-1).view(np.uint8).data, self._begin + place * self._size
        while left:
            written = os.pwrite(self._file, left, offset)
            left, offset = left[written:], offset + written

    def commit(self, kept: np.ndarray) -> None:
        """Give the shard its name, with the items `kept` (bool, (count,)) alone, in order; ValueError for none."""
        count = int(kept.sum())
        if not count:
            raise ValueError("a shard without items")
        with self._named():
            if count < self.count:
                self._close_gaps(np.flatnonzero(kept))
            os.truncate(self._file, self._begin + count * self._size)
            give_name(self._temporary, self.path)

    def _close_gaps(self, places: np.ndarray) -> None:
        """Move the items at ascending `places` to the front: each goes to where it is, or nearer to the front."""
        for start in range(0, len(places), AT_ONCE):
            part = places[start : start + AT_ONCE]
            parts = [
                os.pread(self._file, self._size, self._begin + int(place) * self._size) for place in part
            ]
            items = np.frombuffer(b"".join(parts), self.dtype).reshape(len(part), *self.shape)
            self._put(items, start)
        with self._temporary.open("r+b") as file:
            length = self._header(file, len(places))
        if length != self._begin:
            raise ValueError(f"{self._temporary}: the header changed its length")
