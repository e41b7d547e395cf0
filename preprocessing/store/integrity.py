"""Whether the files of a store belong together: places, shards, counts, digests, values. Each rule lists what breaks it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store.digests import has_digest
from esad.preprocessing.store.store import finished_units, shard_path

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store

FORCE = "run the ingest stage with --force"
ROWS_AT_ONCE = 65536


@dataclass(frozen=True)
class Rule:
    """One rule, the names of all that breaks it, and what to do then; `unchecked` says what it could not look at."""

    name: str
    offenders: tuple[str, ...]
    remedy: str
    unchecked: str | None = None


def inputs_digest(sources: pd.DataFrame) -> str:
    """16 hex digits over the fingerprints of all sources in their order: store.json's `inputs`."""
    fingerprints = "\n".join(sources["fingerprint"].fillna("").astype(str))
    return hashlib.sha256(fingerprints.encode()).hexdigest()[:16]


def store_rules(store: Store) -> list[Rule]:
    """All rules of a store that was opened with `whole=False`; the shards are read once for their digests, tables' again."""
    lengths, unfit = _lengths(store)
    rules = [
        Rule(
            "shards_fit",
            tuple(unfit),
            f"these shards are missing, damaged or of another type or shape: {FORCE}",
        ),
        _places_fit(store, lengths),
        _places_apart(store),
        _shards_used(store),
        _counts_agree(store),
        _manifest_unchanged(store),
        _shards_unchanged(store, lengths),
    ]
    return rules if store.pictures else [*rules, _values_finite(store, lengths)]


def _lengths(store: Store) -> tuple[dict[int, int], list[str]]:
    """Number of a shard -> its items; the files of those that cannot be used."""
    lengths, unfit = {}, []
    for number in store.manifest["shard"].unique().tolist():
        try:
            lengths[number] = len(store.shard(number))
        except EsadError:
            unfit.append(shard_path(store.root, number).name)
    return lengths, sorted(unfit)


def _places_fit(store: Store, lengths: dict[int, int]) -> Rule:
    manifest = store.manifest
    most = manifest["shard"].map(lengths)
    beyond = (manifest["index"] < 0) | (manifest["index"] >= most.fillna(np.inf))
    names = tuple(manifest.loc[beyond, "item_id"].astype(str))
    return Rule("places_fit", names, f"the index of these items is negative or beyond their shard: {FORCE}")


def _places_apart(store: Store) -> Rule:
    manifest = store.manifest
    twice = manifest.duplicated(["shard", "index"], keep=False)
    names = tuple(manifest.loc[twice, "item_id"].astype(str))
    return Rule("places_apart", names, f"these items share a place of a shard with another: {FORCE}")


def _shards_used(store: Store) -> Rule:
    """Shards of earlier tries of an input stay, and are known by their part tables."""
    known = set(store.manifest["shard"].tolist()) | set(finished_units(store.root))
    files = sorted((store.root / "shards").glob("*.npy"))
    stray = [path.name for path in files if not path.stem.isdigit() or int(path.stem) not in known]
    return Rule(
        "shards_used",
        tuple(stray),
        f"no item and no unit of the store uses these shards: remove them, or {FORCE}",
    )


def _counts_agree(store: Store) -> Rule:
    """Items by source and in all, and the digest of the inputs: the manifest, sources.parquet and store.json say the same."""
    sources, found = store.sources, store.manifest["source"].astype(str).value_counts()
    stated = sources.set_index(sources["source"].astype(str))["items"].where(
        (sources["state"] == "done").to_numpy(), 0
    )
    stated = stated[~stated.index.duplicated()]  # told below
    wrong = [name for name in found.index if found[name] > stated.get(name, 0)]
    if not store.settings.get("where"):  # which leaves items out
        wrong += [name for name, count in stated.items() if count > found.get(name, 0)]
    wrong += sorted(set(sources.loc[sources["source"].duplicated(), "source"].astype(str)))
    if store.description.get("items", len(store)) != len(store):
        wrong.append(f"store.json ({store.description['items']} items, the manifest has {len(store)})")
    if store.description["inputs"] != inputs_digest(sources):
        wrong.append("store.json (inputs)")
    return Rule(
        "counts_agree", tuple(wrong),
        f"manifest.parquet, sources.parquet and store.json state other numbers of items or other inputs: {FORCE}",
    )  # fmt: skip


def _manifest_unchanged(store: Store) -> Rule:
    """The manifest is, byte by byte, what the ingest stage wrote: its labels and places, too."""
    name, path = "manifest_unchanged", store.root / "manifest.parquet"
    remedy = (
        f"this file is not what the ingest stage wrote; labels are changed by its --labels alone: {FORCE}"
    )
    if "manifest_digest" not in store.description:
        return Rule(name, (), remedy, "store.json has no digest of it (an older esad wrote it)")
    same = has_digest(path, store.description["manifest_digest"])
    return Rule(name, () if same else (path.name,), remedy)


def _shards_unchanged(store: Store, lengths: dict[int, int]) -> Rule:
    """Each shard is, byte by byte, what was written; stores older than the digests cannot tell."""
    digest = store.sources.set_index(store.sources["source"].astype(str))["shard_digest"]
    digest = digest[~digest.index.duplicated()]  # `_counts_agree` tells of a source that is there twice
    stated = (
        store.manifest.drop_duplicates("shard").set_index("shard")["source"].astype(str).map(digest).to_dict()
    )
    known = {
        number: str(value) for number, value in stated.items() if not pd.isna(value) and number in lengths
    }
    changed = [
        shard_path(store.root, number).name
        for number, value in sorted(known.items())
        if not has_digest(shard_path(store.root, number), value)
    ]
    lacking = len(lengths) - len(known)
    told = (
        f"{lacking} of {len(lengths)} shards have no digest (an older esad wrote them)" if lacking else None
    )
    return Rule("shards_unchanged", tuple(changed), f"these shards are not what was written: {FORCE}", told)


def _values_finite(store: Store, lengths: dict[int, int]) -> Rule:
    """No infinite value in a row; a missing one only where it is to be filled (`missing: median`)."""
    allowed = store.settings.get("missing") == "median"
    manifest, names = store.manifest, []
    for number, rows in manifest[manifest["shard"].isin(list(lengths))].groupby("shard"):
        array = store.shard(int(str(number)))
        there = rows[(rows["index"] >= 0) & (rows["index"] < len(array))]
        for start in range(0, len(there), ROWS_AT_ONCE):
            part = there.iloc[start : start + ROWS_AT_ONCE]
            values = array[part["index"].to_numpy()]
            wrong = (np.isinf(values) | (np.isnan(values) & (not allowed))).any(axis=1)
            names += part.loc[wrong, "item_id"].astype(str).tolist()
    return Rule("values_finite", tuple(names), f"these rows hold infinite or missing values: {FORCE}")


def copies(digests: np.ndarray, names: pd.Series) -> list[str]:
    """The names (N,) of items whose content, by digests uint64 (N, 2), another item before them has."""
    table = pd.DataFrame({"high": digests[:, 0], "low": digests[:, 1]})
    return names[table.duplicated().to_numpy()].astype(str).tolist()
