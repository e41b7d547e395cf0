"""One table, of any format, to rows of float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.gate.refusals import refusing
from esad.preprocessing.tables.arrow import load_arrow
from esad.preprocessing.tables.columns import IGNORED, TableReading, split_names
from esad.preprocessing.tables.delimited import load_text
from esad.preprocessing.tables.dialect import stated_marks
from esad.preprocessing.tables.features import check_no_label_again, choose, make_features
from esad.preprocessing.tables.items import STATED, as_words, describe_items, note_words, take_items
from esad.preprocessing.tables.mat import load_mat
from esad.preprocessing.tables.npz import as_text, join_halves, load_npz, with_x
from esad.preprocessing.tables.workbook import A_NUMBER, load_workbook
from esad.preprocessing.tables.written_numbers import (
    check_title,
    may_be_thousands,
    notes_of_counts,
    plain_columns,
    without_names,
)
from esad.preprocessing.texts import PACKED

TEXT_SUFFIXES = tuple(f"{ending}{packed}" for packed in ("", *PACKED) for ending in (".csv", ".tsv"))
NAMED_SUFFIXES = tuple(
    f"{ending}{packed}" for packed in ("", *PACKED) for ending in (".txt", ".tab", ".data")
)
"""Of delimited text where a person names the file: in a folder such files are anything."""
SUFFIXES = (".npz", ".mat", *TEXT_SUFFIXES, ".parquet", ".feather", ".xlsx")
NUMBERED = "0"
"""Feature columns of npz and mat files are called by their numbers, from this."""


@dataclass(frozen=True)
class Table:
    """`values` float32 (N, D), raw; `items` what is known of each row; `rows` their places in the file, from 0."""

    values: np.ndarray
    items: pd.DataFrame
    names: list[str]
    rows: np.ndarray
    notes: list[str]


def has_names(path: Path) -> bool:
    """Whether a table of this ending names its columns, as arrays of npz and mat files do not."""
    return not path.name.lower().endswith((".npz", ".mat"))


def is_table(path: Path) -> bool:
    """By its ending, among the files of a folder."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(path: Path, reading: TableReading) -> Table:
    """One table of values as they stand in the file.

    npz and mat: arrays X or x, and one value per row in others; all others: a header, where every column is a feature but
    the label, group, split and names. Constant columns are allowed. Whatever is wrong with the file is an InputError; a
    column that was asked for by name and is absent is a UsageError.
    """
    frame, unfit, notes = _load(path, reading)
    present = [str(name) for name in frame.columns]
    used = [name for name in choose(frame, reading, path)[0] if name not in reading.categories]
    columns = reading.columns_in(present, used, path)
    notes = [*notes, *reading.spelled(columns)]
    reading = replace(reading, columns=columns)
    if reading.only is None:
        columns.check_alone(used, path)
        notes = [*notes, *notes_of_counts(frame, used if has_names(path) else ())]
    if reading.columns.label not in (*present, IGNORED):
        notes = [*notes, f"no label column {reading.columns.label!r}"]
    features = make_features(frame, unfit, reading, path)
    known = [name for name in reading.columns.known if name in frame]
    items = describe_items(frame[known], reading.columns, path)
    notes = [*notes, *note_words(items)]
    items = items.iloc[features.rows].reset_index(drop=True)
    if reading.only is None and STATED in items:
        check_no_label_again(features, items[STATED], path)
    return Table(features.values, items, features.names, features.rows, [*notes, *features.notes])


def categories_of(path: Path, names: tuple[str, ...], reading: TableReading) -> dict[str, set[str]]:
    """The values that the text columns `names` of a table have; those that it does not have are left out."""
    frame, _, _ = _load(path, reading)
    return {name: set(as_words(frame[name]).dropna()) for name in names if name in frame}


def feature_columns(path: Path, reading: TableReading) -> tuple[str, ...]:
    """Names of the columns of a table that are features, before text is turned into columns of 0 and 1."""
    frame = _load(path, reading)[0]
    columns = reading.columns_in([str(name) for name in frame.columns], [], path)
    return tuple(choose(frame, replace(reading, columns=columns), path)[0])


