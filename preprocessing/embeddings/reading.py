"""A file of vectors, of any format: what it holds, then its rows some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.embeddings.arrays import PLACE, Choice, Head, fitted, rows_at_once
from esad.preprocessing.embeddings.hdf5 import describe_hdf5, read_hdf5
from esad.preprocessing.embeddings.layouts import facts_of
from esad.preprocessing.embeddings.numpy_files import describe_numpy, stream_numpy
from esad.preprocessing.embeddings.parquet import describe_parquet, read_parquet
from esad.preprocessing.embeddings.zarr_store import describe_zarr, is_zarr, read_zarr, size_of
from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.gate.refusals import refusing

HDF5, NUMPY, PARQUET = (".h5", ".hdf5", ".hdf"), (".npy", ".npz"), (".parquet",)
SUFFIXES = (*HDF5, *NUMPY, *PARQUET)
TORCH = (".pt", ".pth")
HEAD_SECONDS, PART_SECONDS = 60.0, 300.0
"""Longer no file is described, and no part of it read: HDF5 runs in circles on three of a thousand damaged files."""


def is_vectors(path: Path) -> bool:
    """By its ending; a folder may be a Zarr store (`zarr_store.is_zarr`)."""
    return path.name.lower().endswith(SUFFIXES)


def read_head(path: Path, choice: Choice) -> Head:
    """What a file holds beside its vectors; InputError, naming it, where it is damaged or its arrays are not understood."""
    with refusing(path.name, "file of vectors"):
        if path.suffix.lower() in TORCH:
            raise InputError(
                f"{path.name}: a file of torch, which is not read here; CLAM and TRIDENT write the same vectors as HDF5 (h5_files/, "
                "features_*/), with the places of tiles."
            )
        if path.suffix.lower() in NUMPY:
            found = describe_numpy(path, choice)
        else:
            describe = _readers(path)[0]
            found = own_process().call(
                describe,
                path.name,
                str(path),
                choice.features,
                choice.coords,
                packed=packed_size(path),
                seconds=HEAD_SECONDS,
            )
    taken = [name for name in found["items"] if name in PLACE]
    if taken and len(taken) != len(PLACE):
        raise InputError(f"{path.name}: an array called {taken[0]!r}, which is a name of ours; rename it.")
    return Head(
        str(found["name"]), int(found["count"]), int(found["width"]), str(found["dtype"]), found["items"],
        facts_of(found["attributes"]), int(found["chunk"]), tuple(found.get("notes", ())),
    )  # fmt: skip


def read_vectors(path: Path, head: Head) -> Iterator[np.ndarray]:
    """All vectors of the file in order, (n, D) at a time, as they are stored; InputError where the file cannot be read on."""
    done = 0
    with refusing(path.name, "file of vectors"):
        for rows in _parts(path, head):
            if rows.shape[1:] != (head.width,):
                raise InputError(
                    f"{path.name}: row {done} has {rows.shape[1:]} numbers, expected {head.width}."
                )
            done += len(rows)
            yield rows
        if done != head.count:
            raise InputError(
                f"{path.name}: holds {done} vectors and claims {head.count}; the file is damaged."
            )


def as_stored(rows: np.ndarray, dtype: str, path: Path, start: int) -> np.ndarray:
    """Rows as `dtype` (float16 or float32); InputError, naming the row, for a number that is missing, infinite or too large."""
    out, row = fitted(rows, dtype)
    if row is not None:
        told = "holds a number that is missing or infinite"
        if np.isfinite(rows[row].astype(np.float64)).all():
            told = (
                f"holds {float(np.abs(rows[row].astype(np.float64)).max()):g}, which {dtype} does not reach"
            )
        raise InputError(f"{path.name}: row {start + row} {told}.")
    return out


def packed_size(path: Path) -> int:
    """Bytes of a file or of a folder's files; 0 where nothing is."""
    if path.is_dir():
        return size_of(path)
    return path.stat().st_size if path.is_file() else 0


def places_of(items: pd.DataFrame) -> np.ndarray | None:
    """Top left corners (N, 2) in level-0 pixels, int64, of `Head.items`; None where the file has none."""
    return items[list(PLACE)].to_numpy(np.int64) if set(PLACE) <= set(items) else None


def _readers(path: Path) -> tuple[Callable[..., dict[str, Any]], Callable[..., np.ndarray]]:
    if path.suffix.lower() in HDF5:
        return describe_hdf5, read_hdf5
    if path.suffix.lower() in PARQUET:
        return describe_parquet, read_parquet
    if is_zarr(path):
        return describe_zarr, read_zarr
    raise InputError(f"{path.name}: expected a file of vectors ({', '.join(SUFFIXES)}) or a Zarr folder.")


def _parts(path: Path, head: Head) -> Iterator[np.ndarray]:
    if path.suffix.lower() in NUMPY:
        yield from stream_numpy(path, head.name)
        return
    read, packed = _readers(path)[1], packed_size(path)
    at_once = rows_at_once(head.width, np.dtype(head.dtype).itemsize, head.chunk)
    for start in range(0, head.count, at_once):
        stop = min(start + at_once, head.count)
        yield own_process().call(
            read, path.name, str(path), head.name, start, stop, packed=packed, seconds=PART_SECONDS
        )
