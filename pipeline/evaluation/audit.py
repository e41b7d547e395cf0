"""The checks of a store's split and of a run's, and what they say in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.evaluation.split_checks import Check
    from esad.pipeline.runs.run_folder import Run
    from esad.preprocessing.store.store import Store

CONTENTS = "identical_apart (the shards cannot be read)"
GIVEN = "the run's labels against the store's (it was given labels of a file)"


@dataclass(frozen=True)
class Audited:
    """The checks, what could not be checked, in words, and what else is worth knowing."""

    checks: list[Check]
    unchecked: list[str]
    notes: list[str] = field(default_factory=list)


def audit_store(store: Store) -> Audited:
    """The checks of a store, opened with `whole=False`: its files, and its own split where one is stated."""
    import numpy as np

    from esad.pipeline.evaluation.split_checks import (
        groups_apart,
        identical_apart,
        labels_agree,
        one_part,
        parts_known,
    )
    from esad.preprocessing.store.contents import with_contents
    from esad.preprocessing.store.integrity import copies

    checks, unchecked = _files(store)
    items = store.manifest.rename(columns={"split": "part"})
    decided = items["part"].notna().to_numpy()
    checks += [one_part(items), labels_agree(items)]
    if not decided.any():
        unchecked.append(
            "the split (no item states one: parts_known, groups_apart and identical_apart; audit a RUN, which divides them)"
        )
    else:
        checks += [parts_known(items[decided]), groups_apart(items[decided])]
    if not _readable(checks):
        return Audited(checks, [*unchecked, CONTENTS])
    found = with_contents(store, items, np.arange(len(items)))
    if decided.any():
        checks.append(identical_apart(found[decided]))
    same = copies(np.array(found["digest"].tolist(), dtype=np.uint64), items["item_id"])
    notes = [
        f"{len(same)} items are copies of others (first: {name}); a clean split keeps copies together."
        for name in same[:1]
    ]
    several = found.groupby("digest")["label"].transform("nunique") > 1 if len(same) else []
    opposed = found.loc[several, "item_id"]
    if len(opposed):
        notes.append(
            f"{len(opposed)} items have the same content and opposite labels (first: {opposed.iloc[0]}): one of them is labelled wrongly."
        )
    return Audited(checks, unchecked, notes)


def audit_run(run: Run) -> Audited:
    """The checks of what a run trained on, chose by and tests on, and of its store's files; EsadError where that is gone."""
    from esad.pipeline.evaluation.split_checks import (
        check,
        groups_apart,
        identical_apart,
        items_exist,
        labels_agree,
        one_part,
        parts_known,
        sites_apart,
    )
    from esad.pipeline.runs.items import positions_of
    from esad.pipeline.runs.store_changes import store_changes
    from esad.preprocessing.splits.semisupervised import labels_from_classes
    from esad.preprocessing.store.contents import with_contents

    store = run.training_store(whole=False)
    files, unchecked = _files(store)
    used = run.assignments
    present = used[used["item_id"].isin(store.manifest["item_id"])].reset_index(drop=True)
    positions = positions_of(store, present["item_id"])
    labels = labels_from_classes(store.manifest, run.settings.data.normal_classes)
    remedy = "the store was made anew since the run was trained on it: train again"
    given = "labels_file" in run.store
    unchecked += [GIVEN] if given else []
    checks = [
        check("store_unchanged", store_changes(run, store), remedy),
        items_exist(used, store.manifest["item_id"]),
        parts_known(used),
        one_part(used),
        labels_agree(present, labels.iloc[positions], given),
    ]
    if run.settings.data.split == "leave-site-out":
        sites = (
            store.manifest["site"]
            if "site" in store.manifest
            else store.manifest["item_id"].mask(lambda _: True)
        )
        checks.append(sites_apart(present.assign(site=sites.to_numpy()[positions])))
    if not _readable(files):
        return Audited([*files, *checks], [*unchecked, CONTENTS])
    found = with_contents(store, present, positions)
    checks += [groups_apart(found), identical_apart(found)]
    scaling = [] if store.pictures else [_scaling(run, store, present)]
    return Audited([*files, *checks, *scaling], unchecked)


def _files(store: Store) -> tuple[list[Check], list[str]]:
    """(the checks of the store's files, what could not be checked)."""
    from esad.pipeline.evaluation.split_checks import check
    from esad.preprocessing.store.integrity import store_rules

    rules = store_rules(store)
    unchecked = [f"{rule.name} ({rule.unchecked})" for rule in rules if rule.unchecked]
    return [check(rule.name, rule.offenders, rule.remedy) for rule in rules], unchecked


def _readable(checks: list[Check]) -> bool:
    """Whether every item is at a place of its shard, so that contents can be looked at."""
    return all(check.passed for check in checks if check.name in ("shards_fit", "places_fit"))


def _scaling(run: Run, store: Store, present: pd.DataFrame) -> Check:
    """Minimum and range of the training rows beside those in model.safetensors."""
    from esad.pipeline.evaluation.split_checks import scaling_on_training
    from esad.pipeline.runs.items import positions_of
    from esad.pipeline.runs.run_files import read_weights

    weights = read_weights(run.root)
    positions = positions_of(store, present.loc[present["part"] == "train", "item_id"])
    names_stored = [
        f"scaler.{name}" for name in ("minimum", "range", "median") if f"scaler.{name}" in weights
    ]
    stored = tuple(weights[name].reshape(-1).numpy() for name in names_stored)
    names = store.columns or [f"column {number}" for number in range(store.shape[0])]
    return scaling_on_training(stored, positions, store.read, names)


def audit_sentence(path: Path, audited: Audited) -> str:
    """The checks in words: which failed, how often, for example where, what to do, and what could not be checked."""
    checks = audited.checks
    broken = [check for check in checks if not check.passed]
    told = [
        f"{check.name} ({check.count}, for example {', '.join(check.examples)}): {check.remedy}."
        for check in broken
    ]
    if broken:
        first = f"{path}: {len(broken)} of {len(checks)} checks failed."
    else:
        first = f"{path}: all {len(checks)} checks passed ({', '.join(check.name for check in checks)})."
    lacking = [f"Not checked: {each}." for each in audited.unchecked]
    return "\n".join([first, *told, *lacking, *audited.notes])
