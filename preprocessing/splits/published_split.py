"""The split that the literature's figures on tables rest on: two draws, so that train and test overlap.

docs/explanation/protocols.md#leak explains it.

Deep SAD's public code hands one RandomState object to the constructors of its training set and of its test set. Each
draws a 60:40 split; training takes the larger side of the first, testing the smaller side of the second. It is rebuilt
here so that figures can stand beside published ones, with the overlap stated; nothing else should use it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.labels import before_given
from esad.preprocessing.splits.semisupervised import (
    ASSIGNMENT_COLUMNS,
    hold_out,
    labels_from_classes,
    semi_labels,
)


def published_draws(labels: np.ndarray, seed: int, test_share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n,) that train and positions (m,) that test, each sorted, for labels (N,) in {0, 1}.

    Normals are split first, then anomalies; both splits of both draws take from one RandomState(seed).
    """
    stream = np.random.RandomState(seed)
    draws = [
        [
            train_test_split(np.flatnonzero(labels == value), test_size=test_share, random_state=stream)
            for value in (0, 1)
        ]
        for _ in range(2)
    ]
    train = np.concatenate([kept for kept, _ in draws[0]])
    test = np.concatenate([left for _, left in draws[1]])
    return np.sort(train), np.sort(test)


def assign_published(
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
    """As `semisupervised.assign`, by the published draws: an item of both sides has two rows, its test row last.

    The validation part is held out of the training side, and counts are truncated as Deep SAD's
    (protocols.md#counts). Labels that were given for this training alone count in the train part
    only. Raises UsageError where an item has no label in the store, or where the store states a split or groups,
    which the draws would divide.
    """
    label = labels_from_classes(items, normal_classes)
    stored = labels_from_classes(before_given(items), normal_classes)
    unknown = items.loc[stored.isna().to_numpy(), "item_id"]
    if len(unknown):
        raise UsageError(
            f"data.split = published draws by the store's labels; {len(unknown)} items have none, {unknown.iloc[0]} first. "
            "Give their labels to the stage that makes the store (--labels, --force)."
        )
    if stored.nunique() < 2:
        raise UsageError("data.split = published needs normal items and anomalies; here is one class only.")
    for name in ("split", "group"):
        if items[name].notna().any():
            raise UsageError(
                f"data.split = published draws single rows, and the store states a {name}: make it with --{name} none."
            )
    numbers = np.random.default_rng([seed, 20120])
    train, test = published_draws(stored.to_numpy(dtype=int), seed, test_share)
    part = np.full(len(items), "unused", dtype=object)
    part[train] = "train"
    held = hold_out(
        items["item_id"].to_numpy()[train].astype(str),
        stored.to_numpy(dtype=int)[train],
        validation_share,
        numbers,
    )
    part[train[held]] = "validation"
    semi = semi_labels(
        items, part, label, numbers, labelled=labelled, gamma_l=gamma_l, gamma_p=gamma_p, k_l=k_l,
        labelled_classes=labelled_classes, whole=int,
    )  # fmt: skip
    shown = label.where(part == "train", stored)
    table = pd.DataFrame({"item_id": items["item_id"], "part": part, "label": shown, "semi_label": semi})
    learnt = table[semi.notna() | (table["part"] == "validation")]
    none = pd.array([pd.NA] * len(test), dtype="Int8")
    tested = table.iloc[test].assign(part="test", label=stored.iloc[test], semi_label=none)
    return pd.concat([learnt, tested])[ASSIGNMENT_COLUMNS].astype({"part": "string"}).reset_index(drop=True)


def overlap(assignments: pd.DataFrame) -> dict[str, float]:
    """Shares in [0, 1]: `normals_trained_on` of the test normals, `anomalies_labelled` of the test anomalies."""
    test, train = (assignments[assignments["part"] == name] for name in ("test", "train"))
    labelled = train.loc[train["semi_label"] == -1, "item_id"]
    normal, abnormal = (test.loc[test["label"] == value, "item_id"] for value in (0, 1))
    return {
        "normals_trained_on": float(normal.isin(train["item_id"]).mean()),
        "anomalies_labelled": float(abnormal.isin(labelled).mean()),
    }