def _load(path: Path, reading: TableReading) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """(columns, why some can be no features, notes); formats of C libraries that can die are read in a process of their own."""
    name = path.name.lower()
    packed = path.stat().st_size if path.is_file() else 0  # a link to nothing is refused by the reader
    with refusing(path.name, name.rsplit(".", 1)[-1]):
        if name.endswith(".npz"):
            return _from_arrays(load_npz(path), path, reading), {}, []
        if name.endswith(".mat"):
            arrays, others = own_process().call(load_mat, path.name, str(path), packed=packed)
            arrays = {key: as_text(array) for key, array in arrays.items()}
            arrays = join_halves(with_x(arrays), path)
            _check_others(arrays, others, path, reading)
            return _from_arrays(arrays, path, reading), {}, []
        if name.endswith((".parquet", ".feather")):
            frame, unfit, notes, index = own_process().call(load_arrow, path.name, str(path), packed=packed)
            frame, left_out = _without_index(frame, index, path, reading)
            frame, points = _as_written(_named(frame, path, reading), reading, path)
            return frame, {**points, **without_names(frame), **unfit}, [*left_out, *notes]
        if name.endswith(".xlsx"):
            frame, notes = own_process().call(
                load_workbook, path.name, str(path), reading.sheet, packed=packed
            )
            frame, numbers = _unmarked(frame)
            frame, points = _as_written(_named(frame, path, reading), reading, path, numbers)
            return frame, {**points, **without_names(frame)}, notes
        if name.endswith((*TEXT_SUFFIXES, *NAMED_SUFFIXES)):
            frame, unfit, notes = load_text(path, reading)
            return _named(frame, path, reading), unfit, notes
    raise InputError(
        f"{path.name}: expected a table: .csv, .tsv, .txt, .tab or .data (also packed: {', '.join(PACKED)}), .xlsx, .parquet, .feather, "
        ".npz or .mat."
    )


def _check_others(
    arrays: dict[str, np.ndarray], others: dict[str, str], path: Path, reading: TableReading
) -> None:
    """InputError where what a MATLAB file holds beside `arrays`, `others`, is called as what is needed, or there is no x but in these."""
    for key in (*reading.columns.known, "x", "X"):
        if key in others:
            raise InputError(f"{path.name}: {key} is a {others[key]}; expected an array of numbers or texts.")
    if others and "x" not in arrays and "X" not in arrays:
        found = [*arrays, *(f"{name} (a {what})" for name, what in others.items())]
        raise InputError(
            f"{path.name}: expected an array x (or X, or x_train and x_test); it has {', '.join(found)}. Save the fields of a struct as "
            "variables of their own: save('t.mat', '-struct', 'NAME')."
        )


def _named(frame: pd.DataFrame, path: Path, reading: TableReading) -> pd.DataFrame:
    frame = frame.rename(columns=str)
    check_title(frame, path)
    reading.columns.check(list(frame.columns), path)
    return frame


def _without_index(
    frame: pd.DataFrame, index: list[str], path: Path, reading: TableReading
) -> tuple[pd.DataFrame, list[str]]:
    """(`frame` without the columns of an `index` of pandas that nobody asked for, notes): they were no features there.

    Kept is what is called as the label, group, split, site or names, and what an option names. UsageError where there is no label or
    group, and such a column is called as labels or patients are.
    """
    present = [str(name) for name in frame.columns]
    named = {*split_names((*reading.drop, *(reading.only or ())), present), *reading.categories}
    found = reading.columns_in(present, [name for name in index if name not in named], path)
    out = [name for name in index if name not in named and name not in found.known]
    return frame.drop(columns=out), [f"index {name!r} left out" for name in out]


def _unmarked(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """(`frame` without A_NUMBER, which cells of a column of texts had it)."""
    texts = [name for name in frame if pd.api.types.is_string_dtype(frame[name].dtype)]
    numbers = {str(name): frame[name].str.startswith(A_NUMBER).fillna(False).astype(bool) for name in texts}
    return frame.assign(**{name: frame[name].str.removeprefix(A_NUMBER) for name in texts}), numbers


def _as_written(
    frame: pd.DataFrame, reading: TableReading, path: Path, numbers: Mapping[str, pd.Series] | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """(`frame` with its texts that are numbers in the stated writing as plain ones, why others are no features): --decimal and
    --thousands of a format that has numbers of its own, which stay: `numbers` says where they stand among texts. So do names, labels and
    categories."""
    words = {*reading.columns_in(list(frame), [], path).known, *reading.categories}
    texts = [name for name in frame if name not in words and pd.api.types.is_string_dtype(frame[name].dtype)]
    if reading.decimal == "auto" and reading.thousands in ("auto", "none"):
        asked = {name: may_be_thousands(frame[name]) for name in texts if reading.thousands == "auto"}
        return frame, {name: reason for name, reason in asked.items() if reason}
    decimal, thousands = stated_marks(reading)
    return frame, plain_columns(frame, texts, decimal, thousands, reading.thousands != "auto", numbers)


def _from_arrays(arrays: dict[str, np.ndarray], path: Path, reading: TableReading) -> pd.DataFrame:
    """x's columns, called 0, 1, …, and the arrays of one value per row that are asked for."""
    reading.columns.check(list(arrays), path)
    rows, known = take_items(arrays, reading.columns, path)
    if rows.ndim != 2:
        raise InputError(f"{path.name}: x is {rows.shape}; a table is rows x columns. Pictures: esad images.")
    frame = pd.DataFrame(rows, columns=[str(n) for n in range(rows.shape[1])])
    columns = reading.columns.found_in(list(arrays), list(known), path)
    others = {name: values for name, values in known.items() if name in columns.known and name not in frame}
    return frame.assign(**others)
