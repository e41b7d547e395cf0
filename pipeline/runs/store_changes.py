"""Whether the store that a run was trained on is still the one that it was: a store can be made anew at the same path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.runs.items import places_among
from esad.pipeline.runs.run_files import read_assignments, train_again
from esad.pipeline.settings.config import OF_LABELS, first_difference
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.runs.run_folder import Run
    from esad.preprocessing.store.store import Store


def store_changes(run: Run, store: Store) -> list[str]:
    """What is other in the store at the path of the run's own than when the run was trained on it, in words.

    Empty for a store elsewhere: new data are another store. Labels may change: a run takes them as the store has them now.
    """
    if store.root.resolve() != Path(run.store["path"]):
        return []
    found = []
    if not run.is_own(store):
        found.append(f"inputs ({_inputs_that_differ(run.sources, store.sources)})")
    before, now = (
        {name: value for name, value in settings.items() if name not in OF_LABELS}
        for settings in (run.store["settings"], store.settings)
    )
    both = before.keys() & now.keys()  # a later esad states more of them
    difference = first_difference({name: before[name] for name in both}, {name: now[name] for name in both})
    if difference:
        found.append(f"settings ({difference})")
    # not the run's own assignments, which stay in memory
    count, used = run.store.get("items", len(store)), read_assignments(run.root)["item_id"]
    gone = int((places_among(used, store.manifest["item_id"]) < 0).sum())
    if count != len(store):
        found.append(f"items ({count} -> {len(store)})")
    elif gone:
        found.append(f"items ({gone} of {len(used)} that the run used are gone)")
    return found


def check_unchanged(run: Run, store: Store, force: bool) -> None:
    """EsadError where the run's own store was made anew since, naming what differs; with `force` that is said."""
    found = store_changes(run, store)
    if not found:
        return
    told = f"{store.root}: made anew since {run.root} was trained on it: {', '.join(found)}."
    if not force:
        raise EsadError(
            f"{told} What the run trained on may be other items now: {train_again(run.root)}; --force scores it as it is."
        )
    say(f"{told} Going on, since --force is given.")


def _inputs_that_differ(before: pd.DataFrame, now: pd.DataFrame) -> str:
    """How many input files changed, came and went between two tables of sources, the first by name."""
    old, new = (
        dict(zip(table["source"].tolist(), table["fingerprint"].fillna("").tolist(), strict=True))
        for table in (before, now)
    )
    kinds = {
        "changed": [name for name in old if name in new and old[name] != new[name]],
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
    }
    return ", ".join(f"{len(names)} {kind}, first {names[0]}" for kind, names in kinds.items() if names)


def say_unlike(run: Run, store: Store) -> None:
    """Say what a person may not expect of another store than the run's own: inputs that are called as training's and hold something
    else, and projections that training did not have."""
    if run.is_own(store):
        return
    both = store.sources.merge(run.sources, on="source", suffixes=("", "_before"))
    other = both[both["fingerprint"] != both["fingerprint_before"]]
    if len(other):
        say(
            f"{len(other)} inputs are called as inputs of training are, and hold something else: their items count as new. If they hold "
            "items of training, too, figures will flatter."
        )
    if "view" not in store.manifest or "view" not in run.normals:
        return
    known = set(run.normals["view"].dropna().astype(str))
    views = store.manifest["view"].dropna().astype(str)
    new = views[~views.isin(known)]
    if known and len(new):
        say(
            f"{len(new)} of {len(store)} items are of the projection {', '.join(sorted(set(new)))}, and the run's reference normals are "
            f"of {', '.join(sorted(known))}: scores, thresholds and p-values do not compare."
        )
