"""From the columns of a table to its features: which, in what order, text as 0 and 1, and what becomes of holes."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.tables.columns import TableReading, check_present, split_names
from esad.preprocessing.tables.items import as_words
from esad.preprocessing.tables.written_numbers import counts_rows, may_count_rows, without_holes

LIKE_NUMBER = re.compile(r"[+-]?\d[\d.,' \u00a0\u202f\u2019]*")
FEWEST_STEPS = 256
MOST_STRAY = 2
"""Texts in a column of as many numbers that may be of rows which are no items."""
FEWEST_ALIKE = 20
"""In fewer rows a feature may tell two labels apart by chance."""
AS_0_AND_1 = "{column}={value}"
"""Name of the feature that is 1 where a text column has a value."""


@dataclass(frozen=True)
class Features:
    """`values` float32 (N, D), NaN for holes that are to be filled; `rows` the table's rows that they are, from 0."""

    values: np.ndarray
    names: list[str]
    rows: np.ndarray
    notes: list[str]


def choose(frame: pd.DataFrame, reading: TableReading, path: Path) -> tuple[list[str], list[str]]:
    """(names of the feature columns in order, notes): those asked for, or all that are not known, without the dropped ones.

    UsageError for a name that is no column.
    """
    present = [str(name) for name in frame.columns]
    dropped = split_names(reading.drop, present)
    only = split_names(reading.only, present) if reading.only is not None else None
    for name in (*dropped, *(only or ()), *reading.categories):
        check_present(name, present, path)
    known = {name for name in reading.columns.known if name in present}
    both = [name for name in only or () if name in known or name in dropped]
    if both:
        other = "--drop" if both[0] in dropped else "a column of labels, groups, splits, sites or names"
        raise UsageError(f"--columns {both[0]}: it is also {other}: give it one use.")
    rest = [name for name in present if name not in known and name not in dropped]
    if only is None:
        counting = [
            name
            for place, name in enumerate(present)
            if name in rest and _counts(frame.iloc[:, place], name, place, reading)
        ]
        rest = [name for name in rest if name not in counting]
        notes = [
            f"column {name!r} left out: it numbers the rows (--columns takes it all the same)"
            for name in counting
        ]
        in_order = set(rest) == set(reading.order or ())
        return (list(reading.order), notes) if in_order and reading.order else (rest, notes)
    others = [name for name in rest if name not in only]
    return list(only), [f"{len(others)} other columns left out"] if others else []


def _counts(column: pd.Series, name: str, place: int, reading: TableReading) -> bool:
    """Whether a column numbers the rows; the first table of a store decides for all, since a short one may look otherwise."""
    if reading.order is not None:
        return name not in reading.order and may_count_rows(name)
    return counts_rows(column, name, place)


def make_features(
    frame: pd.DataFrame, unfit: Mapping[str, str], reading: TableReading, path: Path
) -> Features:
    """The features of a table.

    `unfit` says of columns why they can be none. Missing cells, infinite ones among them: refused, their rows left out, or
    NaN, by `reading.missing`. Raises InputError naming column, row (from 1) and value where a cell is text, missing or not
    finite, and which option helps.
    """
    names, notes = choose(frame, reading, path)
    columns: dict[str, np.ndarray] = {}
    words: Counter[str] = Counter()
    for name in names:
        if name in reading.categories:
            made, said = _zeros_and_ones(frame[name], name, reading.categories[name])
            columns |= made
            notes += said
        elif name in unfit:
            raise InputError(
                f"{path.name}: column {name!r} {unfit[name]}, or leave it out with --drop {shlex.quote(name)}."
            )
        else:
            columns[name], rounded = _numbers(frame[name], path, words)
            notes += [f"{rounded} values of {name!r} rounded to float32"] if rounded else []
    if not columns or not len(frame):
        raise InputError(f"{path.name}: has no rows or no feature columns.")
    told = ", ".join(f"{count} cells {word!r}" for word, count in words.items())
    notes += [f"{told} taken as missing"] if told else []
    values = np.empty((len(frame), len(columns)), dtype=np.float32)
    for place, column in enumerate(columns.values()):
        values[:, place] = column
    holes = ~np.isfinite(values)
    if not holes.any():
        return Features(values, list(columns), np.arange(len(frame)), notes)
    return _with_holes(values, holes, list(columns), frame, notes, reading, path)


def _with_holes(
    values: np.ndarray,
    holes: np.ndarray,
    names: list[str],
    frame: pd.DataFrame,
    notes: list[str],
    reading: TableReading,
    path: Path,
) -> Features:
    """The features where some cells are missing: what becomes of them, by `reading.missing`."""
    if reading.missing == "refuse":
        _refuse(frame, names, holes, path)
    if reading.missing == "median":
        values[holes] = np.nan
        return Features(values, names, np.arange(len(frame)), [*notes, f"{int(holes.sum())} missing values"])
    rows = np.flatnonzero(~holes.any(1))
    if not len(rows):
        raise InputError(f"{path.name}: every row has a missing value; fill them with --missing median.")
    notes = [*notes, f"{len(frame) - len(rows)} rows with missing values left out"]
    return Features(values[rows], names, rows, notes)


