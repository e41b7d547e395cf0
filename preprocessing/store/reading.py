"""Files that an earlier stage wrote, opened: one that is missing or damaged ends in one line that names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from esad.preprocessing.errors import EsadError

WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
FAULTS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    SyntaxError,
    TokenError,
)
"""What numpy and pyarrow raise for files that are cut off, emptied or of another format; numpy reads the header of an array as Python."""


def damaged(path: Path, what: str, remedy: str) -> EsadError:
    """The error for a file of ours that cannot be used: `what` is wrong with it, `remedy` is what to do."""
    return EsadError(f"{path}: {what}; {remedy}")


def _state(path: Path) -> str | None:
    """What is wrong with the file before its content is looked at, or None."""
    try:
        if path.is_dir():
            return "is a folder, expected a file"
        if not path.is_file():
            return "is missing"
        return None if path.stat().st_size else "is empty"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def read_object(
    path: Path,
    remedy: str,
    needed: Mapping[str, type | tuple[type, ...]],
    parse: Callable[[str], Any] = json.loads,
    faults: tuple[type[Exception], ...] = (ValueError, RecursionError),
) -> dict[str, Any]:
    """The object of a JSON file (or what `parse` reads, raising `faults`), with the entries `needed` of these types.

    EsadError, ending in `remedy`, where the file is missing, is in no such form, or lacks one of them.
    """
    wrong = _state(path)
    if wrong:
        raise damaged(path, wrong, remedy)
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror})", remedy) from error
    except faults as error:
        form = "JSON" if parse is json.loads else "YAML"
        raise damaged(path, f"is damaged (it is no {form})", remedy) from error
    check_entries(path, content, remedy, needed)
    return content


def read_list(path: Path, remedy: str) -> list[Any]:
    """The list of a JSON file; EsadError, ending in `remedy`, where it is missing or damaged."""
    return read_object(path, remedy, {"list": list}, lambda text: {"list": json.loads(text)})["list"]


def check_entries(
    path: Path, content: object, remedy: str, needed: Mapping[str, type | tuple[type, ...]]
) -> None:
    """EsadError where `content`, of the file `path`, is no mapping or lacks one of the entries `needed`."""
    if not isinstance(content, dict):
        raise damaged(path, f"is damaged (it holds no object but {type(content).__name__})", remedy)
    for name, kind in needed.items():
        if name not in content:
            raise damaged(path, f"is damaged ({name!r} is missing)", remedy)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(content[name], kinds) or (isinstance(content[name], bool) and bool not in kinds):
            words = " or ".join(WORDS.get(each, "null") for each in kinds)
            raise damaged(path, f"is damaged ({name} = {content[name]!r}, expected {words})", remedy)


def read_table(
    path: Path, remedy: str, needed: Sequence[str] = (), also: Sequence[str] | None = None
) -> pd.DataFrame:
    """The table of a Parquet file, with at least the columns `needed`; EsadError, ending in `remedy`, otherwise.

    With `also` no other columns than `needed` and those of `also` that are there are read.
    """
    wrong = _state(path)
    if wrong:
        raise damaged(path, wrong, remedy)
    try:
        schema = pq.read_schema(path)
        columns = None if also is None else [name for name in (*needed, *also) if name in schema.names]
        table = pd.read_parquet(path, columns=columns, page_checksum_verification=True)
        pa.default_memory_pool().release_unused()  # decoding a large table takes as much again
    except PermissionError as error:
        raise damaged(path, f"cannot be read ({error.strerror})", remedy) from error
    except (*FAULTS, pa.ArrowException) as error:
        raise damaged(path, "is damaged (it is no Parquet file, or cut off)", remedy) from error
    missing = [name for name in needed if name not in table]
    if missing:
        raise damaged(path, f"column {missing[0]!r} is missing", remedy)
    nested = [each.name for each in schema if pa.types.is_nested(each.type) and each.name in table]
    if nested:
        raise damaged(path, f"is damaged (column {nested[0]!r} holds lists of values)", remedy)
    return table


def check_finite_numbers(
    path: Path, table: pd.DataFrame, names: Iterable[str], remedy: str, missing: bool = True
) -> None:
    """`check_numbers`, and EsadError where one of them is infinite or, unless they may be `missing`, not there."""
    names = [name for name in names if name in table]
    check_numbers(path, table, names, remedy)
    for name in names:
        values = table[name].to_numpy(dtype=float, na_value=np.nan)
        if np.isinf(values).any():
            raise damaged(path, f"is damaged (column {name!r} has an infinite value)", remedy)
        if not missing and np.isnan(values).any():
            raise damaged(path, f"is damaged (column {name!r} has a row without a value)", remedy)


def check_texts(path: Path, table: pd.DataFrame, names: Iterable[str], remedy: str) -> None:
    """EsadError where a column of `names` that the table of the file `path` has holds other than texts or nothing."""
    for name in names:
        if name in table and not (
            pd.api.types.is_string_dtype(table[name].dropna()) or table[name].isna().all()
        ):
            raise damaged(path, f"is damaged (column {name!r} holds other than texts)", remedy)


def read_item_numbers(path: Path, remedy: str, names: Sequence[str]) -> pd.DataFrame:
    """Of a Parquet file of numbers by item the rows whose `item_id` is among `names`: float64, by it; EsadError where it is damaged."""
    try:
        rows = pd.read_parquet(
            path, filters=[("item_id", "in", list(names))], page_checksum_verification=True
        )
        rows = rows.set_index("item_id")
    except (*FAULTS, pa.ArrowException) as error:
        raise damaged(path, "is damaged (its rows cannot be looked up by item_id)", remedy) from error
    check_numbers(path, rows, list(rows), remedy)
    if not rows.index.is_unique:
        raise damaged(path, "is damaged (an item stands there twice)", remedy)
    return rows.astype(float)


def check_numbers(path: Path, table: pd.DataFrame, names: Iterable[str], remedy: str) -> None:
    """EsadError where a column of `names` that the table of the file `path` has holds other than numbers or nothing."""
    for name in names:
        if name in table and not (
            pd.api.types.is_numeric_dtype(table[name].dtype) or table[name].isna().all()
        ):
            raise damaged(path, f"is damaged (column {name!r} holds other than numbers)", remedy)


def read_array(path: Path, remedy: str, mapped: bool = False) -> np.ndarray:
    """The array of a `.npy` file, without pickle, `mapped` into memory or read; EsadError, ending in `remedy`, otherwise."""
    wrong = _state(path)
    if wrong:
        raise damaged(path, wrong, remedy)
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except PermissionError as error:
        raise damaged(path, f"cannot be read ({error.strerror})", remedy) from error
    except FAULTS as error:
        raise damaged(path, "is damaged (it is no .npy file, or cut off)", remedy) from error
    if not isinstance(array, np.ndarray):
        raise damaged(path, "is damaged (it holds several arrays)", remedy)
    return array
