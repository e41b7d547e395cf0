"""From labels, groups and ratios to assignments: which item trains, validates or tests, and what is known of it.

Pure functions of a table and a seed. Groups (slides, patients) are never on two sides. Counts follow Deep SAD's
`create_semisupervised_setting` (docs/explanation/protocols.md#counts) without its faults: no item is drawn
twice, every draw is seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from esad.preprocessing.errors import EsadError
from esad.preprocessing.splits.labels import LABEL_STATED, before_given
from esad.preprocessing.splits.no_label import without_label
from esad.preprocessing.splits.two_values import class_key

ASSIGNMENT_COLUMNS = ["item_id", "part", "label", "semi_label"]


def labels_from_classes(
    items: pd.DataFrame, normal_classes: Sequence[str | int] | None, trained_on: bool = True
) -> pd.Series:
    """Int8 label per item: from `class_name` where normal classes are named, else the `label` column.

    What a person stated of an item (LABEL_STATED) comes before its class. Names of classes are compared without regard to case
    (`class_key`), and `unknown` is none. Raises EsadError for a class that the store does not have; of
    a store that was not `trained_on` all normal classes may be missing, and then no class says anything.
    """
    own = items["label"].astype("Int8")
    if normal_classes is None:
        return own
    if "class_name" not in items:
        if not trained_on:
            return own
        raise EsadError("data.normal_classes is set, but the store has no class_name column.")
    wanted = {class_key(str(name)): str(name) for name in normal_classes}
    names = items["class_name"].astype("string")
    known = sorted(names.dropna().unique())
    keys = {name: class_key(name) for name in known}
    none = without_label([key.casefold() for key in keys.values()], of_column=False) - set(wanted)
    keys = {name: key for name, key in keys.items() if key.casefold() not in none}
    names = names.map(keys).astype("string")
    missing = [name for key, name in wanted.items() if not (names == key).any()]
    if missing and trained_on:
        raise EsadError(
            f"data.normal_classes: the store has no class {missing[0]!r}; its classes are {', '.join(known)}."
        )
    if len(missing) == len(wanted):
        return own
    labels = (~names.isin(list(wanted))).astype("Int8").mask(names.isna())
    if LABEL_STATED in items:
        labels = labels.mask(items[LABEL_STATED].fillna(False).astype(bool) & own.notna(), own)
    return labels.mask(names.isna(), own)


def hold_out(
    groups: np.ndarray, strata: np.ndarray, share: float, numbers: np.random.Generator
) -> np.ndarray:
    """Bool (N,): about `share` of the items of every stratum, whole groups only.

    Each group belongs to the highest stratum among its items. Within a stratum groups are drawn at random until
    the share of its items is met as nearly as whole groups allow, at least one group of several; where all groups
    are single items, exactly.
    """
    frame = pd.DataFrame({"group": groups, "stratum": strata})
    table = frame.groupby("group", sort=True)["stratum"].agg(["max", "size"])
    chosen: list[object] = []
    for _, members in table.groupby("max", sort=True):
        order = members.iloc[numbers.permutation(len(members))]
        taken, goal = 0, share * members["size"].sum()
        if share > 0 and len(order) > 1 and goal < order["size"].iloc[0] / 2:
            goal = order["size"].iloc[0] / 2  # few large groups: one of them rather than none
        for name, size in order["size"].items():
            if taken + size / 2 <= goal:
                chosen.append(name)
                taken += size
    return _among(groups, np.array(chosen, dtype=groups.dtype))


def _among(groups: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Bool (N,): which `groups` are in `wanted`, by hashing: np.isin compares every pair where they are text."""
    return pd.Series(groups).isin(pd.unique(pd.Series(wanted))).to_numpy()


def _parts(
    items: pd.DataFrame,
    label: pd.Series,
    test_share: float,
    validation_share: float,
    numbers: np.random.Generator,
) -> np.ndarray:
    """Part of each item: as the store says, else drawn by group."""
    part = np.array([None if pd.isna(value) else str(value) for value in items["split"]], dtype=object)
    alone = items["item_id"].astype(str)
    groups = items["group"].astype("object").where(items["group"].notna(), alone).astype(str).to_numpy()
    known = label.notna().to_numpy()
    strata = label.fillna(0).to_numpy(dtype=int)
    _follow_groups(part, groups, known)
    undecided = np.array([value is None for value in part])
    if undecided.any() and not (part == "test").any():
        open_labelled = undecided & known
        test = np.zeros(len(items), bool)
        test[open_labelled] = hold_out(groups[open_labelled], strata[open_labelled], test_share, numbers)
        tested = _among(groups, groups[test])
        part[undecided & tested & known] = "test"
        part[undecided & tested & ~known] = "unused"  # of a tested group: never on two sides
    part[np.array([value is None for value in part])] = "train"
    if not (part == "validation").any() and validation_share:
        train = (part == "train") & known
        held = np.zeros(len(items), bool)
        held[train] = hold_out(groups[train], strata[train], validation_share, numbers)
        held = _among(groups, groups[held])
        part[held & (part == "train") & known] = "validation"
        part[held & (part == "train") & ~known] = "unused"
    return part


def _follow_groups(part: np.ndarray, groups: np.ndarray, known: np.ndarray) -> None:
    """Items without a stated part whose group tests or validates go with it; unlabelled ones are then unused."""
    undecided = np.array([value is None for value in part])
    for name in ("test", "validation"):
        together = undecided & _among(groups, groups[part == name])
        part[together & known] = name
        part[together & ~known] = "unused"


def labelled_count(unlabelled: int, gamma_l: float, whole: Callable[[float], int] = round) -> int:
    """m with m / (n + m) = gamma_l, made whole; at least 1 where gamma_l > 0."""
    return max(1, whole(unlabelled * gamma_l / (1 - gamma_l))) if gamma_l > 0 else 0


