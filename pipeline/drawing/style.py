"""How figures look, and how they are written: PNG, SVG and CSV, the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008), https://jfly.uni-koeln.de/color: apart for colour-blind readers, too. Yellow is left out: on white it
is not seen."""
MARKERS = "os^Dv<>"
LINES = ("-", "--", ":")
DPI = 150
UNSAFE = re.compile(r"[^\w.,=@+-]+")


@dataclass(frozen=True)
class Drawing:
    """A figure, what is said of it, and the numbers behind it: files `name`.png, `name`.svg and those of `tables`."""

    name: str
    title: str
    caption: str
    figure: Figure
    tables: Mapping[str, tuple[pd.DataFrame, str]] = field(default_factory=dict)
    """File name of a CSV -> its rows, and what a row is and its columns hold."""

    def write(self, folder: Path) -> None:
        """Write all files of it into `folder`, each whole or not at all."""
        from esad.preprocessing.store.writing import write_atomically, write_csv

        for name, (table, _) in self.tables.items():
            write_csv(folder / name, table)
        for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            with styled():
                save = partial(self.figure.savefig, dpi=DPI, metadata=metadata)
                write_atomically(folder / f"{self.name}.{ending}", save)


@contextmanager
def styled() -> Iterator[None]:
    """Within the block figures are made and written in the one style.

    Names within an SVG are random without a salt; the font is the one that matplotlib brings along.
    """
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "esad", "font.size": 9, "font.family": "DejaVu Sans"}):
        yield


def file_name(name: str) -> str:
    """`name` as a part of a file's name: `a/run` -> `a-run`."""
    return UNSAFE.sub("-", name).strip("-") or "run"


def shortened(text: str, most: int) -> str:
    """`text` of at most `most` letters: of a longer one the middle is left out."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def counted(count: int, what: str, plural: str | None = None) -> str:
    """`1 run`, `3 runs`."""
    return f"{count} {what if count == 1 else plural or f'{what}s'}"
