"""Sites kept apart: the items of one or several sites test, those of the others train and validate. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.errors import EsadError, UsageError
from esad.preprocessing.splits.labels import before_given
from esad.preprocessing.splits.semisupervised import ASSIGNMENT_COLUMNS, assign, labels_from_classes

SITE = "site"
"""Column of a manifest: scanner, hospital, centre or sample that an item comes from; null where nobody says."""


@dataclass(frozen=True)
class Sides:
    """Which of the items (N,) of a manifest are of the sites that test and validate, and which may train; the rest is of no use."""

    tests: np.ndarray
    validates: np.ndarray
    trains: np.ndarray
    without_site: int
    """Items that do not say their site: they are in no part."""
    divided: int
    """Items whose group (patient) occurs at a site of another part as well: they are in the test part, or in none."""

    def told(self) -> str:
        """What was left out, for people; empty where nothing was."""
        words = []
        if self.divided:
            words.append(
                f"Left out, since their groups (patients) or copies occur at a site held out: {_items(self.divided)}."
            )
        if self.without_site:
            words.append(f"Left out, since nothing says their site: {_items(self.without_site)}.")
        return " ".join(words)


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"


def sites_of(items: pd.DataFrame) -> list[str]:
    """The sites that items of a manifest state, sorted; UsageError where none does."""
    stated = items[SITE].dropna().astype(str).unique() if SITE in items else []
    if not len(stated):
        raise UsageError(
            "data.split = leave-site-out: no item says its site. Make the store with --site NAME, a column site in --labels, or "
            "--site-column."
        )
    alike: dict[str, str] = {}
    for name in sorted(stated):
        other = alike.setdefault(name.casefold(), name)
        if other != name:
            raise UsageError(
                f"data.split = leave-site-out: the sites {other} and {name} differ in case alone; give one site one name, or names that "
                "differ."
            )
    return sorted(stated)


def sides(
    items: pd.DataFrame, wanted: Sequence[str] | None, validating: Sequence[str] | None = None
) -> Sides:
    """The sides of `items` where the sites `wanted` test, and `validating` validate.

    UsageError where none is to test, the items have no such site, one is to do both, or no other is left to train on.
    """
    known, validating = sites_of(items), list(validating or [])
    if not wanted:
        raise UsageError(
            f"data.split = leave-site-out: say which site tests, for example --set data.site={known[0]} (there are {', '.join(known)}); "
            "esad sweep takes each in turn."
        )
    for setting, names in (("data.site", wanted), ("data.validation_site", validating)):
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise UsageError(f"{setting} = {unknown}: the items have no such site, only {', '.join(known)}.")
    twice = next((name for name in validating if name in wanted), None)
    if twice is not None:
        raise UsageError(
            f"data.validation_site = {twice}: it is data.site, too; a site that tests chooses nothing."
        )
    if {*wanted, *validating} >= set(known):
        raise UsageError(
            f"data.site = {', '.join(wanted)}: no other site is left to train on; the items are of {', '.join(known)}."
        )
    tests, validates = _of(items, wanted), _of(items, validating)
    stated = items[SITE].notna().to_numpy()
    apart = (
        validates & _shares_a_group(items, tests),
        ~tests & ~validates & stated & _shares_a_group(items, tests | validates),
    )
    return Sides(
        tests,
        validates & ~apart[0],
        stated & ~tests & ~validates & ~apart[1],
        int((~stated).sum()),
        int(sum(each.sum() for each in apart)),
    )


def _of(items: pd.DataFrame, sites: Sequence[str]) -> np.ndarray:
    """Bool (N,): the items of one of `sites`."""
    return items[SITE].astype("string").isin(list(sites)).fillna(False).to_numpy(dtype=bool)


def _shares_a_group(items: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
    """Bool (N,): the items whose group is that of a chosen one (N,)."""
    groups = items["group"].astype("string")
    return groups.isin(groups[chosen].dropna().unique()).fillna(False).to_numpy(dtype=bool)


def assign_leave_site_out(
    items: pd.DataFrame,
    *,
    site: Sequence[str] | None,
    validation_site: Sequence[str] | None = None,
    **how: Any,
) -> pd.DataFrame:
    """As `semisupervised.assign`, but the test part is all labelled items of the sites `site`, and no other.

    Validation is all labelled items of `validation_site`, or drawn from the other sites, which train, by `how`; parts that the store
    states do not count. A group (patient) that occurs on two sides is on none but the test side. Labels that were given for this
    training alone change neither part of a site, nor its labels. Raises what `sides` and `assign` raise.
    """
    found = sides(items, site, validation_site)
    if not found.trains.any():
        raise EsadError(
            "data.split = leave-site-out: every item of the other sites is of a group that occurs at a site that is held out."
        )
    normal = how.get("normal_classes")
    label = labels_from_classes(before_given(items), normal)
    rest = items[found.trains].assign(split=pd.array([pd.NA] * int(found.trains.sum()), dtype="string"))
    drawn = {**how, "test_share": 0.0, **({"validation_share": 0.0} if validation_site else {})}
    held = pd.DataFrame(
        {
            "item_id": items["item_id"], "part": np.where(found.tests, "test", "validation"),
            "label": label, "semi_label": pd.array([pd.NA] * len(items), dtype="Int8"),
        }
    )[(found.tests | found.validates) & label.notna().to_numpy()]  # fmt: skip
    joined = pd.concat([assign(rest.reset_index(drop=True), **drawn), held])[ASSIGNMENT_COLUMNS]
    return joined.astype({"part": "string"}).reset_index(drop=True)
