"""Camelyon16's own files."""

from __future__ import annotations

import csv
from pathlib import Path

from preprocessing.errors import UsageError


def read_reference(path: Path) -> dict[str, bool]:
    """Stem of a test slide, lower case -> whether it has a tumour, from the challenge's reference.csv.

    Rows are stem, Normal or Tumor, and more; a header is passed over. UsageError where no row is of that form.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip().lower() for cell in row] for row in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: not a readable CSV ({error}).") from error
    known = {"normal": False, "tumor": True}
    found = {
        Path(row[0]).stem if row[0].endswith(".tif") else row[0]: known[row[1]]
        for row in rows
        if len(row) > 1 and row[1] in known
    }
    if not found:
        raise UsageError(f"{path}: expected rows such as test_001,Tumor,IDC,Macro; found none.")
    return found
