"""Workbooks (.xlsx): the values of one sheet, formulas by their last result. Read in a process of its own."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size

A_NUMBER = "\ue000"
"""Before a number among texts: it is no text that somebody wrote with marks of their own. Taken off where the sheet is read."""


def load_workbook(path: str, sheet: str | None) -> list[Any]:
    """[frame, notes] of a sheet whose first row holds names; numbers as float64, all else as text; numbers in a column with texts are
    texts behind A_NUMBER.

    Raises InputError where openpyxl is not installed, for a `sheet` that is not there, and where several sheets are filled
    and none was named; and what openpyxl raises.
    """
    place = Path(path)
    try:
        import openpyxl  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InputError(
            f"{place.name}: workbooks need openpyxl: install esad[tables], or save it as csv."
        ) from error
    with zipfile.ZipFile(place) as archive:
        check_size(place.name, sum(entry.file_size for entry in archive.infolist()), place.stat().st_size)
    book = openpyxl.load_workbook(place, read_only=True, data_only=True)
    filled = {each.title: rows for each in book.worksheets if (rows := _rows(each))}
    if sheet is not None and sheet not in filled:
        raise InputError(
            f"{place.name}: has no filled sheet {sheet!r}; it has {', '.join(filled) or 'none'}."
        )
    if not filled or (sheet is None and len(filled) > 1):
        raise InputError(
            f"{place.name}: filled sheets: {', '.join(filled) or 'none'}; name one with --sheet NAME."
        )
    title = sheet or next(iter(filled))
    header, *rows = filled[title]
    names = [f"Unnamed: {n}" if name is None else str(name) for n, name in enumerate(header)]
    width = max([len(names), *map(len, rows)])
    if any(value is not None for row in rows for value in row[len(names) :]):
        raise InputError(f"{place.name}: sheet {title!r} has cells beyond its {len(names)} named columns.")
    padded = [[*row, *[None] * (width - len(row))][: len(names)] for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{place.name}: has two columns named {twice!r}; rename or drop one.")
    if any(value is None for row in padded for value in row):
        _check_formulas(place, title)
    kept = [
        n for n, name in enumerate(header) if name is not None or any(row[n] is not None for row in padded)
    ]
    columns = {names[n]: _column([row[n] for row in padded]) for n in kept}
    return [pd.DataFrame(columns, index=range(len(rows))), [f"sheet {title!r}"]]


def _check_formulas(path: Path, title: str) -> None:
    """InputError for a formula whose value the file does not hold: it would pass for an empty cell."""
    import openpyxl  # noqa: PLC0415  an extra

    with_values = openpyxl.load_workbook(path, read_only=True, data_only=True)[title].iter_rows()
    formulas = openpyxl.load_workbook(path, read_only=True)[title].iter_rows()
    for row, others in zip(with_values, formulas, strict=False):
        for cell, other in zip(row, others, strict=False):
            if cell.value is None and isinstance(other.value, str) and other.value.startswith("="):
                raise InputError(
                    f"{path.name}: sheet {title!r}, cell {other.coordinate}: a formula without a stored value; open and save the "
                    "workbook in a spreadsheet program first."
                )


def _rows(sheet: Any) -> list[list[Any]]:
    """The rows that hold anything."""
    rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    return [row for row in rows if any(value is not None for value in row)]


def _column(values: list[Any]) -> pd.Series:
    numeric = all(value is None or isinstance(value, (int, float)) for value in values)
    if numeric:
        return pd.Series([float("nan") if value is None else float(value) for value in values])
    return pd.Series([None if value is None else _text(value) for value in values], dtype="string")


def _text(value: Any) -> str:
    """A cell of a column with texts: a number behind A_NUMBER."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{A_NUMBER}{value}" if number else str(value)
