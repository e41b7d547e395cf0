"""From a store and a run's settings to what trains: which item plays which part, and the items themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.progress import say
from esad.preprocessing.splits.site_split import assign_leave_site_out, sides
from esad.preprocessing.splits.where import no_match

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from esad.models.training.fit import Items
    from esad.preprocessing.store.store import Store

FEWEST_LOOKED_UP = 2**16
"""So many names are looked up at once, and more where they are less than an eighth of all."""
IN_MEMORY_BYTES = 4 * 2**30
VECTORS_IN_MEMORY = 2**29
"""The same of embeddings: a batch of them is read from the mapped shards in less time than it is computed in."""
DEVICE_SHARE = 0.5
"""Most of a CUDA device's free memory that the stored items may take; networks and activations need the rest."""


def assignments_of(store: Store, settings: RunSettings) -> pd.DataFrame:
    """The assignments of a run on `store`: item_id, part, label, semi_label; items that a split by site leaves out are said."""
    items = splittable(store, settings)
    assignments = assign_items(store, items, settings)
    if settings.data.split == "clean":
        _say_parted(items, store)
        _say_nothing_held_out(items, assignments, settings, store)
    if settings.data.split == "leave-site-out":
        told = sides(items, settings.data.site, settings.data.validation_site).told()
        if told:
            say(f"{store.root}: {told}")
    return assignments


def _say_parted(items: pd.DataFrame, store: Store) -> None:
    """Say how many groups the split that is stated parts: their items train and measure."""
    if "group" not in items or "split" not in items:
        return
    stated = items[items["group"].notna() & items["split"].notna()]
    parted = stated.groupby("group")["split"].nunique() > 1
    if parted.any():
        say(
            f"{store.root}: the stated split parts {int(parted.sum())} of {len(parted)} groups, so that one patient or slide trains "
            "and measures: figures will flatter."
        )


def _say_nothing_held_out(
    items: pd.DataFrame, assignments: pd.DataFrame, settings: RunSettings, store: Store
) -> None:
    """Say that parts are empty, where the cause is that all labelled items, or all of a label, are of one group."""
    data = settings.data
    asked = {
        "validation": data.validation_share,
        "test": data.test_share if items["split"].isna().any() else 0,
    }
    empty = [name for name, share in asked.items() if share and not (assignments["part"] == name).any()]
    train = assignments[(assignments["part"] == "train") & assignments["label"].notna()]
    groups = train["item_id"].map(items.set_index("item_id")["group"]).dropna()
    if not empty or len(train) < 2 or len(groups) < len(train):
        return
    if (groups.groupby(train["label"].to_numpy()).nunique() > 1).any():
        return
    count = groups.nunique()
    of = "one group" if count == 1 else f"{count} groups, one for each label"
    say(
        f"{store.root}: no item is held out for {' or '.join(empty)}: the {len(train)} labelled items that train are of {of} (patient, "
        "slide, or copies of one picture), and a group is never on both sides. If that is not so (all files state the patient ANONYMOUS), "
        "make the store again with the right groups, --labels FILE.csv (source, group), or with none; or state the parts (split)."
    )


