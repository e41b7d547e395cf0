"""Sites kept apart: the items of one or several sites test, those of the others train and validate. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.errors import EsadError, UsageError
from esad.preprocessing.splits.labels import LABEL_BEFORE
from esad.preprocessing.splits.semisupervised import ASSIGNMENT_COLUMNS, assign, labels_from_classes

SITE = "site"
"""Column of a manifest: scanner, hospital, centre or sample that an item comes from; null where nobody says."""


@dataclass(frozen=True)
class Sides:
    """Which of the items (N,) of a manifest are of the sites that test, and which may train; the rest is of no use."""

    tests: np.ndarray
    trains: np.ndarray
    without_site: int
    """Items that do not say their site: they neither train nor test."""
    divided: int
    """Items of other sites whose group (patient) occurs at a site that tests: they do not train."""

    def told(self) -> str:
        """What was left out, for people; empty where nothing was."""
        words = []
        if self.divided:
            words.append(
                f"{self.divided} items of the other sites do not train: their groups (patients) or copies occur at the site that tests."
            )
        if self.without_site:
            words.append(f"{self.without_site} items do not say their site and are left out.")
        return " ".join(words)


def sites_of(items: pd.DataFrame) -> list[str]:
    """The sites that items of a manifest state, sorted; UsageError where none does."""
    stated = items[SITE].dropna().astype(str).unique() if SITE in items else []
    if not len(stated):
        raise UsageError(
            "data.split = leave-site-out: no item says its site. Make the store with --site NAME, a column site in --labels, or "
            "--site-column."
        )
    return sorted(stated)


def sides(items: pd.DataFrame, wanted: Sequence[str] | None) -> Sides:
    """The sides of `items` where the sites `wanted` test.

    UsageError where none is named, the items have no such site, or no other is left to train on.
    """
    known = sites_of(items)
    if not wanted:
        raise UsageError(
            f"data.split = leave-site-out: say which site tests, for example --set data.site={known[0]} (there are {', '.join(known)}); "
            "esad sweep takes each in turn."
        )
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        raise UsageError(f"data.site = {unknown}: the items have no such site, only {', '.join(known)}.")
    if set(wanted) >= set(known):
        raise UsageError(
            f"data.site = {', '.join(wanted)}: no other site is left to train on; the items are of {', '.join(known)}."
        )
    site = items[SITE].astype("string")
    stated, tests = site.notna().to_numpy(), site.isin(list(wanted)).fillna(False).to_numpy(dtype=bool)
    groups = items["group"].astype("string")
    divided = (
        groups.isin(groups[tests].dropna().unique()).fillna(False).to_numpy(dtype=bool) & stated & ~tests
    )
    return Sides(tests, stated & ~tests & ~divided, int((~stated).sum()), int(divided.sum()))


def assign_leave_site_out(items: pd.DataFrame, *, site: Sequence[str] | None, **how: Any) -> pd.DataFrame:
    """As `semisupervised.assign`, but the test part is all labelled items of the sites `site`, and no other.

    Train and validation are drawn from the other sites by `how`; parts that the store states do not count. A group (patient) that
    occurs on both sides does not train. Labels that were given for this training alone (LABEL_BEFORE) do not change the test part.
    Raises what `sides` and `assign` raise.
    """
    found = sides(items, site)
    if not found.trains.any():
        raise EsadError(
            "data.split = leave-site-out: every item of the other sites is of a group that occurs at the site that tests."
        )
    normal = how.get("normal_classes")
    before = items.assign(label=items[LABEL_BEFORE]) if LABEL_BEFORE in items else items
    known = labels_from_classes(before, normal).notna().to_numpy()
    rest = items[found.trains].assign(split=pd.array([pd.NA] * int(found.trains.sum()), dtype="string"))
    learnt = assign(rest.reset_index(drop=True), **{**how, "test_share": 0.0})
    tested = pd.DataFrame(
        {
            "item_id": items["item_id"],
            "part": "test",
            "label": labels_from_classes(items, normal),
            "semi_label": pd.NA,
        }
    )[found.tests & known]
    joined = pd.concat([learnt, tested.astype({"semi_label": "Int8"})])[ASSIGNMENT_COLUMNS]
    return joined.astype({"part": "string"}).reset_index(drop=True)
