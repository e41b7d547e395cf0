"""`data.site_normalisation`: the grey levels of each site's pictures, brought to those that the training sites have in common.

The maps of the training sites are fitted to their training items that are not labelled anomalies, and kept in RUN/grey_levels.json. A site
that training did not have is fitted to its own items in the store that is scored; labels are not looked at, so there may be anomalies
among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.items import evenly, positions_of
from esad.pipeline.runs.run_files import train_again
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.preprocessing.grey_levels import LEVELS, histogram, landmarks, level_map
from esad.preprocessing.splits.site_split import SITE
from esad.preprocessing.store.reading import damaged, read_object
from esad.preprocessing.store.store import Store
from esad.preprocessing.store.writing import write_json

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.settings.config import RunSettings

FILE = "grey_levels.json"
FEWEST = 10
"""Fewer pictures than these say too little of a site's grey levels: they stay as they are."""
MOST = 2000
"""So many pictures of a site are looked at, evenly out of more."""
AT_ONCE = 256
UNLABELLED, ALL = "without a label", "labels not looked at"


@dataclass(frozen=True)
class GreyLevels:
    """What RUN/grey_levels.json holds: the landmarks that all sites are brought to, and each training site's own, float64 (11,)."""

    reference: np.ndarray
    sites: Mapping[str, np.ndarray]
    items: Mapping[str, int]

    def write(self, run: Path) -> None:
        """RUN/grey_levels.json."""
        sites = {
            name: {"items": self.items[name], "levels": list(levels)} for name, levels in self.sites.items()
        }
        write_json(run / FILE, {"reference": list(self.reference), "sites": sites})


def read_grey_levels(run: Path) -> GreyLevels:
    """RUN/grey_levels.json; EsadError where it is missing or damaged."""
    path = run / FILE
    content = read_object(path, train_again(run), {"reference": list, "sites": dict})
    try:
        sites = {str(name): np.array(each["levels"], dtype=float) for name, each in content["sites"].items()}
        items = {str(name): int(each["items"]) for name, each in content["sites"].items()}
        found = GreyLevels(np.array(content["reference"], dtype=float), sites, items)
        whole = all(
            len(each) == len(found.reference) and np.isfinite(each).all()
            for each in [found.reference, *sites.values()]
        )
    except (TypeError, ValueError, KeyError) as error:
        raise damaged(path, "is damaged (levels are no numbers)", train_again(run)) from error
    if not whole or not sites:
        raise damaged(path, "is damaged (levels are missing)", train_again(run))
    return found


class LevelledStore(Store):
    """A store whose pictures are read with their sites' grey levels mapped: `tables` uint8 (S, 256), `codes` (N,) of items, -1 none."""

    def __init__(self, store: Store, tables: np.ndarray, codes: np.ndarray) -> None:
        self.__dict__.update(store.__dict__)
        self._behind, self._tables, self._codes = store, tables, codes

    def read(self, positions: np.ndarray | None = None) -> np.ndarray:
        """As `Store.read`, uint8 (N, H, W, 1)."""
        out = super().read(positions)
        codes = self._codes if positions is None else self._codes[positions]
        for code in np.unique(codes[codes >= 0]):
            out[codes == code] = self._tables[code][out[codes == code]]
        return out

    def release(self) -> None:
        """Let go of the shards, here and in the store behind."""
        self._behind.release()
        super().release()


def fit_grey_levels(store: Store, assignments: pd.DataFrame, settings: RunSettings) -> GreyLevels | None:
    """The levels of the sites in the training part; None where `data.site_normalisation` is off.

    UsageError for a store of other than grey pictures, or without sites.
    """
    if settings.data.site_normalisation == "none":
        return None
    check_grey(store)
    trained = assignments[(assignments["part"] == "train") & (assignments["semi_label"] >= 0)]
    positions = positions_of(store, trained["item_id"])
    sites = _sites(store)[positions]
    found: dict[str, np.ndarray] = {}
    items: dict[str, int] = {}
    for name in sorted({site for site in sites if site is not None}):
        own = positions[sites == name]
        if len(own) >= FEWEST:
            found[name], items[name] = _landmarks_of(store, own), len(own)
    if not found:
        raise UsageError(
            f"data.site_normalisation = grey: no site has {FEWEST} unlabelled or normal items in the training part of {store.root}. Give "
            "sites to the stage that makes the store (--site, a column site in --labels, --site-column)."
        )
    return GreyLevels(np.mean([*found.values()], axis=0), found, items)


def check_grey(store: Store) -> None:
    """UsageError for a store whose items are no grey pictures."""
    if len(store.shape) == 3 and store.shape[2] == 1:
        return
    remedy = (
        "esad tile brings the stain of each slide to one target when it cuts it (--stain, --stain-target), which is finer"
        if store.kind == "tiles"
        else "leave it out"
    )
    raise UsageError(
        f"data.site_normalisation = grey is for grey pictures, and {store.root} has others: {remedy}."
    )


