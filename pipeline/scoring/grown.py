"""Scores of a store that has grown since: the shards that it had are not scored again.

Stores never rewrite a finished shard, so that a shard with the same digest and the same items has the scores that it had: the same
batches, on the same device, give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.items import places_among
from esad.pipeline.scoring.batches import SIZES
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, read_marker
from esad.pipeline.scoring.scores import TERMS
from esad.pipeline.settings.config import first_difference
from esad.preprocessing.store.reading import read_table
from esad.preprocessing.store.writing import write_array

if TYPE_CHECKING:
    from esad.pipeline.scoring.work import Pieces
    from esad.preprocessing.store.store import Store

MAY_GROW = ("inputs", "items", "shards", "overlays", "thresholds")
"""What of scores.json may be other in a store that has grown."""


def scored_shards(store: Store, device: str) -> dict[str, Any]:
    """What scores.json keeps of how each shard was scored: device, batches, and the digests of the shards by their names.

    {} for a store of an earlier version, which has no digests.
    """
    shards = store.manifest[["source", "shard"]].drop_duplicates()
    digests = shards.merge(store.sources[["source", "shard_digest"]], on="source")
    if digests["shard_digest"].isna().any() or len(digests) < len(shards):
        return {}
    named = dict(zip(digests["shard"], digests["shard_digest"], strict=True))
    return {
        "device": device,
        "batches": SIZES,
        "digests": {f"{number:05d}": named[number] for number in sorted(named)},
    }


def has_grown(before: Mapping[str, Any], marker: Mapping[str, Any], folder: Path, store: Store) -> bool:
    """Whether the finished scores in `folder`, marked as `before`, are of the same run and store as `marker`'s, which has all of
    their shards with the same items, and more.

    Raises EsadError for scores that cannot be read.
    """
    old, new = before.get("shards"), marker.get("shards")
    if not old or not new or before["items"] >= marker["items"]:
        return False
    same = [{name: each.get(name) for name in {*before, *marker} - {*MAY_GROW}} for each in (before, marker)]
    how = [{name: each[name] for name in ("device", "batches")} for each in (old, new)]
    return (
        first_difference(same[0], same[1]) is None
        and how[0] == how[1]
        and all(new["digests"].get(name) == digest for name, digest in old["digests"].items())
        and _same_items(folder, store, old["digests"])
    )


def _same_items(folder: Path, store: Store, shards: Mapping[str, str]) -> bool:
    """Whether the store's items of `shards` are those that have scores: with one of them left out, the others make other batches."""
    scored = read_table(folder / "scores.parquet", SCORE_AGAIN, ("item_id",))["item_id"]
    here = store.manifest.loc[store.manifest["shard"].isin([int(name) for name in shards]), "item_id"]
    return len(scored) == len(here) and not (places_among(here, scored) < 0).any()


def keep_scored(folder: Path, store: Store, pieces: Pieces) -> int:
    """Write the pieces of shards whose scores finished SCORES have (`has_grown`); how many items these have."""
    if not (folder / "scores.json").is_file():
        return 0
    had = read_marker(folder).get("shards") or {"digests": {}}
    table = read_table(folder / "scores.parquet", SCORE_AGAIN, ("item_id", *TERMS))
    places = places_among(store.manifest["item_id"], table["item_id"])
    terms, shards = table[list(TERMS)].to_numpy(np.float32), store.manifest["shard"].to_numpy()
    for name in {*pieces.missing()} & {*had["digests"]}:
        write_array(pieces.path(name), terms[places[shards == pieces.arguments[name]]])
    return sum(pieces.sizes[name] for name in had["digests"])
