"""What a run has seen of another store than its own: items of the groups (patients, slides) that it used, and copies of its items.

An item of the same place in the same file is known before (`scores_table.parts_of`). Groups are compared by name; contents, where the
training store is still there, by hash, as training itself keeps copies together (`contents.copies_grouped`).
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_files import read_assignments
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.outcome import items_of
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.contents import content_digests
from esad.preprocessing.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esad.pipeline.runs.run_folder import Run

USED = ("validation", "train")
"""Parts that a run has seen; of a group that is in both, the last counts."""
MOST_BYTES = 2**30
"""Copies are looked for among items of at most so many bytes in both stores: each of these is read."""
WHOLE = ("radiographs", "images")
"""Kinds whose items are compared by content though they state groups; tiles and rows of several groups may well be equal."""


def with_seen(run: Run, store: Store, part: pd.Series) -> pd.Series:
    """`part` (N,) of the items of `store`, which is not the run's own, where it is null: the part of its group, else of its copy.

    What is found, and what cannot be looked for, is said.
    """
    used = read_assignments(run.root, ("group",))
    used = used[used["part"].isin(USED)]
    trained = _training_store(run)
    unknown = "group" not in used  # a run of an earlier version
    if unknown:
        used = used.assign(group=_groups_in(trained, used["item_id"]))
    by_group = _of_groups(used, store).where(part.isna().to_numpy() & ~_of_other_files(run, store))
    part = part.fillna(by_group)
    labelled = store.manifest["label"].notna().any() or "class_name" in store.manifest
    by_content = _of_copies(run, store, used, trained, part) if labelled else part.where(part.isna())
    counts = int(by_group.notna().sum()), int(by_content.notna().sum())
    _say_found(store, *counts)
    if labelled and not counts[0]:
        _say_unknown(run, store, unknown and trained is None)
    return part.fillna(by_content)


def _training_store(run: Run) -> Store | None:
    """The store that the run was trained on; None where it is gone, damaged or another one now."""
    path = Path(run.store["path"])
    try:
        store = Store(path, whole=False) if path.exists() else None
    except EsadError:
        return None
    return store if store is not None and run.is_own(store) else None


def _groups_in(store: Store | None, names: pd.Series) -> pd.Series:
    """The groups that `store` has of the items `names`, null without a store."""
    if store is None:
        return pd.Series(pd.NA, names.index, "string")
    return names.map(store.manifest.set_index("item_id")["group"].astype("string"))


def _of_groups(used: pd.DataFrame, store: Store) -> pd.Series:
    """Of each item of `store` the part (USED) that its group has among the items `used`, else null."""
    parts: dict[str, str] = {}
    for name in USED:
        groups = used.loc[used["part"] == name, "group"].dropna().astype(str)
        parts |= dict.fromkeys(groups.unique(), name)
    return store.manifest["group"].astype("string").map(parts).astype("string").reset_index(drop=True)


def _of_other_files(run: Run, store: Store) -> np.ndarray:
    """Of each item of `store` (N,) whether its group is no more than the name of its file, and that file is none of training's: slides of
    two archives may be called alike."""
    known = set(run.sources["fingerprint"].dropna())
    files = store.sources.loc[~store.sources["fingerprint"].isin(known), "source"].astype(str)
    names = {
        source: {PurePosixPath(source).name, PurePosixPath(source).stem, source.rpartition(".")[0]}
        for source in files
    }
    items = store.manifest[["source", "group"]].astype("string").fillna("")
    return np.array(
        [
            group in names.get(source, ())
            for source, group in zip(items["source"], items["group"], strict=True)
        ],
        bool,
    )


def _of_copies(
    run: Run, store: Store, used: pd.DataFrame, trained: Store | None, part: pd.Series
) -> pd.Series:
    """Of each item of `store` without a `part` the part of an item of the same content that was `used`, else null."""
    found = pd.Series(pd.NA, range(len(store)), "string")
    if trained is None:
        say(
            f"{store.root}: copies of items that trained or validated cannot be looked for, since the training store ({run.store['path']}) "
            "is gone or was made anew; they would flatter the figures."
        )
        return found
    if not _told_apart(run, store, trained):
        return found
    places = pd.Index(trained.manifest["item_id"]).get_indexer(used["item_id"].to_numpy())
    known = _compared(trained, places[places >= 0])
    here = _compared(store, np.flatnonzero(part.isna().to_numpy()))
    if not len(known) or not len(here):
        return found
    if (len(known) + len(here)) * _bytes_of_item(store) > MOST_BYTES:
        say(
            f"{store.root}: too large to look for copies of items that trained or validated; they would flatter the figures."
        )
        return found
    names = dict(zip(used["item_id"], used["part"], strict=True))
    parts = trained.manifest["item_id"].iloc[known].map(names)
    try:
        contents = dict(zip(_hashes(trained, known), parts, strict=True))
    except EsadError as error:
        say(f"Copies of items that trained or validated cannot be looked for: {error}")
        return found
    found.iloc[here] = pd.array([contents.get(each) for each in _hashes(store, here)], dtype="string")
    return found


def _told_apart(run: Run, store: Store, trained: Store) -> bool:
    """Whether equal items are copies of each other, as training took them to be, and items of both stores can be equal."""
    data = run.settings.data
    copies = data.copies_together and data.split != "published"
    return copies and trained.description["dtype"] == store.description["dtype"]


def _compared(store: Store, positions: np.ndarray) -> np.ndarray:
    """Those of `positions` whose items are compared by content, in their order."""
    if store.kind in WHOLE:
        return np.sort(positions)
    return np.sort(positions[store.manifest["group"].isna().to_numpy()[positions]])


def _bytes_of_item(store: Store) -> int:
    return math.prod(store.shape) * np.dtype(store.description["dtype"]).itemsize


def _hashes(store: Store, positions: np.ndarray) -> list[bytes]:
    found = [digest.tobytes() for digest in content_digests(store, positions)]
    store.release()
    return found


def _say_found(store: Store, of_groups: int, copies: int) -> None:
    """Say how many items count in no figure, and what to do where names of groups are shared by chance."""
    told = []
    if of_groups:
        told.append(f"{of_groups} are of groups (patients, slides) that trained or validated")
    if copies:
        told.append(f"{copies} are copies of items that trained or validated")
    if not told:
        return
    words = (
        f"{store.root}: of {len(store)} {items_of(store.kind)} {' and '.join(told)}; they count in no figure."
    )
    if copies:
        words += " If equal rows are no copies of each other, train with --set data.copies_together=false."
    if of_groups:
        words += (
            " If these groups only share their names with those of training, make the store with names of its own (--labels FILE.csv with "
            "a column group, and --force)."
        )
    say(words)


def _say_unknown(run: Run, store: Store, lost: bool) -> None:
    """Say where it cannot be told whether groups are those of training; `lost`: nothing says which these are."""
    if store.manifest["group"].isna().all():
        return
    keys = [_key(settings) for settings in (run.store["settings"], store.settings)]
    told = f"{store.root}: whether its groups (patients, slides) are of training cannot be told:"
    if lost:
        say(f"{told} this run of an earlier version does not say its groups, and its store is gone.")
    elif keys[0] != keys[1]:
        say(
            f"{told} they are not hashed with the key of training's; make the store with the same --group-key (and --anonymous)."
        )


def _key(settings: Mapping[str, Any]) -> str | None:
    """What names of groups are hashed with: patients of radiographs always, those of other kinds with --anonymous."""
    found = settings.get("group_key") or settings.get("anonymous")
    return str(found) if found else None
