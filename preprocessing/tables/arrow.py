"""Parquet and Feather: every Arrow type to numbers, text, or a reason why it is neither. Read in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size

MOST_COLUMNS_OF_A_VECTOR = 65536


def load_arrow(path: str) -> list[Any]:
    """[frame, reasons, notes, index]: columns as nullable integers, booleans, float64 or text; a reason for each column that can be
    no feature, by its name; what was done on the way; the names of those that pandas wrote as a frame's index. Vectors of equal length
    become columns NAME_0, NAME_1, ….

    Whatever Arrow raises, and InputError for vectors of several lengths and for what `check_size` refuses.
    """
    place = Path(path)
    table = _parquet(place) if place.suffix.lower() == ".parquet" else pyarrow.feather.read_table(place)
    check_size(place.name, table.nbytes, place.stat().st_size)
    columns: dict[str, pd.Series] = {}
    reasons: dict[str, str] = {}
    notes, names = [], table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{place.name}: has two columns named {twice!r}; rename or drop one.")
    for name in names:
        spread = _columns_of(name, table[name], place)
        columns |= {each: values for each, (values, _) in spread.items()}
        reasons |= {each: reason for each, (_, reason) in spread.items() if reason}
        if list(spread) != [name]:
            notes.append(f"{name!r} spread into {len(spread)} columns")
    index = [name for name in _index_columns(table) if name in columns]
    return [pd.DataFrame(columns, index=range(table.num_rows)), reasons, notes, index]


def _parquet(path: Path) -> pa.Table:
    """InputError before anything is unpacked where the file's own numbers cannot be."""
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    values = sum(group.num_rows for group in groups) * len(file.schema_arrow) * 8
    check_size(
        path.name, max(values // 8, sum(group.total_byte_size for group in groups)), path.stat().st_size
    )
    return file.read(use_threads=False)


def _index_columns(table: pa.Table) -> list[str]:
    """Columns that pandas wrote as a frame's index."""
    stated = (table.schema.metadata or {}).get(b"pandas")
    try:
        listed = json.loads(stated).get("index_columns", []) if stated else []
    except (ValueError, AttributeError):  # another program's remark under this name
        return []
    return [name for name in listed if isinstance(name, str) and name in table.column_names]


def _columns_of(name: str, values: pa.ChunkedArray, path: Path) -> dict[str, tuple[pd.Series, str | None]]:
    """Name -> (values, why they are no feature, or None); one entry, or one for each place of a vector."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _columns_of(name, values.cast(kind.value_type), path)
    if is_list(kind):
        return _vector(name, values.combine_chunks(), path)
    return {name: plain_column(values, kind)}


def is_list(kind: pa.DataType) -> bool:
    """Whether a column's cells are lists, of one length or of several."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def plain_column(values: pa.ChunkedArray, kind: pa.DataType) -> tuple[pd.Series, str | None]:
    """(values, why they are no feature, or None)."""
    reason = None
    if pa.types.is_boolean(kind):
        column = values.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    elif pa.types.is_uint64(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = values.cast(pa.float64(), safe=False).to_pandas()
    elif pa.types.is_integer(kind):
        column = values.cast(pa.int64()).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    elif pa.types.is_null(kind):
        column = pd.Series([float("nan")] * len(values))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = values.cast(pa.large_string()).to_pandas().astype("string")
    elif pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        column = values.cast(pa.large_string()).to_pandas().astype("string")
        reason = f"is a {_word(kind)}; expected numbers. Turn it into a number"
    elif (text := _text_of_bytes(values, kind)) is not None:
        column = text.to_pandas().astype("string")
    else:
        column = pd.Series([None] * len(values), dtype="string")
        reason = f"is of type {_word(kind)}; expected numbers"
    return column, reason


def _text_of_bytes(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """Bytes that are UTF-8, as texts of older writers are, as text; None for others, and for other types."""
    if not (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    ):
        return None
    try:
        return values.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return None


def _word(kind: pa.DataType) -> str:
    """An Arrow type as a person calls it."""
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "date"
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return "time"
    return str(kind).split("<")[0].split("[")[0]


def _vector(name: str, values: pa.Array, path: Path) -> dict[str, tuple[pd.Series, str | None]]:
    """The places of vectors of one length as columns; a row without a vector has nothing in any of them."""
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks else pa.array([], values.type)
    inner = values.type.value_type
    if not (pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)):
        text = pd.Series([None] * len(values), dtype="string")
        return {name: (text, f"holds lists of {_word(inner)}; expected numbers")}
    rows = values.to_pylist()
    lengths = {len(row) for row in rows if row is not None}
    if len(lengths) > 1:
        first = next(n for n, row in enumerate(rows) if row is not None)
        other = next(n for n, row in enumerate(rows) if row is not None and len(row) != len(rows[first]))
        raise InputError(
            f"{path.name}: column {name!r} holds vectors of several lengths (row {first + 1}: {len(rows[first])}, row "
            f"{other + 1}: {len(rows[other])}); expected one length. Leave it out with --drop {name}."
        )
    length = lengths.pop() if lengths else 0
    if not 0 < length <= MOST_COLUMNS_OF_A_VECTOR:
        raise InputError(
            f"{path.name}: column {name!r} holds vectors of {length} numbers; leave it out with --drop {name}."
        )
    empty = [None] * length
    frame = pd.DataFrame([empty if row is None else row for row in rows], dtype="float64")
    return {f"{name}_{place}": (frame[place], None) for place in range(length)}
