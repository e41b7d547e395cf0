"""Which items of a store are copies of each other: hashes of their pixels or values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.preprocessing.errors import UsageError

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store

ROWS_AT_ONCE = 1024
MADE_FROM = "made_from"
"""Column of a file of labels: `made_from` of the item when it got its label."""


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
            items = _comparable(array[places[chosen]])
            for row, item in zip(chosen, items, strict=True):
                digests[row] = content_digest(item)
    return digests


def _comparable(values: np.ndarray) -> np.ndarray:
    """`values` one after the other in memory, -0.0 as 0.0."""
    values = np.ascontiguousarray(values)
    return values + 0.0 if values.dtype.kind == "f" else values


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


def made_from(items: pd.DataFrame, sources: pd.DataFrame, shard: Callable[[int], np.ndarray]) -> list[str]:
    """By what each of `items`, rows of a manifest, can be told from another item of its name: one text each.

    The region of a tile; the fingerprint of a file of one item; a hash of the pixels or values of one of many. `shard` gives the array of
    a number.
    """
    known = sources.drop_duplicates("source").set_index("source")
    found = []
    for item in items.to_dict("records"):
        if pd.notna(item.get("width")):
            found.append("tile " + ",".join(str(round(item[side])) for side in ("x", "y", "width", "height")))
        elif known["items"].get(item["source"]) == 1:
            found.append(f"file {known['fingerprint'][item['source']]}")
        else:
            values = shard(int(item["shard"]))[int(item["index"])]
            found.append("item " + content_digest(_comparable(values)).tobytes().hex())
    return found


def check_same_items(
    labels: pd.DataFrame,
    items: pd.DataFrame,
    sources: pd.DataFrame,
    shard: Callable[[int], np.ndarray],
    name: str,
) -> None:
    """UsageError where `labels` of the file `name`, by item_id, say by a column MADE_FROM what their items were made from, and one of
    `items` is made from something else now: the label would be another item's."""
    if MADE_FROM not in labels or "item_id" not in labels:
        return
    stated = labels.loc[labels[MADE_FROM].notna()].set_index("item_id")[MADE_FROM]
    here = items[items["item_id"].isin(stated.index)]
    now = pd.Series(made_from(here, sources, shard), index=here["item_id"].to_numpy(), dtype="string")
    other = now.index[(now != stated.reindex(now.index).astype("string")).to_numpy(dtype=bool)]
    if len(other):
        raise UsageError(
            f"{name}: {len(other)} of {len(stated)} labels were given to items that are others now (first: {other[0]}): the input has "
            f"another content or order of rows, or tiles are of another size. Mark them anew, or take out the column {MADE_FROM} if they "
            "are the same all the same."
        )
