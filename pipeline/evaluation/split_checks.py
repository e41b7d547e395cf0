"""What a split must hold, check by check: pure functions of a table of items, for `esad.pipeline.audit`.

The table has a row per use of an item: `item_id`, `part` (train, validation, test), `label` (0, 1, null), `semi_label`
(-1, 0, +1, null), `group` (null: a group of its own) and, for `identical_apart`, a `digest` of the item's content, for
`sites_apart` its `site`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

PARTS = ("train", "validation", "test")
EXAMPLES = 5


@dataclass(frozen=True)
class Check:
    """One rule and what breaks it: `count` items (columns of `scaling_on_training`), the first EXAMPLES by name."""

    name: str
    count: int
    examples: tuple[str, ...]
    remedy: str
    """What is wrong where it fails, and what to do about it."""

    @property
    def passed(self) -> bool:
        """Nothing breaks the rule."""
        return self.count == 0

    def as_json(self) -> dict[str, Any]:
        """name, passed, count, examples."""
        return {
            "name": self.name,
            "passed": self.passed,
            "count": self.count,
            "examples": list(self.examples),
        }


def check(name: str, offenders: Iterable[object], remedy: str) -> Check:
    """A check from the names of all that breaks it, each counted once."""
    names = list(dict.fromkeys(str(offender) for offender in offenders))
    return Check(name, len(names), tuple(names[:EXAMPLES]), remedy)


def _in_two_parts(table: pd.DataFrame, key: str) -> pd.Series:
    """Bool per row: rows with this value of `key` are in more than one part."""
    return table.groupby(key)["part"].transform("nunique") > 1


def parts_known(table: pd.DataFrame) -> Check:
    """Every item is in one of PARTS."""
    return check(
        "parts_known",
        table.loc[~table["part"].isin(PARTS), "item_id"],
        f"the part of these items is none of {', '.join(PARTS)}: correct the split column or train anew",
    )


def one_part(table: pd.DataFrame) -> Check:
    """No item is used twice, be it in one part or in two."""
    return check(
        "one_part",
        table.loc[table["item_id"].duplicated(keep=False), "item_id"],
        "these items are used more than once: train anew",
    )


def groups_apart(table: pd.DataFrame) -> Check:
    """No group (patient, slide) is in two parts; an item without a group cannot be."""
    grouped = table[table["group"].notna()]
    return check(
        "groups_apart",
        grouped.loc[_in_two_parts(grouped, "group"), "item_id"],
        "the groups (patients, slides) of these items are in two parts: correct the split column or leave it out, so "
        "that training divides whole groups",
    )


def sites_apart(table: pd.DataFrame) -> Check:
    """The test part has sites of its own, and every item its site: of a run whose split leaves sites out (column `site`)."""
    site, tests = table["site"].astype("string"), (table["part"] == "test").to_numpy()
    both = site.isin(site[tests]) & site.isin(site[~tests])
    return check(
        "sites_apart",
        table.loc[(both | site.isna()).to_numpy(dtype=bool), "item_id"],
        "the sites of these items are in the test part and in another one, or not known: the store says other sites than when the "
        "run was trained; train anew",
    )


def identical_apart(table: pd.DataFrame) -> Check:
    """No two parts hold items of the same content."""
    return check(
        "identical_apart",
        table.loc[_in_two_parts(table, "digest"), "item_id"],
        "the content of these items is in two parts: remove the copies, or give an item and its copies one group",
    )


def labels_agree(table: pd.DataFrame, stored: pd.Series | None = None, given: bool = False) -> Check:
    """-1 only with label 1 or none, +1 only with 0 or none, and every other semi-label 0 or none.

    With `stored`, the store's own label per row, of a run: labels are the store's, all training items have a
    semi-label, and no other item has one. Where the run was `given` labels of a file, these may be others than the store's.
    """
    label, semi = table["label"].astype("Float64"), table["semi_label"].astype("Float64")
    wrong = ((semi == -1) & (label == 0)).fillna(False) | ((semi == 1) & (label == 1)).fillna(False)
    wrong |= (semi.notna() & ~semi.isin([-1, 0, 1])) | (label.notna() & ~label.isin([0, 1]))
    if stored is not None:
        wrong |= (label.fillna(-1).to_numpy() != stored.astype("Float64").fillna(-1).to_numpy()) & (not given)
        wrong |= semi.notna() != (table["part"] == "train")
    return check(
        "labels_agree",
        table.loc[wrong.to_numpy(dtype=bool), "item_id"],
        "what is said of these items contradicts itself: -1 is a labelled anomaly (label 1), +1 a labelled normal "
        "(label 0); correct the labels, ingest and train anew",
    )


def items_exist(table: pd.DataFrame, known: pd.Series) -> Check:
    """Every item is one of the store's."""
    return check(
        "items_exist",
        table.loc[~table["item_id"].isin(known), "item_id"],
        "the store has no such items (it was made anew?): train again",
    )


def scaling_on_training(
    stored: tuple[np.ndarray, ...],
    positions: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
    columns: list[str],
) -> Check:
    """The model's column minima, ranges and medians (which older ones lack), each (D,), are those of the training rows, which
    `read` gives by their `positions`, (N, D).

    To float32's rounding.
    """
    import torch

    from esad.models.networks import ColumnScaler

    scaler = ColumnScaler(1, len(columns))
    if len(positions):
        scaler.fit_at(0, positions, lambda some: torch.from_numpy(read(some)))
    same = np.ones(len(columns), dtype=bool)
    for values, wanted in zip(stored, (scaler.minimum, scaler.range, scaler.median), strict=False):
        fits = np.shape(values) == same.shape
        same &= np.isclose(values, wanted.reshape(-1).numpy(), rtol=1e-6, atol=0.0) if fits else False
    return check(
        "scaling_on_training",
        np.array(columns, dtype=object)[~same],
        "the model scales these columns by other rows than its training rows: train anew",
    )
