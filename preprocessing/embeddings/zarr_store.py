"""Zarr, versions 2 and 3: an array, or a group of them. Read in a process of its own: codecs can die of a damaged chunk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.embeddings.arrays import (
    INSTALL,
    Choice,
    native,
    place_columns,
    roles_of,
)
from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size

MARKS = ("zarr.json", ".zgroup", ".zarray")
"""Files that make a folder a Zarr store."""
HEADERS = ("zarr.json", ".zarray", ".zmetadata")
ONLY = "array"


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def size_of(path: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def check_safe(path: Path) -> None:
    """InputError where a file is a link out of the store, or a chunk would be unpickled, which runs what it says.

    numcodecs refuses to unpickle from version 0.16 on; earlier ones do it.
    """
    whole = path.resolve()
    for file in path.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(whole):
            raise InputError(
                f"{path.name}: {file.relative_to(path)} is a link out of it, which is not followed."
            )
        if file.name in HEADERS and any("pickle" in name for name in _codecs(json.loads(file.read_text()))):
            raise InputError(
                f"{path.name}: {file.relative_to(path)} has its values pickled; pickles are never loaded. Write it with another codec."
            )


def _codecs(header: Any) -> Iterator[str]:
    """What the codecs, filters and compressors of a header are called, those of consolidated headers too.

    A node's own attributes are the user's. An array of that name is none of them: consolidated headers have it by its name.
    """
    inner = (
        header.items() if isinstance(header, dict) else enumerate(header) if isinstance(header, list) else ()
    )
    for key, value in inner:
        if key in ("filters", "compressor", "codecs"):
            for each in value if isinstance(value, list) else [value]:
                yield str(each.get("id", each.get("name"))) if isinstance(each, dict) else str(each)
        if key != "attributes" or not isinstance(header.get("node_type"), str):
            yield from _codecs(value)


def describe_zarr(path: str, features: str | None, coords: str | None) -> dict[str, Any]:
    """What `Head` holds, with the attributes of the coordinates and of the group; whatever zarr raises, and InputError."""
    check_safe(Path(path))
    name, packed, choice = Path(path).name, size_of(Path(path)), Choice(features, coords)
    arrays, attributes = _arrays(path)
    if list(arrays) == [ONLY] and features is None:
        choice = Choice(ONLY, coords)
    headers = {key: (tuple(each.shape), each.dtype) for key, each in arrays.items()}
    roles = roles_of(headers, choice, name, packed)
    held, count = arrays[roles.features], roles.count
    small = {key: arrays[key] for key in roles.single if arrays[key].dtype.kind in "biufSUT"}
    absent = {key: _absent(arrays[key], key) for key in (*small, roles.features, roles.coords) if key}
    for key in filter(None, (roles.features, roles.coords)):
        _check_whole(arrays[key], absent[key], name)
    check_size(
        name,
        sum(math.prod(each.shape) * (each.dtype.itemsize or 64) for each in small.values()) + 16 * count,
        packed,
    )
    columns: dict[str, Any] = {key: _values(np.asarray(each[...])) for key, each in small.items()}
    if roles.coords is not None:
        places = arrays[roles.coords]
        check_size(name, math.prod(places.shape) * places.dtype.itemsize, packed)
        columns |= place_columns(places[...], count, name, roles.coords)
        attributes |= dict(places.attrs)
    return {
        "name": roles.features, "count": count, "width": roles.width, "dtype": np.dtype(held.dtype).newbyteorder("=").name,
        "items": pd.DataFrame(columns, index=range(count)), "attributes": _plain(attributes),
        "chunk": int(held.chunks[-2]), "notes": [told for told in absent.values() if told],
    }  # fmt: skip


def _absent(array: Any, name: str) -> str:
    """That chunks of an array are not in the store; empty where all are. Zarr reads their values as 0, and does not write chunks of
    nothing but 0 itself."""
    lacking = array.nchunks - array.nchunks_initialized
    return (
        f"{name}: {lacking} of {array.nchunks} chunks are not stored, and read as {array.fill_value}"
        if lacking
        else ""
    )


def _check_whole(array: Any, absent: str, name: str) -> None:
    """InputError where chunks of whole rows of features or places are not there: vectors of 0, or tiles at one corner, nobody has.

    A chunk of some columns, or of one row, may be nothing but 0.
    """
    rows_alone = array.chunks[-1] >= array.shape[-1] and array.chunks[-2] > 1
    if rows_alone and absent:
        raise InputError(
            f"{name}: {absent}: the copy is not whole. Copy the store again, or write it with write_empty_chunks=True if "
            "these are its values."
        )


def read_zarr(path: str, array: str, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of the features (N, D) or (1, N, D), in this machine's order of bytes."""
    held = _arrays(path)[0][array]
    rows = np.asarray(held[start:stop] if held.ndim == 2 else held[0, start:stop])
    return native(rows)


def _arrays(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays by name, and the group's attributes."""
    try:
        import zarr  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InputError(f"{Path(path).name}: a Zarr store is read with zarr: {INSTALL}.") from error
    opened = zarr.open(path, mode="r")
    if isinstance(opened, zarr.Array):
        return {ONLY: opened}, {}
    return dict(opened.arrays()), dict(opened.attrs)


def _values(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    if flat.dtype.kind == "S":
        return np.char.decode(flat, "utf-8", "replace")
    return flat.astype(str) if flat.dtype.kind in "UTO" else flat.astype(flat.dtype.newbyteorder("="))


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes that are one or two numbers."""
    found = {}
    for key, value in attributes.items():
        try:
            numbers = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            continue
        if 0 < numbers.size <= 2:
            found[key] = numbers.tolist()
    return found
