"""The scores table: final scores and what store and run know of the items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.heat import HOT
from esad.pipeline.scoring.scores import TERMS, final_scores, raw_terms
from esad.pipeline.scoring.work import WORK, Advance, Crew, Opened, Pieces, described_work

if TYPE_CHECKING:
    from pandas.api.extensions import ExtensionArray

    from esad.preprocessing.store.store import Store


CARRIED = (
    "id", "source", "group", "view", "finding", "class_name", "x", "y", "width", "height", "tumour_fraction",
    "region_x", "region_y", "region_width", "region_height", "pixel_spacing",
)  # fmt: skip
"""Manifest columns that the scores table repeats, so that it can be read alone."""


def score_shard(opened: Opened, number: int, advance: Advance) -> np.ndarray:
    """Score terms (TERMS) of the items of a shard, in the manifest's order: float32 (N, 3)."""
    positions = np.flatnonzero(opened.store.manifest["shard"].to_numpy() == number)
    found = raw_terms(opened.method, opened.items, positions, opened.device, opened.run.augmentation, advance)
    opened.store.release()
    return found


def score_shards(opened: Opened, crew: Crew) -> Pieces:
    """Score all items, shard by shard; what was scored before is kept."""
    numbers, counts = np.unique(opened.store.manifest["shard"].to_numpy(), return_counts=True)
    names = [f"{number:05d}" for number in numbers]
    pieces = Pieces(
        opened.folder / WORK,
        dict(zip(names, map(int, numbers), strict=True)),
        dict(zip(names, map(int, counts), strict=True)),
    )
    of = described_work(opened, crew.device_of(opened))
    if crew.first:
        pieces.begin(of)
    crew.meet()
    crew.work(opened, score_shard, pieces, f"score {opened.store.root.name}")
    return pieces


def scores_table(opened: Opened, pieces: Pieces) -> pd.DataFrame:
    """The scores table, with empty HOT for pictures, of the shards that `score_shards` scored."""
    store, run = opened.store, opened.run
    shards = store.manifest["shard"].to_numpy()
    raw = np.empty((len(store), len(TERMS)), np.float32)
    for name, number in pieces.arguments.items():
        raw[shards == number] = pieces.read(name)
    table = pd.DataFrame(raw, columns=list(TERMS))
    table.insert(0, "item_id", _held(store.manifest["item_id"]))
    table = described(final_scores(table, run.normals, run.settings.score.kind), run, store)
    if store.kind != "table":
        table[list(HOT)] = np.float32(np.nan)
    return table


def described(table: pd.DataFrame, run: Run, store: Store) -> pd.DataFrame:
    """`table` with what the store and the run know of its items: CARRIED, label, part."""
    from esad.preprocessing.splits.semisupervised import labels_from_classes

    manifest = store.manifest
    for name in CARRIED:
        if name in manifest:
            table[name] = _held(manifest[name])
    table["label"] = labels_from_classes(manifest, run.settings.data.normal_classes).array
    table["part"] = parts_of(run, store)
    return table


def _held(column: pd.Series) -> ExtensionArray:
    """A column's values as they are: texts as objects of Python would take ten times the memory."""
    return column.astype("str").array if isinstance(column.dtype, pd.StringDtype) else column.array


def parts_of(run: Run, store: Store) -> ExtensionArray:
    """What the run used each item of `store` for: train, validation or test, or null, (N,) text.

    In another store than the run's own, only what it trained on or took as a reference is told: items of the same
    name out of the very same input file (two archives may both hold an `a.npz`, so the fingerprint must agree).
    """
    import pyarrow as pa
    from pyarrow import compute

    used, manifest = run.assignments, store.manifest
    if not run.is_own(store):
        used = used[used["part"].isin(("train", "validation"))]
    used = used.iloc[
        ::-1
    ]  # of an item with two rows the last one counts, and the first that is found is taken
    names, known, parts = (
        pa.array(column).cast(pa.large_string())
        for column in (manifest["item_id"], used["item_id"], used["part"])
    )
    found = pd.Series(parts.take(compute.index_in(names, value_set=known))).astype("string")
    if not run.is_own(store):
        same = store.sources.merge(run.sources, on=["source", "fingerprint"])["source"]
        found[~manifest["source"].isin(set(same))] = pd.NA
    pa.default_memory_pool().release_unused()
    return found.array
