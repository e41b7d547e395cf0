"""Parquet with a column of vectors. Read in a process of its own, a batch at a time: a row group may hold a million rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from esad.preprocessing.embeddings.arrays import (
    NONE,
    Choice,
    check_features,
    choose_features,
    place_columns,
)
from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size
from esad.preprocessing.tables.arrow import plain_column

BUFFER = 1 << 22
BATCH = 4096
_READING: dict[tuple[str, str], tuple[int, Iterator[np.ndarray], list[np.ndarray]]] = {}
"""Where the reading of a column stands, in the process that reads: (next row, batches to come, rows read and not asked for)."""


def describe_parquet(path: str, features: str | None, coords: str | None) -> dict[str, Any]:
    """What `Head` holds; whatever Arrow raises, and InputError in words."""
    name, packed, choice = Path(path).name, Path(path).stat().st_size, Choice(features, coords)
    file = pq.ParquetFile(path)
    kinds = {field.name: field.type for field in file.schema_arrow}
    count = file.metadata.num_rows
    lists = {key: inner for key, kind in kinds.items() if (inner := _value_type(kind)) is not None}
    if not count:
        raise InputError(f"{name}: has no rows.")
    of_places = _places(kinds, lists, choice, name)
    widths = {key: _width(file, key, kinds[key]) for key in lists}
    shapes = {key: (count, width) for key, width in widths.items() if key not in of_places}
    chosen = choose_features(shapes, choice, name)
    dtype = str(lists[chosen].to_pandas_dtype()().dtype)
    _, width = check_features(shapes[chosen], dtype, name, chosen, packed)
    single = [key for key in kinds if key not in lists and key not in of_places]
    check_size(name, 8 * count * (len(single) + 2), packed * 8)
    columns: dict[str, Any] = {}
    for key in single:
        values, reason = plain_column(_column(file, key), kinds[key])
        if reason is None:
            columns[key] = values
    if len(of_places) == 1:
        pairs = np.asarray(_vectors(_column(file, of_places[0]).combine_chunks(), 2, name, of_places[0], 0))
        columns |= place_columns(pairs, count, name, of_places[0])
    elif of_places:
        pairs = np.column_stack([_column(file, key).to_numpy() for key in of_places])
        columns |= place_columns(pairs, count, name, ", ".join(of_places))
    return {
        "name": chosen, "count": count, "width": width, "dtype": dtype,
        "items": pd.DataFrame(columns, index=range(count)), "attributes": {}, "chunk": 1,
    }  # fmt: skip


def read_parquet(path: str, array: str, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of a column of vectors; asked for one after the other, each batch is read once.

    InputError for a row without a vector, or with one of another length, by its number.
    """
    key = (path, array)
    if _READING.get(key, (-1,))[0] != start:
        _READING.clear()
        _READING[key] = (0, _batches(path, array), [])
        if start:
            read_parquet(path, array, 0, start)
    _, coming, held = _READING[key]
    wanted = stop - start
    while sum(map(len, held)) < wanted:
        held.append(next(coming))
    rows = np.concatenate(held) if len(held) > 1 else held[0]
    _READING[key] = (stop, coming, [rows[wanted:]] if len(rows) > wanted else [])
    return rows[:wanted]


def _batches(path: str, array: str) -> Iterator[np.ndarray]:
    name, width, row = Path(path).name, 0, 0
    file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    for batch in file.iter_batches(BATCH, columns=[array], use_threads=False):
        vectors = batch.column(0)
        width = width or _length(vectors)
        yield _vectors(vectors, width, name, array, row)
        row += len(batch)


def _vectors(values: pa.Array | pa.ChunkedArray, width: int, name: str, array: str, row: int) -> np.ndarray:
    """Lists as (N, width); `row` is the number of the first, for the message."""
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks)
    lengths = values.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = lengths != width
    if wrong.any():
        first = int(wrong.argmax())
        what = "no vector" if lengths[first] < 0 else f"a vector of {lengths[first]} numbers"
        raise InputError(f"{name}: row {row + first} of {array!r} holds {what}; expected {width} numbers.")
    flat = values.flatten()
    if flat.null_count:
        place = int(flat.is_null().to_numpy(zero_copy_only=False).argmax())
        raise InputError(f"{name}: row {row + place // width} of {array!r} has a missing number.")
    return flat.to_numpy(zero_copy_only=False).reshape(len(values), width)


def _value_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of the numbers of a column of vectors; None for another column."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if is_list else None
    numeric = inner is not None and (pa.types.is_floating(inner) or pa.types.is_integer(inner))
    return inner if numeric else None


def _width(file: pq.ParquetFile, key: str, kind: pa.DataType) -> int:
    """Numbers of the column's first vector."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    batch = next(file.iter_batches(1, columns=[key], use_threads=False))
    return _length(batch.column(0))


def _length(vectors: pa.Array) -> int:
    lengths = vectors.value_lengths().drop_null()
    return int(lengths[0].as_py()) if len(lengths) else 0


def _column(file: pq.ParquetFile, key: str) -> pa.ChunkedArray:
    return file.read(columns=[key], use_threads=False).column(0)


def _places(
    kinds: dict[str, pa.DataType], lists: dict[str, pa.DataType], choice: Choice, name: str
) -> tuple[str, ...]:
    """The column of places, or the two that hold x and y; () for none."""
    if choice.coords == NONE:
        return ()
    if choice.coords is not None:
        wanted = (
            (choice.coords,)
            if choice.coords in kinds
            else tuple(part.strip() for part in choice.coords.split(","))
        )
        missing = next((key for key in wanted if key not in kinds), None)
        if missing is not None or len(wanted) > 2:
            raise InputError(
                f"{name}: has no column {missing or choice.coords!r}; it has {', '.join(kinds)}. Name the places as --coords X,Y, or "
                "say --coords none."
            )
        return wanted
    return next(((key,) for key in ("coords", "coordinates", "coord") if key in lists), ())
