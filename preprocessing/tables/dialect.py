"""How a text table is written: encoding, delimiter, decimal and thousands marks, found where they are unambiguous.

Only what every line of the sample bears out is taken; where two readings are possible the person is asked.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.store.csv_cells import stated_separator
from esad.preprocessing.tables.columns import TableReading
from esad.preprocessing.tables.written_numbers import END, SIGN
from esad.preprocessing.texts import PACKED, check_packed, find_encoding, open_bytes

SAMPLE = 1 << 20
"""Characters that delimiter and marks are found from; the encoding is found from the whole file."""
SAMPLE_ROWS = 2000
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NAMED = {
    "comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|", "pipe": "|", "space": " ", "point": ".",
    "apostrophe": "'",
}  # fmt: skip
"""Words for marks that are awkward to type."""
BEGUN_BY_NUMBERS = re.compile(r"#[^\s#]*")
"""A first cell that is a name, `#` or `#ID`, and no remark."""
MARKED = re.compile(r"[.,]\d")
UNGROUPED = re.compile(rf"{SIGN}(\d*)([.,])(\d+){END}")
GROUPED = re.compile(
    rf"{SIGN}\d{{1,3}}(?:([., '\u00a0\u202f\u2019])\d{{3}})(?:\1\d{{3}})*(?:([.,])\d+)?{END}"
)


@dataclass(frozen=True)
class Dialect:
    """How one file is written; `told` what was found that is not plain (UTF-8, commas, points)."""

    encoding: str
    delimiter: str
    decimal: str = "."
    thousands: str | None = None
    has_separator_line: bool = False
    """The first line says `sep=` for Excel, and is no header."""

    @property
    def told(self) -> list[str]:
        """In words, where it is not what every program writes."""
        marks = {"\u00a0": "no-break space", "\u202f": "narrow no-break space", " ": "space"}
        words = []
        if self.encoding not in ("utf-8", "utf-8-sig"):
            words.append(
                {"cp1252": "Windows-1252", "latin-1": "Latin-1"}.get(self.encoding, self.encoding.upper())
            )
        if self.delimiter != ",":
            words.append(DELIMITERS.get(self.delimiter, f"delimiter {self.delimiter!r}"))
        if self.decimal != ".":
            words.append("decimal commas")
        if self.thousands:
            words.append(f"thousands by {marks.get(self.thousands, repr(self.thousands))}")
        return [f"read as {', '.join(words)}"] if words else []


def find_dialect(path: Path, reading: TableReading) -> Dialect:
    """The dialect of a text table, packed where its name says so (`open_bytes`); what `reading` states is taken as it is.

    Raises InputError where it is no text, grows beyond what it can hold, or two readings are possible; UsageError for an
    encoding or mark that is none.
    """
    encoding = _encoding(path, reading.encoding)
    with open_bytes(path) as file:
        text = file.read(SAMPLE).decode(encoding, "ignore")
    whole = len(text.encode(encoding, "ignore")) < SAMPLE - 16
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    lines = lines if whole else lines[:-1]
    whole, lines = whole and len(lines) <= SAMPLE_ROWS, lines[:SAMPLE_ROWS]
    said = stated_separator(lines[0]) if lines else None
    if said:  # a first line for Excel
        lines = lines[1:]
    elif _is_remark(lines, reading):
        raise InputError(
            f"{path.name}: its first line is a remark ({lines[0][:20]!r}); expected the names of columns."
        )
    delimiter = _stated_delimiter(reading.delimiter) or (said or _find_delimiter(lines, path, reading))
    cells = _cells(lines, delimiter)[1:]
    if not whole and delimiter == ";" and reading.decimal == "auto":
        cells = (
            cells if any(_has_mark(cell) for row in cells for cell in row) else _late_cells(path, encoding)
        )
    dialect = _find_marks(cells, delimiter, path, reading)
    return replace(dialect, encoding=encoding, has_separator_line=bool(said))


def _is_remark(lines: Sequence[str], reading: TableReading) -> bool:
    """Whether the first line begins with `#` and holds no names: it is parted into other cells than the next one, or the first of its
    cells is more than a word, as `# made by` is."""
    if not lines or not lines[0].lstrip().startswith("#"):
        return False
    stated = _stated_delimiter(reading.delimiter)
    for mark in [stated] if stated else DELIMITERS:
        names, *rows = _cells(lines[:2], mark)
        alike = all(len(row) == len(names) and not row[0].startswith("#") for row in rows)
        if len(names) > 1 and alike and BEGUN_BY_NUMBERS.fullmatch(names[0].strip()):
            return False
    return True


def _encoding(path: Path, stated: str) -> str:
    """The stated encoding, else what is found."""
    if stated == "auto":
        return find_encoding(path)
    check_packed(path)
    try:
        return codecs.lookup(stated).name
    except LookupError as error:
        raise UsageError(
            f"--encoding {stated!r}: no such encoding; for example utf-8, latin-1, cp1252."
        ) from error


def _stated_delimiter(stated: str) -> str | None:
    if stated == "auto":
        return None
    return _stated_mark("--delimiter", stated)


def stated_marks(reading: TableReading) -> tuple[str, str | None]:
    """(decimal mark, thousands mark or None) of texts in a format that has numbers of its own: what a person stated, and points of
    thousands where decimals are stated to have commas. UsageError for what is no mark, and for one that is both."""
    decimal = "." if reading.decimal == "auto" else reading.decimal
    thousands = "." if decimal == "," and reading.thousands == "auto" else None
    if reading.thousands not in ("auto", "none"):
        thousands = _stated_mark("--thousands", reading.thousands)
    _check_differ(decimal, thousands)
    return decimal, thousands


def _check_differ(decimal: str, thousands: str | None) -> None:
    if thousands == decimal:
        raise UsageError(f"--decimal and --thousands are both {decimal!r}: they must differ.")


def _stated_mark(option: str, stated: str) -> str:
    """The character that a person `stated` for `option`, by itself or by its name; UsageError for what is neither."""
    mark = NAMED.get(stated.lower(), stated)
    if len(mark) != 1:
        raise UsageError(f"{option} {stated!r}: expected one character, or one of {', '.join(NAMED)}.")
    return mark


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    return list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))


def _find_delimiter(lines: Sequence[str], path: Path, reading: TableReading) -> str:
    """The mark that parts every line into as many cells as the header; InputError where two do equally well."""
    able: dict[str, float] = {}
    for mark in DELIMITERS:
        rows = _cells(lines, mark)
        counts = {len(row) for row in rows[1:]}
        header = len(rows[0]) if rows else 0
        if header > 1 and counts <= {header, header + 1}:  # R leaves out the name of its row names
            filled = [cell for row in rows[1:200] for cell in row]
            able[mark] = float(np.mean([_is_number(cell) for cell in filled])) if filled else 0.0
    if len(able) > 1:
        best = max(able.values())
        able = {mark: share for mark, share in able.items() if share == best}
    if len(able) > 1:
        raise InputError(
            f"{path.name}: {' and '.join(DELIMITERS[mark] for mark in able)} part its lines equally well; say which with "
            "--delimiter."
        )
    if able:
        return next(iter(able))
    first = lines[0] if lines else ""
    if not any(mark in first for mark in DELIMITERS) and any("," in line for line in lines[1:]):
        return ";" if reading.decimal == "," else _of_one_column(lines, path)
    _check_spaces(lines, path)
    bare = path.name.lower().removesuffix(path.suffix.lower() if path.suffix.lower() in PACKED else "")
    return "\t" if bare.endswith((".tsv", ".tab")) else _in_header(lines)


def _check_spaces(lines: Sequence[str], path: Path) -> None:
    """InputError where only spaces part the lines, each into as many cells as the first into names, or one more, as R writes them, and
    half of these are numbers: 1 234 would be one number."""
    names, *rows = [line.split() for line in lines] or [[]]
    counts = {len(row) for row in rows}
    marked = any(mark in line for line in lines for mark in DELIMITERS)
    if marked or not rows or len(names) < 2 or not counts <= {len(names), len(names) + 1}:
        return
    cells = [cell for row in rows[:200] for cell in row]
    if 2 * sum(map(_is_number, cells)) >= len(cells):
        raise InputError(
            f"{path.name}: spaces part its lines into {max(counts)} cells each; say --delimiter space, or --delimiter , if each line is "
            "one cell."
        )


def _of_one_column(lines: Sequence[str], path: Path) -> str:
    """A mark that parts nothing, where a header of one name stands over numbers with decimal commas.

    InputError where what stands before the commas counts the rows: these may be row names as well.
    """
    numbers = [
        part for part in map(UNGROUPED.fullmatch, map(str.strip, lines[1:])) if part and part[2] == ","
    ]
    if len(numbers) < len(lines) - 1:
        return ","
    before = [int(part[1] or 0) for part in numbers]
    if before in (list(range(len(before))), list(range(1, len(before) + 1))):
        raise InputError(
            f"{path.name}: {lines[1].strip()} may be one number or a row's name and a number; say which with --decimal , or "
            "--delimiter ,"
        )
    return ";"


def _in_header(lines: Sequence[str]) -> str:
    """Where no mark parts all lines alike: the one that the header has most of, so that the fault is told by line."""
    header = lines[0] if lines else ""
    return max(DELIMITERS, key=header.count)


def _is_number(cell: str) -> bool:
    text = cell.strip()
    return bool(
        UNGROUPED.fullmatch(text) or GROUPED.fullmatch(text) or re.fullmatch(rf"{SIGN}\d+{END}", text)
    )


def _has_mark(cell: str) -> bool:
    return bool(UNGROUPED.fullmatch(cell.strip()) or GROUPED.fullmatch(cell.strip()))


def _late_cells(path: Path, encoding: str) -> list[list[str]]:
    """Cells of the first lines with semicolons in which a number has a mark, wherever these stand: with whole numbers before them, 2.100
    may be of thousands or of decimals."""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding, errors="ignore") as text:
        rows = csv.reader(
            (line for line in text if MARKED.search(line)), delimiter=";", skipinitialspace=True
        )
        marked = ([cell for cell in row if _has_mark(cell)] for row in rows)
        return list(itertools.islice(filter(None, marked), SAMPLE_ROWS))


def _find_marks(rows: list[list[str]], delimiter: str, path: Path, reading: TableReading) -> Dialect:
    """Decimal and thousands marks of cells, without the header's; what is stated is taken as it is."""
    decimals: set[str] = set()
    groups: set[str] = set()
    either: dict[str, str] = {}
    for row in rows:
        for cell in row:
            text = cell.strip()
            grouped, plain = GROUPED.fullmatch(text), UNGROUPED.fullmatch(text)
            if grouped and (grouped[2] or grouped[1] not in ".," or text.count(grouped[1]) > 1):
                groups.add(grouped[1])
                decimals |= {grouped[2]} if grouped[2] else set()
            elif grouped and plain and plain[1] != "0":
                either.setdefault(grouped[1], text)  # 1,234: a number of thousands, or one of three decimals
            elif plain:
                decimals.add(plain[2])
    decimal = _decimal(decimals, groups, either, delimiter, path, reading)
    thousands = None if reading.thousands == "none" else "auto"
    if reading.thousands not in ("auto", "none"):
        thousands = _stated_mark("--thousands", reading.thousands)
    if thousands == "auto":
        found = (groups | set(either)) - {decimal} - decimals
        if len(found) > 1:
            raise InputError(
                f"{path.name}: numbers are grouped by {' and by '.join(map(repr, sorted(found)))}; say which with --thousands."
            )
        thousands = found.pop() if found else None
    _check_differ(decimal, thousands)
    return Dialect("utf-8", delimiter, decimal, thousands)


def _decimal(
    decimals: set[str],
    groups: set[str],
    either: dict[str, str],
    delimiter: str,
    path: Path,
    reading: TableReading,
) -> str:
    """`.` or `,`; InputError where both stand, or where a mark may be either."""
    if reading.decimal != "auto":
        return reading.decimal
    if len(decimals) > 1 and delimiter == ",":
        return "."  # commas within quotes: what has them is text, and told as such
    if len(decimals) > 1:
        raise InputError(
            f"{path.name}: some numbers have decimal points and some decimal commas; say which it is with --decimal."
        )
    if decimals:
        return decimals.pop()
    if groups & set(".,"):
        return "," if "." in groups else "."
    unclear = either.get(",") or (either.get(".") if delimiter == ";" else None)
    if unclear and reading.thousands == "auto":
        raise InputError(
            f"{path.name}: {unclear} may be a number of thousands or one of three decimals; say which mark is which with "
            "--decimal . or --decimal ,"
        )
    if unclear and reading.thousands != "none":
        return "," if reading.thousands == "." else "."
    return "."
