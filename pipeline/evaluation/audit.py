"""The checks of a store's split and of a run's, and what they say in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.evaluation.split_checks import Check
    from esad.pipeline.runs.run_folder import Run
    from esad.preprocessing.store.store import Store


def audit_store(store: Store) -> list[Check]:
    """The checks of a store's own split; items without a stated part are on no side yet."""
    import numpy as np

    from esad.pipeline.evaluation.split_checks import (
        groups_apart,
        identical_apart,
        labels_agree,
        one_part,
        parts_known,
    )
    from esad.preprocessing.store.contents import with_contents

    items = store.manifest.rename(columns={"split": "part"})
    decided = items["part"].notna().to_numpy()
    stated = items[decided]
    return [
        parts_known(stated),
        one_part(items),
        groups_apart(stated),
        identical_apart(with_contents(store, stated, np.flatnonzero(decided))),
        labels_agree(items),
    ]


def audit_run(run: Run) -> list[Check]:
    """The checks of what a run trained on, chose by and tests on; EsadError where its store is gone."""
    from esad.pipeline.evaluation.split_checks import (
        groups_apart,
        identical_apart,
        items_exist,
        labels_agree,
        one_part,
        parts_known,
    )
    from esad.pipeline.runs.items import positions_of
    from esad.preprocessing.splits.semisupervised import labels_from_classes
    from esad.preprocessing.store.contents import with_contents

    store = run.training_store()
    used = run.assignments
    present = used[used["item_id"].isin(store.manifest["item_id"])].reset_index(drop=True)
    positions = positions_of(store, present["item_id"])
    labels = labels_from_classes(store.manifest, run.settings.data.normal_classes)
    found = with_contents(store, present, positions)
    checks = [
        items_exist(used, store.manifest["item_id"]),
        parts_known(used),
        one_part(used),
        groups_apart(found),
        identical_apart(found),
        labels_agree(present, labels.iloc[positions]),
    ]
    return [*checks, _scaling(run, store, present)] if store.kind == "table" else checks


def _scaling(run: Run, store: Store, present: pd.DataFrame) -> Check:
    """Minimum and range of the training rows beside those in model.safetensors."""
    from esad.pipeline.evaluation.split_checks import scaling_on_training
    from esad.pipeline.runs.items import positions_of
    from esad.pipeline.runs.run_files import read_weights

    weights = read_weights(run.root)
    rows = store.read(positions_of(store, present.loc[present["part"] == "train", "item_id"]))
    names_stored = [
        f"scaler.{name}" for name in ("minimum", "range", "median") if f"scaler.{name}" in weights
    ]
    stored = tuple(weights[name].reshape(-1).numpy() for name in names_stored)
    names = store.columns or [f"column {number}" for number in range(store.shape[0])]
    return scaling_on_training(stored, rows, names)


def audit_sentence(path: Path, checks: list[Check]) -> str:
    """The checks in words: which failed, how often, for example where, and what to do."""
    broken = [check for check in checks if not check.passed]
    if not broken:
        return f"{path}: all {len(checks)} checks passed ({', '.join(check.name for check in checks)})."
    told = [
        f"{check.name} ({check.count}, for example {', '.join(check.examples)}): {check.remedy}."
        for check in broken
    ]
    return "\n".join([f"{path}: {len(broken)} of {len(checks)} checks failed.", *told])
