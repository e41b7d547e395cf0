"""Tables from npz, mat, csv and parquet: float32 rows and what is known of each."""

from __future__ import annotations

import csv
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.splits.labels import normalise_split

RESERVED = ("item_id", "source", "shard", "index", "semi_label", "label", "group", "split", "place")
IGNORED = "none"
"""A column name that stands for no column."""
SUFFIXES = (".npz", ".mat", ".csv", ".parquet")


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are not features; `named` holds those that a person asked for by name."""

    label: str = "y"
    group: str = "group"
    split: str = "split"
    named: frozenset[str] = frozenset()

    def check(self, known: list[str], path: Path) -> None:
        """UsageError where a column that was asked for is absent."""
        for name in sorted(self.named - {IGNORED}):
            if name not in known:
                raise UsageError(f"{path.name}: has no column {name!r}; it has {', '.join(known)}.")


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, never unpickled; InputError where it is none or holds Python objects.

    Arrays of bytes become text; `x_train`, `x_test` and their like become `x` and `split` (see `join_halves`).
    """
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise InputError(f"{path.name}: one bare array; expected an npz with the arrays x and y.")
        with content:
            arrays = {name: content[name] for name in content.files}
    except (
        OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, zlib.error,
    ) as error:  # fmt: skip
        raise InputError(f"{path.name}: not a readable npz of plain arrays ({_brief(error)}).") from error
    return join_halves({name: as_text(array) for name, array in arrays.items()}, path)


def _brief(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error) or type(error).__name__).splitlines()[0]


