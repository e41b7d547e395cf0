"""Which items of a store are copies of each other: hashes of their pixels or values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store

ROWS_AT_ONCE = 1024


def content_digests(store: Store, positions: np.ndarray) -> np.ndarray:
    """A 128-bit BLAKE2b hash of the pixels or values of each item at `positions`: uint64 (N, 2).

    Shards are read one after the other, ROWS_AT_ONCE items at a time. -0.0 and 0.0 are the same value.
    """
    shards, places = (store.manifest[name].to_numpy()[positions] for name in ("shard", "index"))
    digests = np.empty((len(positions), 2), dtype=np.uint64)
    for number in np.unique(shards):
        rows = np.flatnonzero(shards == number)
        array = store.shard(int(number))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chosen = rows[start : start + ROWS_AT_ONCE]
            items = np.ascontiguousarray(array[places[chosen]])
            items = items + 0.0 if items.dtype.kind == "f" else items
            for row, item in zip(chosen, items, strict=True):
                digests[row] = content_digest(item)
    return digests


def content_digest(item: np.ndarray) -> np.ndarray:
    """A 128-bit BLAKE2b hash of the bytes of one item, which must lie contiguous: uint64 (2,)."""
    return np.frombuffer(hashlib.blake2b(item.data, digest_size=16).digest(), np.uint64)


def with_contents(store: Store, table: pd.DataFrame, positions: np.ndarray) -> pd.DataFrame:
    """`table`, whose rows are the items at `positions` of `store`, with their `group` and `digest`."""
    digests = content_digests(store, positions)
    pairs = list(zip(digests[:, 0].tolist(), digests[:, 1].tolist(), strict=True))
    return table.assign(group=store.manifest["group"].to_numpy()[positions], digest=pairs)


def copies_grouped(store: Store, items: pd.DataFrame) -> pd.DataFrame:
    """`items`, rows of the manifest with positions as index: those without a group share one with their copies.

    The group is named after the first of them. An item without a stated split then follows its copies that have one.
    Nothing is read where every item has a group or a split.
    """
    return group_copies(items, lambda free: content_digests(store, items.index.to_numpy()[free]))


def group_copies(items: pd.DataFrame, digests_of: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    """`copies_grouped` of any table: `digests_of` takes which rows (N,) are asked about, and gives theirs, uint64 (n, 2)."""
    free = items["group"].isna().to_numpy()
    if not (free & items["split"].isna().to_numpy()).any():
        return items
    digests = digests_of(free)
    first = pd.DataFrame(
        {"high": digests[:, 0], "low": digests[:, 1], "name": items.loc[free, "item_id"].to_numpy()}
    )
    by_content = first.groupby(["high", "low"], sort=False)["name"]
    copied = by_content.transform("size").to_numpy() > 1
    group = items["group"].astype("string").copy()
    group.loc[items.index[free][copied]] = by_content.transform("first").to_numpy()[copied]
    return items.assign(group=group)