def assign(
    items: pd.DataFrame,
    *,
    seed: int,
    labelled: str | int = "all",
    gamma_l: float = 0.05,
    gamma_p: float = 0.0,
    k_l: int | None = None,
    normal_classes: Sequence[str | int] | None = None,
    labelled_classes: Sequence[str | int] | None = None,
    test_share: float = 0.4,
    validation_share: float = 0.1,
) -> pd.DataFrame:
    """Assignments of the items of a manifest: `item_id`, `part`, `label`, `semi_label`.

    Training: items of label 0 or unknown are unlabelled (0); anomalies are labelled (-1) all, by `gamma_l` or
    so many, or pollute the unlabelled ones by `gamma_p`; the rest are absent (unused). A `semi_label` of the store stands.
    Validation and test: the labelled items held out; where labels were given for this training alone, by those
    before (`before_given`), which their rows keep: marks change neither part, nor what is measured in it. Raises
    EsadError where nothing is left to train on, or a ratio asks for more anomalies than there are.
    """
    numbers = np.random.default_rng([seed, 20120])
    label = labels_from_classes(items, normal_classes)
    held = labels_from_classes(before_given(items), normal_classes)
    part = _parts(items, held, test_share, validation_share, numbers)
    semi = semi_labels(
        items, part, label, numbers, labelled=labelled, gamma_l=gamma_l, gamma_p=gamma_p, k_l=k_l,
        labelled_classes=labelled_classes, whole=round,
    )  # fmt: skip
    train = part == "train"
    keep = np.where(
        train, semi.notna().to_numpy(), np.isin(part, ("validation", "test")) & held.notna().to_numpy()
    )
    table = pd.DataFrame(
        {"item_id": items["item_id"], "part": part, "label": label.where(train, held), "semi_label": semi}
    )
    return table[keep][ASSIGNMENT_COLUMNS].astype({"part": "string"}).reset_index(drop=True)


def semi_labels(
    items: pd.DataFrame,
    part: np.ndarray,
    label: pd.Series,
    numbers: np.random.Generator,
    *,
    labelled: str | int,
    gamma_l: float,
    gamma_p: float,
    k_l: int | None,
    labelled_classes: Sequence[str | int] | None,
    whole: Callable[[float], int],
) -> pd.Series:
    """Int8 per item: what is known of it in training, null where it does not train (see `assign`).

    `whole` makes whole numbers of the counts that the ratios ask for: `round`, or `int` as Deep SAD does
    (protocols.md#counts).
    """
    stated = items["semi_label"].astype("Int8")
    semi = pd.Series(pd.NA, index=items.index, dtype="Int8")
    train = part == "train"
    abnormal = (label == 1).fillna(False).to_numpy(dtype=bool)
    free = stated.isna().to_numpy()
    semi[train & free & ~abnormal] = 0
    semi[train & ~free] = stated[train & ~free]
    pool = np.flatnonzero(train & free & abnormal)
    normal = int((semi == 0).sum())
    if normal < 2:
        known = int((semi == 1).sum())
        also = (
            f" {known} are labelled normals (semi_label +1): leave semi_label empty for most of them."
            if known
            else ""
        )
        raise EsadError(
            f"Only {normal} unlabelled or normal items are left to train on; check labels, splits and data.where.{also}"
        )
    _pollute(semi, pool, whole(normal * gamma_p / (1 - gamma_p)), gamma_p, numbers)
    pool = pool[semi.iloc[pool].isna().to_numpy()]
    pool = _allowed(items, pool, labelled_classes, k_l, numbers)
    count, asked = len(pool), f"data.labelled = {labelled}"
    if labelled == "ratio":
        count, asked = labelled_count(int((semi == 0).sum()), gamma_l, whole), f"data.gamma_l = {gamma_l}"
    elif isinstance(labelled, int):
        count = labelled
    if count > len(pool):
        raise EsadError(f"{asked} asks for {count} labelled anomalies; the training part has {len(pool)}.")
    semi.iloc[numbers.permutation(pool)[:count]] = -1
    return semi


def _pollute(
    semi: pd.Series, pool: np.ndarray, count: int, gamma_p: float, numbers: np.random.Generator
) -> None:
    if count > len(pool):
        raise EsadError(
            f"data.gamma_p = {gamma_p} asks for {count} anomalies; the training part has {len(pool)}."
        )
    semi.iloc[numbers.permutation(pool)[:count]] = 0


def _allowed(
    items: pd.DataFrame,
    pool: np.ndarray,
    classes: Sequence[str | int] | None,
    k_l: int | None,
    numbers: np.random.Generator,
) -> np.ndarray:
    """The positions of `pool` whose class may be labelled."""
    if classes is None and k_l is None:
        return pool
    if "class_name" not in items:
        raise EsadError("data.labelled_classes or data.k_l is set, but the store has no class_name column.")
    names = items["class_name"].astype("string")
    keys = {name: class_key(name) for name in sorted(names.dropna().unique())}
    wanted = [class_key(str(name)) for name in classes or []]
    missing = [str(name) for name, key in zip(classes or [], wanted, strict=True) if key not in keys.values()]
    if missing:
        raise EsadError(
            f"data.labelled_classes: the store has no class {missing[0]!r}; its classes are {', '.join(keys)}."
        )
    names = names.map(keys).fillna("").to_numpy()[pool]
    allowed = sorted(set(names)) if classes is None else wanted
    if k_l is not None:
        allowed = list(numbers.permutation(allowed)[:k_l])
    return pool[np.isin(names.astype(str), allowed)]
