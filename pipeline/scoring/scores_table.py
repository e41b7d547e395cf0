"""The scores table: final scores and what store and run know of the items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.scores import final_scores, raw_scores

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store


CARRIED = (
    "id", "source", "group", "view", "finding", "class_name", "x", "y", "width", "height", "tumour_fraction",
    "region_x", "region_y", "region_width", "region_height", "pixel_spacing",
)  # fmt: skip
"""Manifest columns that the scores table repeats, so that it can be read alone."""


def scored_items(run: Run, store: Store, method: Method, items: Items, device: torch.device) -> pd.DataFrame:
    """The scores table, but for HOT."""
    raw = raw_scores(
        method, items, np.arange(len(store)), device, run.augmentation, f"score {store.root.name}"
    )
    raw.insert(0, "item_id", store.manifest["item_id"].to_numpy())
    return described(final_scores(raw, run.normals, run.settings.score.kind), run, store)


def described(table: pd.DataFrame, run: Run, store: Store) -> pd.DataFrame:
    """`table` with what the store and the run know of its items: CARRIED, label, part."""
    from esad.preprocessing.splits.semisupervised import labels_from_classes

    manifest = store.manifest
    for name in CARRIED:
        if name in manifest:
            table[name] = manifest[name].to_numpy()
    table["label"] = labels_from_classes(manifest, run.settings.data.normal_classes).array
    table["part"] = parts_of(run, store)
    return table


def parts_of(run: Run, store: Store) -> np.ndarray:
    """What the run used each item of `store` for: train, validation or test, or null, (N,) text.

    In another store than the run's own, only what it trained on or took as a reference is told: items of the same
    name out of the very same input file (two archives may both hold an `a.npz`, so the fingerprint must agree).
    """
    used = run.assignments
    if not run.is_own(store):
        used = used[used["part"].isin(("train", "validation"))]
    assigned = used.drop_duplicates("item_id", keep="last").set_index("item_id")["part"]
    parts = store.manifest["item_id"].map(assigned).astype("string")
    if not run.is_own(store):
        same = store.sources.merge(run.sources, on=["source", "fingerprint"])["source"]
        parts[~store.manifest["source"].isin(set(same))] = pd.NA
    return parts.array