def check_no_label_again(features: Features, labels: pd.Series, path: Path) -> None:
    """UsageError where a feature of two values tells the label, of two values too, in every one of FEWEST_ALIKE rows or more: it is the
    label again or its complement, as of two columns `normal` and `anomaly`. `labels` are texts, one a row of `features`."""
    codes, words = pd.factorize(labels)
    if len(words) != 2 or len(labels) < FEWEST_ALIKE or min(np.bincount(codes[codes >= 0])) < 2:
        return
    second = codes[codes >= 0] == 1
    for place, name in enumerate(features.names):
        values = features.values[codes >= 0, place]
        alike = values == values[0]
        if (values[~alike] == values[~alike][:1]).all() and (
            np.array_equal(alike, second) or np.array_equal(alike, ~second)
        ):
            raise UsageError(
                f"{path.name}: column {name!r} has one value for each label in every row: it says what is to be found. Leave it out with "
                f"--drop {shlex.quote(name)}, or name all features with --columns if it is a value like others."
            )


def _zeros_and_ones(
    column: pd.Series, name: str, categories: list[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """A column of 0 and 1 for each category; a value that is none of them is 0 in all, which is noted."""
    words = as_words(column)
    made = {
        AS_0_AND_1.format(column=name, value=value): (words == value).fillna(False).to_numpy(np.float32)
        for value in categories
    }
    others = words[words.notna() & ~words.isin(categories)]
    notes = [f"{len(others)} values of {name!r} that training did not have"] if len(others) else []
    if words.isna().any():
        notes.append(f"{int(words.isna().sum())} rows without a value of {name!r}")
    return made, notes


def _numbers(column: pd.Series, path: Path, words: Counter[str]) -> tuple[np.ndarray, int]:
    """float32 (N,), not finite where the cell is missing or infinite, and how many whole numbers float32 does not hold. What stands for
    a missing one in words is counted in `words`.

    InputError naming the first cell that is no number.
    """
    if column.dtype == object and column.dropna().map(lambda value: isinstance(value, bool | np.bool_)).all():
        column = column.astype("boolean")
    if pd.api.types.is_string_dtype(column.dtype):
        column, holes = without_holes(column.str.replace("\u2212", "-", regex=False))
        words.update(holes)
    if column.dtype.kind in "mMc":
        raise InputError(
            f"{path.name}: column {column.name!r}, row 1: {str(column.iloc[0])!r} is of type {column.dtype}; "
            f"expected numbers. Turn it into a number, or leave it out with --drop {shlex.quote(str(column.name))}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        narrow = numbers.astype(np.float32)
    text = np.isnan(numbers) & column.notna().to_numpy()
    if text.any():
        _refuse_text(column, text, path)
    too_large = np.isfinite(numbers) & ~np.isfinite(narrow)
    if too_large.any():
        row = int(np.flatnonzero(too_large)[0])
        raise InputError(
            f"{path.name}: column {column.name!r}, row {row + 1}: {_plain(column.iloc[row])!r} is not finite as float32; "
            "replace it or drop the row."
        )
    _check_steps(numbers, str(column.name), path)
    whole = pd.api.types.is_integer_dtype(column.dtype)
    rounded = int((narrow[~np.isnan(narrow)] != numbers[~np.isnan(narrow)]).sum()) if whole else 0
    return narrow, rounded


def _refuse_text(column: pd.Series, text: np.ndarray, path: Path) -> None:
    """InputError that names the first cell that is text, and what helps: a few among numbers may be of a row that is no item."""
    row = int(np.flatnonzero(text)[0])
    value, named = str(column.iloc[row]), shlex.quote(str(column.name))
    texts, numbers = int(text.sum()), int(column.notna().sum() - text.sum())
    advice = ""
    if LIKE_NUMBER.fullmatch(value):
        advice = "say how numbers are written with --decimal and --thousands, "
    elif texts <= numbers:
        what = (
            "it holds units, delete lines above the names if it holds these"
            if row == 0
            else "it is a total or a remark"
        )
        stray = f"the other {numbers} are numbers: delete row {row + 1} from the file if {what}, "
        advice = stray if texts <= MOST_STRAY else f"{texts} cells are texts and {numbers} are numbers: "
        advice += "write a missing value as an empty cell, "
    raise InputError(
        f"{path.name}: column {column.name!r}, row {row + 1}: {value!r} is text; {advice}leave the column out with "
        f"--drop {named}, or turn its values into columns of 0 and 1 with --categorical {named}."
    )


def _check_steps(numbers: np.ndarray, name: str, path: Path) -> None:
    """InputError where float32 has fewer than FEWEST_STEPS values in the range of `numbers`, float64 (N,), which would become a few."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    step = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if 0 < high - low < FEWEST_STEPS * step and not (finite == finite.astype(np.float32)).all():
        raise InputError(
            f"{path.name}: column {name!r}: its values differ by {high - low:.3g} around {high:.6g}, of which float32 keeps steps of "
            f"{step:.3g}: subtract an offset, or leave it out with --drop {shlex.quote(name)}."
        )


def _refuse(frame: pd.DataFrame, names: list[str], holes: np.ndarray, path: Path) -> None:
    """InputError that names the first cell and counts all."""
    place = int(np.flatnonzero(holes.any(0))[0])
    row = int(np.flatnonzero(holes[:, place])[0])
    value = _plain(frame[names[place]].iloc[row]) if names[place] in frame else float("nan")
    fault = "missing" if pd.isna(pd.to_numeric(str(value), errors="coerce")) else "not finite as float32"
    value = float("nan") if pd.isna(value) else value
    counts = f"{int(holes.sum())} such cells in {int(holes.any(1).sum())} of {len(frame)} rows"
    raise InputError(
        f"{path.name}: column {names[place]!r}, row {row + 1}: {value!r} is {fault} ({counts}). --missing drop leaves such "
        "rows out, --missing median fills them with the medians of the training rows."
    )


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
