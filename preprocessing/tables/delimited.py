"""Text tables: csv, tsv, and either of them packed by gzip."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.tables.columns import TableReading
from esad.preprocessing.tables.dialect import Dialect, find_dialect, open_bytes

HOLES = ["?"]
"""Beside what pandas takes for a missing value: older collections write it so."""


def load_text(path: Path, reading: TableReading) -> tuple[pd.DataFrame, list[str]]:
    """(frame, notes): a header line, then rows. A first column without a name that counts the rows is left out, as is a last
    one without name and content; both are noted.

    Raises InputError where the first line holds numbers, a column has no name or another's, or a row has more cells than the
    header: all silent losses else.
    """
    dialect = find_dialect(path, reading)
    names, width = _header(path, dialect)
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:  # pandas would rename the second one
        raise InputError(f"{path.name}: has two columns named {twice!r}; rename or drop one.")
    counted = [[str(n + first) for n in range(len(names))] for first in (0, 1)]
    if names and pd.to_numeric(pd.Series(names), errors="coerce").notna().all() and names not in counted:
        raise InputError(f"{path.name}: the first line holds numbers ({names[0]}, …); expected column names.")
    with open_bytes(path) as file, io.TextIOWrapper(file, dialect.encoding, newline="") as text:
        table = pd.read_csv(
            text, sep=dialect.delimiter, decimal=dialect.decimal, thousands=dialect.thousands, low_memory=False,
            skipinitialspace=True, na_values=HOLES,
        )  # fmt: skip
    table, notes = _without_counts(table, names, width, path)
    return table, [*dialect.told, *notes]


def _header(path: Path, dialect: Dialect) -> tuple[list[str], int]:
    """(names in the first line that holds anything, number of cells in the next)."""
    with open_bytes(path) as file, io.TextIOWrapper(file, dialect.encoding, newline="") as text:
        rows = (row for row in csv.reader(text, delimiter=dialect.delimiter, skipinitialspace=True) if row)
        return next(rows, []), len(next(rows, []))


def _without_counts(
    table: pd.DataFrame, names: list[str], width: int, path: Path
) -> tuple[pd.DataFrame, list[str]]:
    """`table` without what only counts its rows, or is nothing; InputError for other columns without a name."""
    notes = []
    if not isinstance(
        table.index, pd.RangeIndex
    ):  # rows with one cell more than the header, as R writes its row names
        if table.index.nlevels > 1 or not table.index.is_unique:
            raise InputError(
                f"{path.name}: its rows have more cells than its header has names ({len(names)}); name every column."
            )
        notes.append("row names without a heading left out")
        table = table.reset_index(drop=True)
    unnamed = [n for n, name in enumerate(names) if not name.strip()]
    for place in unnamed:
        column = table.iloc[:, place]
        if column.isna().all() and place == len(names) - 1:
            notes.append("empty last column left out")
        elif place == 0 and pd.api.types.is_integer_dtype(column.dtype) and column.is_unique:
            notes.append("first column left out: it has no name and numbers the rows")
        else:
            raise InputError(
                f"{path.name}: column {place + 1} has no name; name it, or leave it out with --drop 'Unnamed: {place}'."
            )
    return table.drop(columns=[table.columns[place] for place in unnamed]), notes