def as_text(array: np.ndarray) -> np.ndarray:
    """An array of bytes as text; any other array as it is."""
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def join_halves(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """x_train, y_train, x_test, y_test -> x, y, split (train or test); so any NAME_train with its NAME_test.

    Arrays without these endings stand. Raises InputError where only one half of an array is there while `x` has
    both, or where the halves differ in more than their length.
    """
    halves = {
        tuple(name.lower().rsplit("_", 1)): array
        for name, array in arrays.items()
        if name.lower().endswith(("_train", "_test"))
    }
    parts = [part for part in ("train", "test") if ("x", part) in halves]
    if not parts:
        return arrays
    out = {name: array for name, array in arrays.items() if not name.lower().endswith(("_train", "_test"))}
    for stem in sorted({stem for stem, _ in halves}):
        missing = [part for part in parts if (stem, part) not in halves]
        if missing:
            raise InputError(f"{path.name}: {stem}_{missing[0]} is missing beside the other half of {stem}.")
        pieces = [halves[stem, part] for part in parts]
        pieces = [piece.reshape(-1) if piece.shape[1:] == (1,) else piece for piece in pieces]
        for part, piece in zip(parts, pieces, strict=True):
            expected, found = len(halves["x", part]), piece.shape[0] if piece.ndim else 0
            if expected != found:
                raise InputError(f"{path.name}: {stem}_{part} has {found} entries, x_{part} has {expected}.")
            if piece.shape[1:] != pieces[0].shape[1:]:
                raise InputError(
                    f"{path.name}: {stem}_{parts[0]} is {pieces[0].shape}, {stem}_{part} is {piece.shape}."
                )
        out[stem] = np.concatenate(pieces)
    out["split"] = np.repeat(parts, [len(halves["x", part]) for part in parts])
    return out


def take_items(
    arrays: dict[str, np.ndarray], columns: Columns, path: Path
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`x` or `X`, and the arrays that are one value per item, (N,) or (N, 1), as (N,).

    Raises InputError where there is no `x`, or where a label, group or split array does not fit it.
    """
    name = next((name for name in ("x", "X") if name in arrays), None)
    if name is None:
        raise InputError(
            f"{path.name}: expected an array x (or X, or x_train and x_test); it has {', '.join(arrays)}."
        )
    items, known = arrays[name], {}
    count = len(items) if items.ndim else 0
    for key, array in arrays.items():
        if key != name and array.size == count and array.shape in ((count,), (count, 1), (1, count)):
            known[key] = array.reshape(-1)
        elif key in (columns.label, columns.group, columns.split):
            raise InputError(
                f"{path.name}: {key} is {array.shape}; expected one value for each of {count} items."
            )
    return items, known


def describe_items(values: pd.DataFrame, columns: Columns, path: Path) -> pd.DataFrame:
    """Manifest columns from what an input says of its items.

    `values` has one row per item. The label column of 0 and 1 becomes `label`; more classes become `class_name`.
    Group and split columns become `group` and `split`; all others are kept under their names.
    """
    out = pd.DataFrame(index=values.index)
    if columns.label in values:
        labels = values[columns.label]
        numbers = pd.to_numeric(labels, errors="coerce")
        if numbers.dropna().isin([0, 1]).all() and (numbers.notna() | labels.isna()).all():
            out["label"] = numbers.astype("Int8")
        else:
            whole = numbers.notna().all() and (numbers == numbers.round()).all()
            out["class_name"] = (numbers.astype("int64") if whole else labels).astype("string")
    if columns.group in values:
        out["group"] = values[columns.group].astype("string")
    if columns.split in values:
        out["split"] = normalise_split(values[columns.split], f"{path.name}, column {columns.split}")
    taken = {columns.label, columns.group, columns.split, *RESERVED}
    for name in values:
        if name not in taken and name not in out:
            out[str(name)] = values[name].astype("string") if values[name].dtype == object else values[name]
    return out


def _from_arrays(
    arrays: dict[str, np.ndarray], path: Path, columns: Columns
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(features, what is known) from named arrays."""
    columns.check(list(arrays), path)
    rows, known = take_items(arrays, columns, path)
    if rows.ndim != 2:
        raise InputError(f"{path.name}: x is {rows.shape}; a table is rows x columns. Pictures: esad images.")
    features = pd.DataFrame(rows, columns=[str(n) for n in range(rows.shape[1])])
    return features, pd.DataFrame(known, index=features.index)  # an index: nothing may be known


def _from_frame(table: pd.DataFrame, path: Path, columns: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = table.rename(columns=str)
    names = list(table.columns)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path.name}: has two columns named {twice!r}; rename or drop one.")
    columns.check(names, path)
    known = [name for name in (columns.label, columns.group, columns.split) if name in table]
    return table.drop(columns=known), table[known]


def _read_csv(path: Path) -> pd.DataFrame:
    """A CSV with a header line; InputError where the first line holds numbers, or a column has no name.

    Both are silent losses else: a row that is read as names, a row number that is read as a feature.
    """
    table = pd.read_csv(path, low_memory=False)
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:  # pandas would rename the second one
        raise InputError(f"{path.name}: has two columns named {twice!r}; rename or drop one.")
    counted = [[str(n + first) for n in range(len(names))] for first in (0, 1)]
    if names and pd.to_numeric(pd.Series(names), errors="coerce").notna().all() and names not in counted:
        raise InputError(f"{path.name}: the first line holds numbers ({names[0]}, …); expected column names.")
    if any(not name.strip() for name in names):
        place = next(n for n, name in enumerate(names) if not name.strip()) + 1
        raise InputError(f"{path.name}: column {place} has no name (a row number?); name it or drop it.")
    return table


def _load(path: Path, columns: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _from_arrays(load_npz(path), path, columns)
    if suffix == ".mat":
        try:
            content = loadmat(path)
        except NotImplementedError as error:
            raise InputError(f"{path.name}: a MATLAB 7.3 file; save it with -v7 or as csv.") from error
        except (MatReadError, ValueError, OSError, TypeError, KeyError, EOFError, zlib.error) as error:
            raise InputError(f"{path.name}: not a readable mat file ({_brief(error)}).") from error
        arrays = {n: as_text(a) for n, a in content.items() if isinstance(a, np.ndarray) and n[:2] != "__"}
        return _from_arrays(join_halves(arrays, path), path, columns)
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{path.name}: expected a table, one of {', '.join(SUFFIXES)}.")
    try:
        table = _read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, csv.Error) as error:  # pandas' and Arrow's own errors are ValueErrors
        raise InputError(f"{path.name}: cannot be read as {suffix[1:]} ({_brief(error)}).") from error
    return _from_frame(table, path, columns)


def read_table(path: Path, columns: Columns) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    """One table: values float32 (N, D) as they stand in the file, what is known of each row, names of the columns.

    npz and mat (up to version 7): arrays X or x, and one value per row in others; csv and parquet: a header, where
    every column is a feature but the label, group and split. Constant columns are allowed. Raises InputError
    naming column, row (counted from 1, the header apart) and value where a cell is text, missing or not finite
    as float32, and UsageError where a column that was asked for by name is absent.
    """
    features, known = _load(path, columns)
    if features.empty:
        raise InputError(f"{path.name}: has no rows or no feature columns.")
    values = np.empty(features.shape, dtype=np.float32)
    for place, name in enumerate(features.columns):
        values[:, place] = _numbers(features[name], path)
    return values, describe_items(known, columns, path), [str(name) for name in features.columns]


def _numbers(column: pd.Series, path: Path) -> np.ndarray:
    """float32 (N,); InputError naming the first cell that is no finite number."""
    if column.dtype.kind in "mMc":
        raise InputError(
            f"{path.name}: column {column.name!r}, row 1: {str(column.iloc[0])!r} is of type {column.dtype}; "
            "expected numbers. Drop it or turn it into a number."
        )
    with np.errstate(over="ignore"):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        narrow = numbers.astype(np.float32)
    wrong = ~np.isfinite(narrow)
    if not wrong.any():
        return narrow
    row = int(np.flatnonzero(wrong)[0])
    value = column.iloc[row]
    value = value.item() if isinstance(value, np.generic) else value
    if pd.isna(value):
        fault, remedy = "missing", "fill or drop missing values first"
    elif not np.isnan(numbers[row]):
        fault, remedy = "not finite as float32", "replace it or drop the row"
    else:
        fault, remedy = "text", "encode it as numbers or drop the column"
    raise InputError(f"{path.name}: column {column.name!r}, row {row + 1}: {value!r} is {fault}; {remedy}.")
