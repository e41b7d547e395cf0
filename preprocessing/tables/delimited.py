"""Text tables: csv, tsv and others like them, also packed by gzip, bzip2 or zip."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.refusals import in_words
from esad.preprocessing.splits.no_label import OF_PROGRAMS
from esad.preprocessing.tables.columns import TableReading
from esad.preprocessing.tables.dialect import Dialect, find_dialect
from esad.preprocessing.tables.written_numbers import NAMELESS, plain_columns, without_names
from esad.preprocessing.texts import open_bytes

NA_WORDS = [*OF_PROGRAMS, "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
"""What stands for a missing number, as pandas has it; a label, a group or a category may be called so."""


def load_text(path: Path, reading: TableReading) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """(frame, why some columns are no features, notes): a header line, then rows.

    A first column without a name that counts the rows is left out, as is a last one without name and content; both are
    noted. Raises InputError where the first line holds numbers, a column has another's name, or a row has more cells
    than the header: all silent losses else.
    """
    dialect = find_dialect(path, reading)
    names, width = _header(path, dialect)
    if not names:
        raise InputError(f"{path.name}: not a readable csv: it is empty; expected a line of names and rows.")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:  # pandas would rename the second one
        raise InputError(f"{path.name}: has two columns named {twice!r}; rename or drop one.")
    table, points = _read(path, dialect, names, reading)
    called = {name.casefold() for name in reading.columns.known}
    is_header = width > len(names) or any(name.strip().casefold() in called for name in names)
    if not is_header and _are_values(names, table, dialect):
        raise InputError(f"{path.name}: the first line holds numbers; expected column names.")
    short = _check_ends(table, names, path, dialect, reading)
    table, unfit, notes = _without_counts(table, names, width, path)
    return table, points | unfit, [*dialect.told, *short, *notes]


def _are_values(names: list[str], table: pd.DataFrame, dialect: Dialect) -> bool:
    """Whether the `names` are a row of values: at least half are numbers, which do not count the columns,
    and there is nothing else, or they are as the numbers below them are.

    Columns may be called by numbers, as wavelengths and years are: five or more rise or fall, and fewer are not among what
    stands below them.
    """
    values = [_number(name, dialect) for name in names]
    numbers = [value for value in values if value is not None]
    filled = sum(bool(name.strip()) for name in names)
    if (
        not numbers
        or 2 * len(numbers) < filled
        or numbers in ([*range(len(numbers))], [*range(1, len(numbers) + 1)])
    ):
        return False
    falls_or_rises = numbers in (sorted(numbers), sorted(numbers, reverse=True))
    if len(numbers) == filled and not (falls_or_rises and names[0].strip() == ""):
        return True
    if falls_or_rises and len(numbers) > 4:
        return False
    below = [_number_range(table.iloc[:, place]) for place, value in enumerate(values) if value is not None]
    among = [low <= value <= high for value, (low, high) in zip(numbers, below, strict=True)]
    return 4 * sum(among) >= 3 * len(among)


def _number(text: str, dialect: Dialect) -> float | None:
    """A cell's number as the file writes numbers, or None."""
    value = pd.to_numeric(text.strip().replace(dialect.decimal, "."), errors="coerce")
    return None if pd.isna(value) else float(value)


def _number_range(column: pd.Series) -> tuple[float, float]:
    """(lowest, highest) of a column's numbers; NaN, in which nothing lies, where it has none."""
    numbers = pd.to_numeric(column, errors="coerce")
    return float(numbers.min()), float(numbers.max())


def _check_ends(
    table: pd.DataFrame, names: list[str], path: Path, dialect: Dialect, reading: TableReading
) -> list[str]:
    """A note where rows have fewer cells than the header; InputError where that takes a row's label, group or split from it.

    Programs leave out the delimiters of empty cells at the end of a row. pandas fills them without a word, and a file that was
    cut short looks alike.
    """
    if not len(table) or not table.iloc[:, -1].isna().any():
        return []
    taken = {
        place
        for place, name in enumerate(names)
        if name.strip().casefold() in map(str.casefold, reading.columns.known)
    }
    count = 0
    with open_bytes(path) as file, io.TextIOWrapper(file, dialect.encoding, newline="") as text:
        rows = csv.reader(text, delimiter=dialect.delimiter, skipinitialspace=True)
        if dialect.has_separator_line:
            next(rows, None)
        for row in rows:
            if len(row) >= len(names) or not any(cell.strip() for cell in row):
                continue
            count += 1
            lost = next((names[place] for place in sorted(taken) if place >= len(row)), None)
            if lost is not None:
                raise InputError(
                    f"{path.name}: line {rows.line_num} has {len(row)} cells, its header {len(names)} names: it is cut short before its "
                    f"{lost!r}. Write an empty cell as nothing between two delimiters."
                )
    return [f"{count} rows are shorter than the header; what they lack is missing"] if count else []


