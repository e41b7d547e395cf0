"""Scores of a store that has grown since: the shards that it had are not scored again.

Stores never rewrite a finished shard, so that a shard with the same digest and the same items has the scores that it had: the same
batches, on the same device, give the same bits with the same version of PyTorch on the same kind of processor, and the same but for last
digits with others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.grey_levels import NO_LEVELS, refitted
from esad.pipeline.runs.items import places_among
from esad.pipeline.scoring.batches import SIZES
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, read_marker
from esad.pipeline.scoring.scores import TERMS
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.reading import read_table
from esad.preprocessing.store.writing import write_array

if TYPE_CHECKING:
    from esad.pipeline.scoring.work import Pieces
    from esad.preprocessing.store.store import Store

MAY_GROW = ("inputs", "items", "shards", "overlays", "thresholds", "grey_levels")
"""What of scores.json may be other in a store that has grown."""


def scored_shards(store: Store, device: str) -> dict[str, Any]:
    """What scores.json keeps of how each shard was scored: device, batches, and the digests of the shards by their names.

    {} for a store of an earlier version, which has no digests.
    """
    digests = _digests(store)
    return {"device": device, "batches": SIZES, "digests": digests} if digests else {}


def _digests(store: Store) -> dict[str, str]:
    """Shard, as its file is called -> its digest; {} where the store does not keep them."""
    shards = store.manifest[["source", "shard"]].drop_duplicates()
    digests = shards.merge(store.sources[["source", "shard_digest"]], on="source")
    if digests["shard_digest"].isna().any() or len(digests) < len(shards):
        return {}
    named = dict(zip(digests["shard"], digests["shard_digest"], strict=True))
    return {f"{number:05d}": named[number] for number in sorted(named)}


def of_another(before: Mapping[str, Any], marker: Mapping[str, Any]) -> str | None:
    """The first difference, in words, of two marks other than what a store may get by growing: another run, weights, store or score."""
    same = [{name: each.get(name) for name in {*before, *marker} - {*MAY_GROW}} for each in (before, marker)]
    return first_difference(same[0], same[1])


def has_grown(
    before: Mapping[str, Any],
    marker: Mapping[str, Any],
    folder: Path,
    store: Store,
    device: Callable[[], str],
) -> bool:
    """Whether the finished scores in `folder`, marked as `before`, are of the same run and store as `marker`'s, which has more items
    now. `device` finds where the work will be done.

    Raises EsadError, with the reason, where what has scores would get others now, and for scores that cannot be read.
    """
    if (before.get("items") or 0) >= marker["items"]:
        return False
    if of_another(before, marker) is not None:
        return False
    maps = [each.get("grey_levels") or NO_LEVELS for each in (before, marker)]
    reason = refitted(maps[0], maps[1]) or _scored_otherwise(
        before.get("shards") or {}, folder, store, device
    )
    if reason:
        raise EsadError(
            f"{folder}: {store.root} has grown since it was scored, but {reason}. Choose another --out, or --force to score all of it anew."
        )
    return True


def _scored_otherwise(
    scored: Mapping[str, Any], folder: Path, store: Store, device: Callable[[], str]
) -> str | None:
    """Why the scores of shards that were `scored` so cannot be kept; None where they can."""
    if not scored or not (there := _digests(store)):
        return "an earlier version made it or its scores, and did not keep what each shard holds"
    other = [name for name, digest in scored["digests"].items() if there.get(name) != digest]
    if other:
        return f"its shard {other[0]} is {'another' if other[0] in there else 'gone'}"
    if not _same_items(folder, store, scored["digests"]):
        return "items that have scores are gone from it"
    if scored["batches"] != SIZES:
        return "it was scored in batches of another size, by another version"
    found = device()
    if scored["device"] != found:
        return f"it was scored on {scored['device']}, and this would be on {found} (--device)"
    return None


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