def levelled(store: Store, levels: GreyLevels | None) -> Store:
    """`store` as the networks of a run with these levels see it; itself without."""
    return store if levels is None else _levelled(store, levels)


def _levelled(store: Store, levels: GreyLevels) -> Store:
    sites, plan = _sites(store), planned(store, levels)
    own = {
        **levels.sites,
        **{name: _landmarks_of(store, at) for name, (at, _) in _new_sites(store, levels).items()},
    }
    names = [name for name in sorted(own) if name in plan["sites"]]
    tables = (
        np.stack([level_map(own[name], levels.reference) for name in names])
        if names
        else np.empty((0, LEVELS), np.uint8)
    )
    codes = np.full(len(store), -1)
    for code, name in enumerate(names):
        codes[sites == name] = code
    return LevelledStore(store, tables, codes)


def planned(store: Store, levels: GreyLevels) -> dict[str, Any]:
    """What will be done with the items of a store, without reading one: each site's source of its map, how many items have none.

    EsadError where no item says its site.
    """
    sites = _sites(store)
    counts = {
        name: int((sites == name).sum()) for name in sorted({site for site in sites if site is not None})
    }
    if not counts:
        raise EsadError(
            f"{store.root}: no item says its site, and this run maps grey levels by site (data.site_normalisation). Make the store with "
            "--site NAME, a column site in --labels, or --site-column."
        )
    found: dict[str, dict[str, Any]] = {
        name: {"items": counts[name], "fitted_to": levels.items[name], "of": "training"}
        for name in counts
        if name in levels.sites
    }
    found |= {
        name: {"items": counts[name], "fitted_to": len(at), "of": which}
        for name, (at, which) in _new_sites(store, levels).items()
    }
    return {
        "sites": dict(sorted(found.items())),
        "too_few": {name: count for name, count in counts.items() if name not in found},
        "without_site": int(len(sites) - sum(counts.values())),
    }


def _new_sites(store: Store, levels: GreyLevels) -> dict[str, tuple[np.ndarray, str]]:
    """Site that training did not have -> the positions of the items that its map is fitted to, and which they are."""
    sites, found = _sites(store), {}
    open_ = store.manifest["label"].isna().to_numpy()
    if "class_name" in store.manifest:
        open_ &= store.manifest["class_name"].isna().to_numpy()
    for name in sorted({site for site in sites if site is not None} - set(levels.sites)):
        every, unlabelled = np.flatnonzero(sites == name), np.flatnonzero((sites == name) & open_)
        if len(unlabelled) >= FEWEST:
            found[name] = (unlabelled, UNLABELLED)
        elif len(every) >= FEWEST:
            found[name] = (every, ALL)
    return found


NO_LEVELS: Mapping[str, Any] = {"sites": {}, "too_few": {}, "without_site": 0}


def levels_told(plan: Mapping[str, Any]) -> str:
    """`planned` in words: what a person must know of the maps, empty where all are of training."""
    words = [
        f"The grey levels of site {name} are fitted to {each['fitted_to']} items of its own ({each['of']}), among which may be anomalies."
        for name, each in plan["sites"].items()
        if each["of"] != "training"
    ]
    words += [
        f"The grey levels of site {name} stay as they are: it has {count} items, and a map needs {FEWEST}."
        for name, count in plan["too_few"].items()
    ]
    if plan["without_site"]:
        words.append(
            f"{plan['without_site']} items do not say their site: their grey levels stay as they are."
        )
    return " ".join(words)


def refitted(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """In words, which items that were mapped as planned `before` may be mapped otherwise `after`, when their store has more; None: none.

    The maps of training's sites never change. That of another site is fitted to its items in the store.
    """
    own = [name for name, each in before["sites"].items() if each["of"] != "training"]
    own += [name for name in before["too_few"] if name in after["sites"]]
    return f"the grey levels of site {own[0]} are fitted to its items there" if own else None


def _sites(store: Store) -> np.ndarray:
    """Each item's site, object (N,), None where it does not say."""
    if SITE not in store.manifest:
        return np.full(len(store), None, dtype=object)
    stated = store.manifest[SITE].astype("string")
    return stated.astype(object).where(stated.notna(), None).to_numpy()


def _landmarks_of(store: Store, positions: np.ndarray) -> np.ndarray:
    """`landmarks` of the pixels of at most MOST of the items at `positions`."""
    chosen = evenly(np.sort(positions), MOST)
    counts = np.zeros(LEVELS, np.int64)
    for start in range(0, len(chosen), AT_ONCE):
        counts += histogram(store.read(chosen[start : start + AT_ONCE]))
    return landmarks(counts)
