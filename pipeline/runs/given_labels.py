"""Labels that a person gives for one training, over those that the store has."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.progress import say
from esad.preprocessing.splits.labels import (
    LABEL_BEFORE,
    LABEL_GIVEN,
    LABEL_STATED,
    STATED_BEFORE,
    apply_labels,
    read_labels,
)
from esad.preprocessing.store.contents import check_same_items

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Store


def give_labels(store: Store, path: Path) -> str:
    """Lay the labels of the CSV at `path` over the manifest of `store`, in memory alone; returns their digest.

    Which items validate and test is drawn as without them, and these keep the labels of the store (`before_given`), but for rows that
    state a split.

    The file is as for the ingest stages (`read_labels`), which raises UsageError. Labels that match no item are said; UsageError
    where none does, or where the file states other groups or sites than the store's own.
    """
    labels = _without_own(store, read_labels(path), path)
    check_same_items(labels, store.manifest, store.sources, store.shard, str(path))
    before = store.manifest
    store.manifest, unmatched = apply_labels(store.manifest, labels, given=LABEL_GIVEN)
    if "split" in labels:
        before, _ = apply_labels(before, labels[labels["split"].notna()])
    store.manifest[LABEL_BEFORE] = before["label"].astype("Int8")
    if LABEL_STATED in store.manifest:
        store.manifest[STATED_BEFORE] = before.get(LABEL_STATED, False)
    if len(unmatched) == len(labels):
        raise UsageError(
            f"{path}: none of its {len(labels)} labels is of an item in {store.root} (first: {unmatched[0]})."
        )
    if unmatched:
        say(f"{path}: {len(unmatched)} of {len(labels)} labels match no item (first: {unmatched[0]}).")
    return hashlib.sha256(labels.to_csv(index=False).encode()).hexdigest()


def _without_own(store: Store, labels: pd.DataFrame, path: Path) -> pd.DataFrame:
    """`labels` without group and site, which suggestions repeat of the store; UsageError where one is not the store's own."""
    for name in ("group", "site"):
        if name not in labels:
            continue
        if name not in store.manifest or "item_id" not in labels or _other_than(store, labels, name):
            raise UsageError(
                f"{path}: a {name} is the store's own; give {name}s to the stage that makes the store (--labels, --force)."
            )
        labels = labels.drop(columns=name)
    return labels


def _other_than(store: Store, labels: pd.DataFrame, name: str) -> bool:
    """Whether a row of `labels`, by item_id, states another value of `name` than the store has of this item."""
    own = store.manifest.set_index("item_id")[name].astype("string").fillna("")
    here = labels[labels["item_id"].isin(own.index) & labels[name].notna()]
    stated = here[name].astype("string").to_numpy(dtype=object)
    return bool((stated != own.loc[here["item_id"]].to_numpy(dtype=object)).any())


def say_use(store: Store, assignments: pd.DataFrame) -> None:
    """Say what became of the labels that were given, where not all of them train: those of items that measure count in no figure."""
    if LABEL_GIVEN not in store.manifest:
        return
    given = store.manifest.loc[store.manifest[LABEL_GIVEN], "item_id"]
    parts = assignments.loc[assignments["item_id"].isin(given), "part"].value_counts()
    held, unused = int(parts.get("validation", 0) + parts.get("test", 0)), len(given) - int(parts.sum())
    if held or unused:
        told = (
            [f"{held} are of items that validate or test, where figures keep the labels of the store"]
            if held
            else []
        )
        told += [f"{unused} are of items that this split leaves out"] if unused else []
        say(
            f"Of {len(given)} items that were given labels {int(parts.get('train', 0))} train; {'; '.join(told)}."
        )
