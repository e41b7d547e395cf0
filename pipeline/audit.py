"""`esad audit RUN|STORE`: whether the figures can be trusted, by checks of the split (`esad.pipeline.evaluation.split_checks`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.evaluation.split_checks import Check
    from esad.pipeline.training.run_folder import Run
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
    from esad.pipeline.training.items import positions_of
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
    from safetensors.torch import load_file

    from esad.pipeline.evaluation.split_checks import scaling_on_training
    from esad.pipeline.training.items import positions_of

    weights = load_file(run.root / "model.safetensors")
    rows = store.read(positions_of(store, present.loc[present["part"] == "train", "item_id"]))
    minimum, span = (weights[f"scaler.{name}"].reshape(-1).numpy() for name in ("minimum", "range"))
    names = store.columns or [f"column {number}" for number in range(store.shape[0])]
    return scaling_on_training((minimum, span), rows, names)


def audit(path: Path) -> Outcome:
    """Check the split of a RUN, or the stated split of a STORE; the outcome has failed where one check does.

    The summary is {"passed": bool, "checks": [{"name", "passed", "count", "examples"}, ...]}.
    Raises UsageError where no such folder is, EsadError where it is neither, or a run's store is gone.
    """
    from esad.pipeline.evaluation.split_overlap import overlap_sentence, split_overlap
    from esad.pipeline.training.run_folder import open_run
    from esad.preprocessing.store.store import Store

    if not path.exists():
        raise UsageError(f"{path}: no such folder; expected a run or a store.")
    if (path / "store.json").is_file():
        checks, shared = audit_store(Store(path)), None
    elif (path / "config.yaml").is_file():
        run = open_run(path)
        checks, shared = audit_run(run), split_overlap(run.root)
    else:
        raise EsadError(f"{path}: neither a run (config.yaml) nor a store (store.json).")
    passed = all(check.passed for check in checks)
    summary = {"passed": passed, "checks": [check.as_json() for check in checks]}
    message = _sentence(path, checks)
    if shared:
        message += f"\n{overlap_sentence(shared)} That is its design; train with data.split=clean for figures without it."
    return Outcome(path, message, summary=summary, failed=not passed)


def _sentence(path: Path, checks: list[Check]) -> str:
    """The checks in words: which failed, how often, for example where, and what to do."""
    broken = [check for check in checks if not check.passed]
    if not broken:
        return f"{path}: all {len(checks)} checks passed ({', '.join(check.name for check in checks)})."
    told = [
        f"{check.name} ({check.count}, for example {', '.join(check.examples)}): {check.remedy}."
        for check in broken
    ]
    return "\n".join([f"{path}: {len(broken)} of {len(checks)} checks failed.", *told])


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["audit", *sys.argv[1:]])
