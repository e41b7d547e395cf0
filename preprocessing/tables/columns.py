"""How a person's table is to be read: which columns are what, how numbers are written, what becomes of holes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.group_names import GROUP_NAMES

RESERVED = (
    "item_id",
    "source",
    "shard",
    "index",
    "semi_label",
    "label",
    "group",
    "split",
    "site",
    "place",
    "stated",
)
IGNORED = "none"
"""A column name that stands for no column."""
LABEL_NAMES = frozenset({
    "y", "label", "labels", "class", "classes", "target", "targets", "outlier", "is_outlier", "anomaly", "is_anomaly", "anomalous",
    "diagnosis", "ground_truth", "gt", "y_true", "outliers", "anomalies", "anomaly_label", "outlier_label", "class_label", "label_name",
    "fraud", "is_fraud", "attack", "is_attack", "abnormal", "is_abnormal", "malignant", "is_malignant", "inlier", "is_inlier", "is_normal",
})  # fmt: skip
"""What labels are called elsewhere, as `fold_name` writes it."""
MAYBE_LABELS = frozenset({
    "outcome", "status", "category", "result", "truth", "defect", "defects", "is_defect", "defective", "is_defective", "fault", "faulty",
    "is_faulty", "failure", "is_failure", "failed", "machine_failure", "disease", "has_disease", "cancer", "has_cancer", "intrusion",
    "is_intrusion", "dx", "healthy", "is_healthy", "pathological", "is_pathological", "state", "condition", "pass_fail",
    "klasse", "clase", "classe", "abnormality", "tumor", "tumour", "is_tumor", "has_tumor", "lesion", "has_lesion",
})  # fmt: skip
"""What labels may be called where a table has no other."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are not features; `named` holds those that a person asked for by name."""

    label: str = "y"
    group: str = "group"
    split: str = "split"
    id: str = IGNORED
    site: str = "site"
    named: frozenset[str] = frozenset()
    site_key: bytes | None = field(default=None, repr=False)
    """Where it is given, sites are kept as hashes with it."""

    @property
    def known(self) -> tuple[str, ...]:
        """All five names."""
        return (self.label, self.group, self.split, self.id, self.site)

    def __post_init__(self) -> None:
        """UsageError where one column is to be two things."""
        used = [name for name in self.known if name != IGNORED]
        twice = next((name for name in used if used.count(name) > 1), None)
        if twice:
            raise UsageError(
                f"column {twice!r} is named as two of label, group, split, id and site: give each its own."
            )

    def found_in(self, present: Sequence[str], features: Sequence[str], path: Path) -> Columns:
        """These columns, as the table spells them (`Y`, ` y `, `Group`) where they were not asked for by name.

        UsageError where there is no label and one of the `features` is called as labels are, which would tell what is to be found, or no
        group and one says whose a row is: rows of one patient would stand in training and in the test part.
        """
        group, split, site = (self._as_spelled(name, present) for name in (self.group, self.split, self.site))
        found = replace(self, group=group, split=split, site=site)._with_label(present, features, path)
        found._check_groups(present, features, path)
        return found

    def _as_spelled(self, name: str, present: Sequence[str]) -> str:
        """The column that is called `name` but for case and spaces at its ends, where there is one of these and none of that name."""
        alike = [
            each for each in present if each.strip().casefold() == name.casefold() and each not in self.named
        ]
        settled = name in present or name == IGNORED or name in self.named
        return alike[0] if len(alike) == 1 and not settled else name

    def _with_label(self, present: Sequence[str], features: Sequence[str], path: Path) -> Columns:
        label = self._as_spelled(self.label, present)
        if label in present or label == IGNORED or label in self.named:
            return replace(self, label=label)
        suspect = self._label_among(features, LABEL_NAMES | MAYBE_LABELS)
        if suspect is not None:
            raise UsageError(
                f"{path.name}: has no label column {self.label!r}, but one called {suspect!r}: say --label {shlex.quote(suspect)}, or "
                f"leave it out with --drop {shlex.quote(suspect)} (tables), or say --label none if it is a value like others."
            )
        return self

    def _check_groups(self, present: Sequence[str], features: Sequence[str], path: Path) -> None:
        if self.group in (IGNORED, *self.named, *present):
            return
        others = [name for name in features if name in present and name not in self.known]
        suspect = next((name for name in others if fold_name(name) in GROUP_NAMES), None)
        if suspect is not None:
            raise UsageError(
                f"{path.name}: has no group column {self.group!r}, but one called {suspect!r}: say --group {shlex.quote(suspect)} to keep "
                f"what belongs together in one part, leave it out with --drop {shlex.quote(suspect)} (tables), or say --group none if it "
                "is something else."
            )

    def check_alone(self, features: Sequence[str], path: Path) -> None:
        """UsageError where the label column was not asked for by name, and a feature is called as labels are: it would tell what is to
        be found."""
        other = self._label_among(features, LABEL_NAMES)
        if other is not None and self.label != IGNORED and self.label not in self.named:
            raise UsageError(
                f"{path.name}: has the label column {self.label!r} and another that is called as labels are, {other!r}: say which with "
                f"--label, and leave the other out with --drop {shlex.quote(other)}."
            )

    def _label_among(self, features: Sequence[str], names: frozenset[str]) -> str | None:
        return next((name for name in features if name not in self.known and bare_names(name) & names), None)

    def check(self, present: Sequence[str], path: Path) -> None:
        """UsageError where a column that was asked for is absent."""
        for name in sorted(self.named - {IGNORED}):
            check_present(name, present, path)


def bare_names(name: str) -> set[str]:
    """A column's name, and what is left of it without a number, a remark or words before `label`: `Label_1`, `Class (0=normal)`,
    `fine_label`."""
    bare = re.sub(r"_\d+$", "", fold_name(re.sub(r"[(\[{].*", "", name)))
    return {bare, fold_name(name), *(["label"] if bare.endswith(("_label", "_labels")) else [])}


def fold_name(name: str) -> str:
    """A column's name without case, and with one underscore for what parts its words."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", parted.casefold()).strip("_")


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
    order: tuple[str, ...] | None = None
    """Of the feature columns in the first table of a store: others of the same names are brought into it."""
    categories: dict[str, list[str]] = field(default_factory=dict)
    """Text column -> its values, each of which becomes a column of 0 and 1."""
    missing: Literal["refuse", "drop", "median"] = "refuse"
    delimiter: str = "auto"
    decimal: str = "auto"
    thousands: str = "auto"
    encoding: str = "auto"
    sheet: str | None = None
    """Of a workbook; None = its only one that is not empty."""

    def columns_in(self, present: Sequence[str], features: Sequence[str], path: Path) -> Columns:
        """`columns` as the table spells them (`Columns.found_in`); a column that is a feature or dropped by name is none of them."""
        taken = {*split_names(self.only or (), present), *split_names(self.drop, present)}
        return self.columns.found_in([name for name in present if name not in taken], features, path)

    def spelled(self, found: Columns) -> list[str]:
        """A note for each column that is `found` under another spelling than it is called."""
        pairs = (
            (what, getattr(self.columns, what), getattr(found, what)) for what in ("group", "split", "site")
        )
        return [f"column {name!r} read as the {what}" for what, called, name in pairs if name != called]


def split_names(names: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """`names` where one that holds commas and is no column of its own is a list of names: `--drop a,b`."""
    out: list[str] = []
    for name in names:
        out += [name] if name in present or "," not in name else [part.strip() for part in name.split(",")]
    return tuple(out)
