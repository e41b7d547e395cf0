"""Tables from npz, mat, csv and parquet: float32 rows and what is known of each."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from preprocessing.errors import InputError, UsageError
from preprocessing.labels import normalise_split

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
    """The arrays of an npz file, never unpickled; InputError where it is none or holds Python objects."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise InputError(f"{path.name}: not a readable npz of plain arrays ({error}).") from error


def join_halves(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """x_train, y_train, x_test, y_test -> x, y, split; other arrays stand. InputError where a half is missing."""
    if not any(name in arrays for name in ("x_train", "X_train")):
        return arrays
    lower = {name.lower(): array for name, array in arrays.items()}
    parts = [part for part in ("train", "test") if f"x_{part}" in lower]
    out = {name: a for name, a in arrays.items() if name.lower().rsplit("_", 1)[-1] not in ("train", "test")}
    out["x"] = np.concatenate([lower[f"x_{part}"] for part in parts])
    if any(f"y_{part}" in lower for part in parts):
        missing = [f"y_{part}" for part in parts if f"y_{part}" not in lower]
        if missing:
            raise InputError(f"{path.name}: has labels for one part only; {missing[0]} is missing.")
        out["y"] = np.concatenate([lower[f"y_{part}"].reshape(-1) for part in parts])
    out["split"] = np.repeat(parts, [len(lower[f"x_{part}"]) for part in parts])
    return out


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
    arrays = join_halves(arrays, path)
    columns.check(list(arrays), path)
    name = next((name for name in ("X", "x") if name in arrays), None)
    if name is None:
        raise InputError(
            f"{path.name}: expected an array X (rows x columns) or x_train; it has {', '.join(arrays)}."
        )
    rows = arrays.pop(name)
    if rows.ndim != 2:
        raise InputError(
            f"{path.name}: {name} has shape {rows.shape}; a table is rows x columns. Pictures: esad images."
        )
    known = {key: a.reshape(-1) for key, a in arrays.items() if a.size == len(rows)}
    known = {
        key: np.char.decode(a, "utf-8", "replace") if a.dtype.kind == "S" else a for key, a in known.items()
    }
    return pd.DataFrame(rows, columns=[str(n) for n in range(rows.shape[1])]), pd.DataFrame(known)


def _from_frame(table: pd.DataFrame, path: Path, columns: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = table.rename(columns=str)
    columns.check(list(table.columns), path)
    known = [name for name in (columns.label, columns.group, columns.split) if name in table]
    return table.drop(columns=known), table[known]


def _load(path: Path, columns: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _from_arrays(load_npz(path), path, columns)
    if suffix == ".mat":
        try:
            content = loadmat(path)
        except NotImplementedError as error:
            raise InputError(f"{path.name}: a MATLAB 7.3 file; save it with -v7 or as csv.") from error
        except (MatReadError, ValueError, OSError, TypeError) as error:
            raise InputError(f"{path.name}: not a readable mat file ({error}).") from error
        return _from_arrays(
            {name: a for name, a in content.items() if not name.startswith("__")}, path, columns
        )
    try:
        table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path.name}: cannot be read as {suffix[1:]} ({error}).") from error
    return _from_frame(table, path, columns)


def read_table(path: Path, columns: Columns) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    """One table: values float32 (N, D), what is known of each row, and the names of the columns.

    Raises InputError naming column, row (counted from 1) and value where a cell is text, missing or infinite.
    """
    features, known = _load(path, columns)
    if features.empty:
        raise InputError(f"{path.name}: has no rows or no feature columns.")
    values = np.empty(features.shape, dtype=np.float32)
    for place, name in enumerate(features.columns):
        column = features[name]
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(numbers)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            value = column.iloc[row]
            fault = "missing" if pd.isna(value) else "text" if isinstance(value, str) else "not finite"
            remedy = (
                "fill or drop missing values first"
                if fault == "missing"
                else "encode it as numbers or drop it"
            )
            raise InputError(f"{path.name}: column {name!r}, row {row + 1}: {value!r} is {fault}; {remedy}.")
        with np.errstate(over="ignore"):
            values[:, place] = numbers
    return values, describe_items(known, columns, path), [str(name) for name in features.columns]