def _read(
    path: Path, dialect: Dialect, names: list[str], reading: TableReading
) -> tuple[pd.DataFrame, dict[str, str]]:
    """(pandas' frame, names of items, groups and sites as they are written; why columns of texts are no features by how their numbers are
    written). InputError for a line with more cells than the header has names, in our words."""
    columns = reading.columns_in(names, [], path)
    as_written = {columns.group, columns.site, columns.id} & set(names)
    words = as_written | ({columns.label, *reading.categories} & set(names))
    missing = {name: [""] if name in words else NA_WORDS for name in names}
    missing |= {columns.label: [*OF_PROGRAMS]} if columns.label in names else {}
    missing |= {f"Unnamed: {place}": NA_WORDS for place, name in enumerate(names) if not name}
    try:
        with open_bytes(path) as file, io.TextIOWrapper(file, dialect.encoding, newline="") as text:
            table = pd.read_csv(
                text, sep=dialect.delimiter, decimal=dialect.decimal, low_memory=False, skipinitialspace=True,
                skiprows=int(dialect.has_separator_line), keep_default_na=False, na_values=missing,
                dtype=dict.fromkeys(as_written, "string"),
            )  # fmt: skip
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        told = (
            f"line {found[2]} has {found[3]} cells, its header {len(names)} names"
            if found
            else in_words(error)
        )
        raise InputError(
            f"{path.name}: not a readable csv: {told}; put texts that hold the delimiter in quotes, and delete lines above the names, "
            "such as a title."
        ) from error
    _settle_words(table, columns.label, reading, dialect)
    thousands = dialect.thousands or ("." if dialect.decimal == "," and reading.thousands == "auto" else None)
    if not thousands and dialect.decimal == ".":
        return table, {}
    texts = [name for name in table if name not in words and pd.api.types.is_string_dtype(table[name].dtype)]
    return table, plain_columns(table, texts, dialect.decimal, thousands, reading.thousands != "auto")


def _settle_words(table: pd.DataFrame, label: str, reading: TableReading, dialect: Dialect) -> None:
    """In place, where words for nothing were kept as texts: `1,0` among labels is 1, and NA among numbers that are categories is a hole."""
    if label in table and dialect.decimal != "." and pd.api.types.is_string_dtype(table[label].dtype):
        whole = rf"^([+-]?\d+){re.escape(dialect.decimal)}0+$"
        table[label] = table[label].str.replace(whole, r"\1", regex=True)
    for name in reading.categories:
        if name in table and pd.api.types.is_string_dtype(table[name].dtype):
            holes = table[name].isin(NA_WORDS)
            if pd.to_numeric(table[name][~holes].dropna(), errors="coerce").notna().all():
                table[name] = table[name].mask(holes)


def _header(path: Path, dialect: Dialect) -> tuple[list[str], int]:
    """(names in the first line that holds anything, number of cells in the next)."""
    with open_bytes(path) as file, io.TextIOWrapper(file, dialect.encoding, newline="") as text:
        rows = (row for row in csv.reader(text, delimiter=dialect.delimiter, skipinitialspace=True) if row)
        if dialect.has_separator_line:
            next(rows, None)
        return next(rows, []), len(next(rows, []))


def _without_counts(
    table: pd.DataFrame, names: list[str], width: int, path: Path
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """(`table` without what only counts its rows or is nothing, why other columns without a name are no features, notes)."""
    notes = []
    if width > len(names):
        table, note = _without_index(table, names, path)
        notes.append(note)
    if NAMELESS.fullmatch(names[-1]) and table.iloc[:, -1].isna().all():
        table = table.iloc[:, :-1]
        notes.append("empty last column left out")
    nameless = [name for name in table if NAMELESS.fullmatch(str(name))]
    unfit = without_names(table)
    counting = [name for name in nameless if name not in unfit]
    notes += ["column left out: it has no name and numbers the rows"] * len(counting)
    return table.drop(columns=counting), unfit, notes


def _without_index(table: pd.DataFrame, names: list[str], path: Path) -> tuple[pd.DataFrame, str]:
    """(`table` by its names, what was left out), where pandas took the first of one cell too many for an index.

    R writes row names so; others end each row with a delimiter, and the cell too many is an empty last one.
    """
    if table.index.nlevels == 1 and table.iloc[:, -1].isna().all():
        whole = table.reset_index().iloc[:, : len(names)]
        return whole.set_axis(names, axis=1), "empty last column left out"
    if table.index.nlevels > 1 or not table.index.is_unique:
        raise InputError(
            f"{path.name}: its rows have more cells than its header has names ({len(names)}); name every column, and delete lines "
            "above the names, such as a title."
        )
    return table.reset_index(drop=True), "row names without a heading left out"
