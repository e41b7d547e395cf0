"""How a person's table is to be read: which columns are what, how numbers are written, what becomes of holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from esad.preprocessing.errors import UsageError

RESERVED = ("item_id", "source", "shard", "index", "semi_label", "label", "group", "split", "place", "stated")
IGNORED = "none"
"""A column name that stands for no column."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are not features; `named` holds those that a person asked for by name."""

    label: str = "y"
    group: str = "group"
    split: str = "split"
    id: str = IGNORED
    named: frozenset[str] = frozenset()

    @property
    def known(self) -> tuple[str, ...]:
        """All four names."""
        return (self.label, self.group, self.split, self.id)

    def check(self, present: Sequence[str], path: Path) -> None:
        """UsageError where a column that was asked for is absent."""
        for name in sorted(self.named - {IGNORED}):
            check_present(name, present, path)


def check_present(name: str, present: Sequence[str], path: Path) -> None:
    """UsageError where the column `name` is none of those that are `present`."""
    if name not in present:
        raise UsageError(f"{path.name}: has no column {name!r}; it has {', '.join(present)}.")


@dataclass(frozen=True)
class TableReading:
    """What a person said of their tables; `auto` is found out from each file, where it is unambiguous."""

    columns: Columns = Columns()
    only: tuple[str, ...] | None = None
    """Feature columns, in order; None = all that are not known or dropped."""
    drop: tuple[str, ...] = ()
    categories: dict[str, list[str]] = field(default_factory=dict)
    """Text column -> its values, each of which becomes a column of 0 and 1."""
    missing: Literal["refuse", "drop", "median"] = "refuse"
    delimiter: str = "auto"
    decimal: str = "auto"
    thousands: str = "auto"
    encoding: str = "auto"
    sheet: str | None = None
    """Of a workbook; None = its only one that is not empty."""


def split_names(names: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """`names` where one that holds commas and is no column of its own is a list of names: `--drop a,b`."""
    out: list[str] = []
    for name in names:
        out += [name] if name in present or "," not in name else [part.strip() for part in name.split(",")]
    return tuple(out)
