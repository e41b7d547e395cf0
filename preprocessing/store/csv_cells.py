"""Texts in CSV that a spreadsheet would take for a formula: escaped on writing, and back on reading.

A cell that begins with =, +, -, @, a tab or a carriage return and is no number gets a leading ' (OWASP, CSV Injection:
https://owasp.org/www-community/attacks/CSV_Injection). One that begins with ' before such a sign gets another, so that
`plain` gives back every text as it was.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

BEGINS_A_FORMULA = re.compile(r"'*[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
SEPARATOR_LINE = re.compile(r' *"?sep=(.)"? *[\r\n]*', re.IGNORECASE)


def escaped(text: str) -> str:
    """`text` as a cell that no spreadsheet runs."""
    return f"'{text}" if BEGINS_A_FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def plain(text: str) -> str:
    """The text that `escaped` was given."""
    if text.startswith("'") and BEGINS_A_FORMULA.match(text) and not NUMBER.fullmatch(text):
        return text[1:]
    return text


def stated_separator(first_line: str) -> str | None:
    """The mark that parts the cells of the lines below, where the first one only says so to Excel: `;` of `sep=;`."""
    found = SEPARATOR_LINE.fullmatch(first_line)
    return found[1] if found else None


def _of_texts(value: Any, change: Any) -> Any:
    return change(value) if isinstance(value, str) else value


def _each(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """`table` with all texts, its columns' names, too, changed."""
    changed = table.copy()
    for name in table.columns:
        values = table[name]
        if not (
            pd.api.types.is_numeric_dtype(values.dtype)
            or pd.api.types.is_bool_dtype(values.dtype)
            or pd.api.types.is_datetime64_any_dtype(values.dtype)
        ):
            texts = [_of_texts(value, change) for value in values.astype(object)]
            changed[name] = pd.Series(texts, index=table.index, dtype=object)
    changed.columns = [_of_texts(name, change) for name in table.columns]
    return changed


def csv_text(table: pd.DataFrame) -> str:
    """`table` as CSV with a header, its texts escaped."""
    return _each(table, escaped).to_csv(index=False, lineterminator="\n")


def plain_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table that was read from a CSV of `csv_text`, with its texts as they were."""
    return _each(table, plain)
