"""Texts that are numbers in a person's writing (`1.234,5`) as plain ones, and columns that only count the rows."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.splits.no_label import HOLES
from esad.preprocessing.tables.columns import fold_name

SIGN, END = r"[+-]?", r"(?:[eE][+-]?\d+)?"
NAMELESS = re.compile(r"\s*|Unnamed: \d+(\.\d+)*")
"""No name, and what pandas wrote in its place the last time that it read and wrote the table."""
COUNTING = frozenset(
    {"id", "index", "no", "nr", "row", "row_id", "rowid", "row_number", "level_0", "sample_id", "idx"}
)
"""What columns are called that may only number the rows, as `fold_name` writes it."""
NAMING = frozenset({"id", "row_id", "rowid", "sample_id"})
"""Those of them whose numbers need not rise by one: others, such as NO, may be measured."""
IN_ORDER = frozenset({
    "", "case", "case_id", "case_no", "case_number", "caseno", "entry", "entry_no", "example", "example_id", "fila", "index", "instance",
    "instance_id", "item", "item_id", "item_no", "laufende_nummer", "laufnummer", "lfd", "lfd_nr", "lfdnr", "lfnr", "ligne", "line",
    "line_no", "no", "nr", "obs", "obs_id", "obs_no", "observation", "observation_no", "pk", "probe_nr", "recno", "record", "record_id",
    "record_no", "record_number", "riga", "row_names", "row_no", "row_num", "rowname", "rownames", "rownum", "s_no", "sample",
    "sample_no", "sample_nr", "sample_number", "seq", "seq_no", "sequence", "ser_no", "serial", "serial_no", "serial_number", "sl_no",
    "slno", "sno", "specimen", "specimen_no", "sr_no", "srno", "uid", "unnamed", "unnamed_0", "zeile",
})  # fmt: skip
"""The same, where each row has one more than the row before, from any number on: a later table may go on where one ended."""
MEASURED = frozenset(
    {
        "count",
        "counter",
        "element",
        "key",
        "n",
        "num",
        "number",
        "numer",
        "numero",
        "nummer",
        "order",
        "position",
        "probe",
        "rank",
    }
)
"""The same of what may be measured, too: from 0 or 1 on, over FEWEST_UNNAMED rows."""
FEWEST_COUNTED = 3
FEWEST_UNNAMED = 20
"""In fewer rows a column of any name may be 1, 2, 3, … by chance, or sorted."""


def plain_columns(
    frame: pd.DataFrame,
    texts: Sequence[str],
    decimal: str,
    thousands: str | None,
    stated: bool,
    numbers: Mapping[str, pd.Series] | None = None,
) -> dict[str, str]:
    """`plain_numbers` of the columns `texts` of `frame`, in place: why some are no features. Cells that `numbers` marks stay."""
    unfit = {}
    for name in texts:
        own = (numbers or {}).get(name, pd.Series(False, frame.index))
        plain, reason = plain_numbers(frame[name].mask(own), decimal, thousands, stated)
        frame[name] = plain.where(~own, frame[name])
        if reason:
            unfit[name] = reason
    return unfit


def plain_numbers(
    column: pd.Series, decimal: str, thousands: str | None, stated: bool
) -> tuple[pd.Series, str | None]:
    """(`column` of texts with its numbers written by `decimal` and `thousands` as plain ones, why it is no feature).

    Not pandas' `thousands`, which takes 1,5 for 15. Texts that are no numbers stay. A reason is found where the decimal mark is a comma
    and a text is a number by the point alone: it would be read as a thousandth of 2.100, or as something that nobody wrote. So is one
    where some thousands are grouped by points and others not, unless a person `stated` the mark: 2.100 beside 2500 may be 2.1.
    """
    point = rf"(?:{re.escape(decimal)}\d+)?"
    grouped = rf"[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+{point}|" if thousands else ""
    fits = column.str.fullmatch(rf"{SIGN}(?:{grouped}\d*{point}{END})")
    plain = column.str.replace(thousands, "", regex=False) if thousands else column
    found = column.where(~fits.fillna(False).astype(bool), plain.str.replace(decimal, ".", regex=False))
    if decimal == ".":
        return found, None
    pointed = _first(column, rf"{SIGN}\d*\.\d+{END}", found == column)
    if pointed is not None:
        return found, (
            f"has {column.iloc[pointed]!r} in row {pointed + 1}, with a point, where decimals are written with {decimal!r}: say how "
            "numbers are written with --decimal and --thousands"
        )
    if _first(column, rf"{SIGN}\d{{1,3}}(?:\.\d{{3}})+(?:\.\d{{3}}|,\d+)", fits) is not None:
        return found, None  # no decimal point can stand there
    with_mark = _first(column, rf"{SIGN}\d+\..*", fits) if thousands == "." and not stated else None
    without = None if with_mark is None else _first(column, rf"{SIGN}\d{{4,}}(?:,\d+)?{END}", fits)
    if with_mark is None or without is None:
        return found, None
    return found, (
        f"has {column.iloc[with_mark]!r} in row {with_mark + 1}, with a point, and {column.iloc[without]!r} in row {without + 1}, "
        "without: say --thousands . if points group thousands, --decimal . if they part decimals"
    )


def _first(column: pd.Series, pattern: str, among: pd.Series) -> int | None:
    """The first place of a text that matches, where `among` is true."""
    matches = column.str.fullmatch(pattern).fillna(False).astype(bool) & among.fillna(False).astype(bool)
    return int(matches.to_numpy(dtype=bool).argmax()) if matches.any() else None


def may_be_thousands(column: pd.Series) -> str | None:
    """Why a column of texts is no feature before a person says how its numbers are written: where each is whole or has three places
    behind a point, 2.100 may be 2100."""
    texts = column.str.strip()
    first = _first(texts, rf"{SIGN}[1-9]\d{{0,2}}(?:\.\d{{3}})+", texts.notna())
    filled = texts[texts.notna() & ~texts.str.casefold().isin(HOLES)]
    if first is None or not filled.str.fullmatch(rf"{SIGN}(?:0|[1-9]\d{{0,2}}(?:\.\d{{3}})*)").all():
        return None
    return (
        f"has {texts.iloc[first]!r} in row {first + 1}, a text that may be a number of thousands or one of three decimals: say how "
        "numbers are written with --decimal and --thousands (--decimal , reads thousands here, --decimal . decimals)"
    )


def without_holes(column: pd.Series) -> tuple[pd.Series, Counter[str]]:
    """(`column` of texts without the words for a missing value, how often each stood there): as it is where no cell is a number."""
    words = column.str.strip()
    holes = words.str.casefold().isin(HOLES)
    if not holes.any() or pd.to_numeric(words[~holes], errors="coerce").isna().all():
        return column, Counter()
    return column.mask(holes), Counter(words[holes].tolist())


def counts_rows(column: pd.Series, name: str, place: int) -> bool:
    """Whether a column, the `place`-th from 0, numbers the rows and says nothing of them: called so, or first and without a name, each
    its own whole number; or called as one of IN_ORDER, or without a name and elsewhere, one more in each row. As a feature it would tell
    where a row stands, and anomalies often stand last. Texts that are numbers count as such, and cells without a value as none."""
    nameless = bool(NAMELESS.fullmatch(name))
    if not nameless and _is_running(column, name):
        return True
    if not (nameless or fold_name(name) in COUNTING) or pd.api.types.is_bool_dtype(column.dtype):
        return False
    filled = column.dropna()
    values = pd.to_numeric(filled, errors="coerce").astype(float)
    fewest = FEWEST_COUNTED if nameless and place > 0 else 1
    if len(values) < fewest or not values.is_unique or not (values % 1 == 0).all():
        return False
    named = fold_name(name) in NAMING or (nameless and place == 0)
    return named or bool((values.diff().dropna() == 1).all())


def may_count_rows(name: str) -> bool:
    """Whether a column is called, or not called, as one that numbers the rows."""
    return (
        bool(NAMELESS.fullmatch(name))
        or fold_name(name) in COUNTING
        or fold_name(_plain_letters(name)) in IN_ORDER | MEASURED
    )


def _is_running(column: pd.Series, name: str) -> bool:
    """Whether a column is called as one of IN_ORDER or MEASURED and counts its rows."""
    called = fold_name(_plain_letters(name))
    if called in IN_ORDER:
        return in_order(column, FEWEST_COUNTED, begins=None)
    return called in MEASURED and in_order(column, FEWEST_UNNAMED)


def _plain_letters(name: str) -> str:
    """A name without accents: `Numero` of `Número`, `No` of `Nº`."""
    return "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))


def in_order(column: pd.Series, fewest: int, begins: Sequence[float] | None = (0.0, 1.0)) -> bool:
    """Whether a column of `fewest` rows or more has in each row one more than in the row before, from a number of `begins` (None: any)."""
    if len(column) < max(fewest, 1) or pd.api.types.is_bool_dtype(column.dtype) or column.isna().any():
        return False
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=float("nan"))
    return (
        (begins is None or values[0] in begins)
        and values[0] % 1 == 0
        and bool((values[1:] - values[:-1] == 1).all())
    )


def notes_of_counts(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """What to mind of those of the features `names`, beside others, that count all the rows (`in_order`): they tell where a row stands."""
    counting = [name for name in names if name in frame and in_order(frame[name], FEWEST_UNNAMED)]
    return [
        f"WARNING: feature {name!r} counts the rows: if it only numbers them, leave it out with --drop {shlex.quote(name)}"
        for name in (counting if len(names) > 1 else [])
    ]


def without_names(frame: pd.DataFrame) -> dict[str, str]:
    """Why columns without a name are no features; those that number the rows are left out elsewhere."""
    return {
        str(name): "has no name; name it"
        for place, name in enumerate(frame.columns)
        if NAMELESS.fullmatch(str(name)) and not counts_rows(frame.iloc[:, place], str(name), place)
    }


def check_title(frame: pd.DataFrame, path: Path) -> None:
    """InputError where the first line names the first column alone, and texts stand below the others: it is a title, not the names."""
    first, *others = map(str, frame.columns)
    if NAMELESS.fullmatch(first) or not others or not all(map(NAMELESS.fullmatch, others)) or not len(frame):
        return
    cells = frame.iloc[0, 1:].dropna()
    if len(cells) and pd.to_numeric(cells.astype(str), errors="coerce").isna().all():
        raise InputError(
            f"{path.name}: the first line holds {first!r} alone, and row 1 {str(frame.iloc[0, 0])!r} and {str(cells.iloc[0])!r}; expected "
            "names of columns first: delete the lines above the names."
        )