def selected(manifest: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    """The manifest rows that `data.where` keeps, with their own index; UsageError where it leaves none."""
    items = manifest
    for name, value in where.items():
        if name not in items:
            raise UsageError(
                f"data.where: the store has no column {name!r}; it has {', '.join(items.columns)}."
            )
        items = items[items[name].astype("string") == str(value)]
    if items.empty:
        raise UsageError(f"data.where = {where} leaves no item.{no_match(manifest, where)}")
    return items


def splittable(store: Store, settings: RunSettings) -> pd.DataFrame:
    """The manifest rows that `data.where` keeps, with copies in one group but for the published split, which draws rows.

    Their positions in the store are the index. Raises UsageError where `data.where` names no column or leaves no item.
    """
    from esad.preprocessing.store.contents import copies_grouped

    data, items = settings.data, selected(store.manifest, settings.data.where)
    return copies_grouped(store, items) if data.split != "published" and data.copies_together else items


def assign_items(store: Store, items: pd.DataFrame, settings: RunSettings) -> pd.DataFrame:
    """The assignments of a run with these settings, of `items`, rows of the manifest of `store`."""
    if settings.data.split == "published" and store.kind != "table":
        raise UsageError(f"data.split = published is for tables; {store.root} is a store of {store.kind}.")
    return assigned(items, settings)


def assigned(items: pd.DataFrame, settings: RunSettings) -> pd.DataFrame:
    """The assignments of a run with these settings, of `items`, rows of any manifest."""
    from esad.preprocessing.splits.published_split import assign_published
    from esad.preprocessing.splits.semisupervised import assign

    data = settings.data
    seed = settings.seed if data.split_seed is None else data.split_seed
    by_site = partial(assign_leave_site_out, site=data.site, validation_site=data.validation_site)
    ways: dict[str, Callable[..., pd.DataFrame]] = {
        "clean": assign, "published": assign_published, "leave-site-out": by_site,
    }  # fmt: skip
    return ways[data.split](
        items.reset_index(drop=True), seed=seed, labelled=data.labelled, gamma_l=data.gamma_l,
        gamma_p=data.gamma_p, k_l=data.k_l, normal_classes=data.normal_classes,
        labelled_classes=data.labelled_classes, test_share=data.test_share, validation_share=data.validation_share,
    )  # fmt: skip


def in_memory(store: Store, device: torch.device | None = None) -> Items:
    """The store's items as one tensor where they fit, else read from the mapped shards as they are asked for.

    On CUDA they are moved to the device once where they take at most DEVICE_SHARE of its free memory.
    """
    import torch

    needed = sum(path.stat().st_size for path in (store.root / "shards").glob("*.npy"))
    if store.kind == "embeddings":  # which may be stored in half of what they take
        needed = 4 * len(store) * store.shape[0]
    mapped = as_needed(store)
    cuda = device is not None and device.type == "cuda"
    if fits(needed, device) and (cuda or store.kind != "embeddings" or needed <= VECTORS_IN_MEMORY):
        return torch.from_numpy(store.read()).to(device)
    return (lambda positions: mapped(positions).pin_memory()) if cuda else mapped


def fits(needed: int, device: torch.device | None) -> bool:
    """Whether so many bytes of items may be in memory at once: in that of a CUDA device, else in the machine's."""
    import torch

    if device is not None and device.type == "cuda":
        return needed <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
    return needed <= IN_MEMORY_BYTES


def as_needed(store: Store) -> Callable[[np.ndarray], torch.Tensor]:
    """The store's items, read from the mapped shards as they are asked for."""
    import torch

    return lambda positions: torch.from_numpy(store.read(positions))


def positions_of(store: Store, item_ids: pd.Series) -> np.ndarray:
    """Row positions in the store's manifest of the given items."""
    import pandas as pd

    return pd.Index(store.manifest["item_id"]).get_indexer(item_ids.to_numpy())


def places_among(names: pd.Series, known: pd.Series) -> np.ndarray:
    """Where each of `names` stands among `known`, of equal ones the last, and -1 for one that is not there: int32 (N,).

    By Arrow, since as objects of Python a million names take 300 MB, and an eighth of `known` at a time, since looking a
    million up among as many takes 200 MB.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    ours, theirs = (pa.array(column).cast(pa.large_string()) for column in (names, known))
    places, size = np.full(len(ours), -1, np.int32), max(FEWEST_LOOKED_UP, -(-len(theirs) // 8))
    for begin in range(0, len(theirs), size):
        part = theirs.slice(begin, size)
        backwards = part.take(pa.array(np.arange(len(part))[::-1]))  # the first that is found is the last
        found = compute.index_in(ours, value_set=backwards).fill_null(-1).to_numpy()
        places = np.where(found < 0, places, begin + len(part) - 1 - found).astype(np.int32)
    pa.default_memory_pool().release_unused()
    return places


def evenly(positions: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the positions, evenly spaced."""
    import numpy as np

    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).round().astype(int)]
