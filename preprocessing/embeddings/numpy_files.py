"""npy and npz: read as a stream, never unpickled, never all at once."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from esad.preprocessing.embeddings.arrays import (
    Choice,
    native,
    place_columns,
    roles_of,
    rows_at_once,
)
from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size
from esad.preprocessing.tables.npz import as_text

ONLY = "array"
"""What the array of an npy file is called, which has no name of its own."""


def describe_numpy(path: Path, choice: Choice) -> dict[str, Any]:
    """What `Head` holds; whatever numpy and zipfile raise, and InputError in words."""
    headers, packed = _headers(path), path.stat().st_size
    if path.suffix.lower() == ".npy" and choice.features is None:
        choice = Choice(ONLY, choice.coords)
    roles = roles_of(headers, choice, path.name, packed)
    small = [name for name in roles.single if headers[name][1].kind in "biufSU"]
    wanted = [*small, *([roles.coords] if roles.coords else [])]
    check_size(
        path.name, sum(math.prod(headers[name][0]) * headers[name][1].itemsize for name in wanted), packed
    )
    columns: dict[str, Any] = {name: as_text(_whole(path, name)).reshape(-1) for name in small}
    if roles.coords is not None:
        columns |= place_columns(_whole(path, roles.coords), roles.count, path.name, roles.coords)
    return {
        "name": roles.features, "count": roles.count, "width": roles.width, "dtype": headers[roles.features][1].newbyteorder("=").name,
        "items": pd.DataFrame(columns, index=range(roles.count)), "attributes": {}, "chunk": 1,
    }  # fmt: skip


def stream_numpy(path: Path, array: str) -> Iterator[np.ndarray]:
    """The rows of an array (N, D) or (1, N, D), some at a time, in this machine's order of bytes.

    InputError where the array ends before it should, or is stored column by column.
    """
    with _opened(path, array) as file:
        shape, fortran, dtype = _header(file)
        if fortran and len(shape) > 1 and min(shape[-2:]) > 1:
            raise InputError(
                f"{path.name}: {array} is stored column by column; save it with numpy.ascontiguousarray."
            )
        count, width = shape[-2:]
        at_once = rows_at_once(width, dtype.itemsize)
        for start in range(0, count, at_once):
            rows = min(at_once, count - start)
            content = file.read(rows * width * dtype.itemsize)
            if len(content) < rows * width * dtype.itemsize:
                raise InputError(f"{path.name}: {array} ends at row {start}; the file is cut short.")
            yield native(np.frombuffer(content, dtype).reshape(rows, width))
        if file.read(1):  # to the end, where zipfile compares the checksum
            raise InputError(f"{path.name}: {array} is longer than its header says.")


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each array, by its header alone; InputError where a file is shorter than they say."""
    found = {}
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            shape, _, dtype = _header(file)
            needed, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        found[ONLY] = (shape, dtype)
        if dtype.hasobject or needed != there:
            raise InputError(
                f"{path.name}: claims {dtype} {shape}, which is {needed} bytes, and holds {there}."
            )
        return found
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as member:
                shape, _, dtype = _header(member)
                needed, there = math.prod(shape) * dtype.itemsize, entry.file_size - member.tell()
            name = entry.filename.removesuffix(".npy")
            if dtype.hasobject:
                continue
            if needed != there:
                raise InputError(
                    f"{path.name}: {name} claims {dtype} {shape}, which is {needed} bytes, and holds {there}."
                )
            found[name] = (shape, dtype)
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the npy format")


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The bytes of an array from its header on: of an npy file, or of a member of an npz."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            yield file
    else:
        with _member(path, name) as member:
            yield member


@contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        yield member


def _whole(path: Path, name: str) -> np.ndarray:
    with _member(path, name) as file:
        return npy.read_array(file, allow_pickle=False)
