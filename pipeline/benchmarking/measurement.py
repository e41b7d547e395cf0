"""What is measured of a cell: AUC of every seed, and what the audit finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.grid import Cell, Grid, cell_settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from esad.models.detector import Method
    from esad.models.training.fit import Items, TrainingData
    from esad.preprocessing.store.store import Store

AUDITED = ("one_part", "groups_apart", "identical_apart", "labels_agree")
SCALING = "scaling_on_training"
"""The checks of `esad audit` that every cell's splits and scaling go through; each is a column that counts what breaks it."""


def measured(grid: Grid, cell: Cell, store: Store, device: str) -> list[dict[str, Any]]:
    """A row per seed: AUC in %, what the split shares and what the audit finds, all seeds trained at once."""
    import numpy as np

    from esad.models.methods.registry import build
    from esad.models.training.fit import TrainingData, fit
    from esad.pipeline.evaluation.metrics import auc
    from esad.pipeline.runs.items import assign_items, in_memory, positions_of, splittable
    from esad.pipeline.runs.run_folder import resolve_device
    from esad.preprocessing.splits.published_split import overlap
    from esad.preprocessing.store.contents import with_contents

    seeds = range(grid.seeds)
    chosen = [cell_settings(grid, cell, seed) for seed in seeds]
    manifest = splittable(store, chosen[0])
    splits = [assign_items(store, manifest, settings) for settings in chosen]
    if cell.split == "validation":
        splits = [_training_side(split) for split in splits]
    trained, held, tested = (
        [split[split["part"] == part] for split in splits] for part in ("train", "validation", "test")
    )
    oracle = grid.methods[cell.method].oracle
    if oracle:
        held = [_tenth(part, seed) for seed, part in zip(seeds, tested, strict=True)]
    items, kind = in_memory(store), resolve_device(device)
    data = TrainingData(
        items,
        [positions_of(store, part["item_id"]) for part in trained],
        [part["semi_label"].to_numpy(dtype="int8") for part in trained],
        [(positions_of(store, part["item_id"]), part["label"].to_numpy(dtype="int8")) for part in held],
    )
    method = fit(build(chosen[0], store.shape, tuple(seeds)), data, str(kind))
    scores = _scores(method, items, len(store), kind)
    contents = with_contents(store, store.manifest[["item_id"]], np.arange(len(store))).set_index("item_id")
    rows = []
    for seed in seeds:
        part = tested[seed]
        area = auc(scores[seed][positions_of(store, part["item_id"])], part["label"].to_numpy(dtype="int8"))
        if area is None:
            raise ValueError("the test part has one class only")
        place = {**cell.values(), "oracle": oracle, "name": cell.name, "seed": seed, "auc": 100 * area}
        audited = {**_audited(splits[seed], contents), SCALING: _scaled(method, data, seed)}
        rows.append({**place, **overlap(splits[seed]), **audited})
    return rows


def _training_side(split: pd.DataFrame) -> pd.DataFrame:
    """A split without its test part, the validation part testing in its place."""
    return split[split["part"] != "test"].replace({"part": {"validation": "test"}})


def _tenth(tested: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A tenth of each label of the test part, by seed."""
    import numpy as np

    from esad.preprocessing.splits.semisupervised import hold_out

    numbers = np.random.default_rng([seed, 6510])
    names = tested["item_id"].to_numpy().astype(str)
    return tested[hold_out(names, tested["label"].to_numpy(dtype=int), 0.1, numbers)]


def _scores(method: Method, items: Items, count: int, device: torch.device) -> np.ndarray:
    """The methods' own scores of all `count` items, (S, N)."""
    import numpy as np

    from esad.models.training.fit import score_batches

    batches = score_batches(method, items, np.arange(count), device, batch_size=8192)
    return np.concatenate([terms["eq9"].float().cpu().numpy() for _, _, terms in batches], axis=1)


def _audited(split: pd.DataFrame, contents: pd.DataFrame) -> dict[str, int]:
    """How many items break each check of AUDITED; `contents` has group and digest of every item, by its name."""
    from esad.pipeline.evaluation import split_checks

    table = split.join(contents, on="item_id")
    return {name: getattr(split_checks, name)(table).count for name in AUDITED}


def _scaled(method: Method, data: TrainingData, seed: int) -> int:
    """How many columns the method scales by other rows than the training rows of the seed at position `seed`."""
    import torch

    from esad.models.networks import ColumnScaler
    from esad.pipeline.evaluation.split_checks import scaling_on_training

    scaler = method.scaler
    assert isinstance(scaler, ColumnScaler)  # grids are of tables
    stored = tuple(values[seed, 0].cpu().numpy() for values in (scaler.minimum, scaler.range, scaler.median))
    rows = data.take(data.positions[seed], torch.device("cpu")).numpy()
    return scaling_on_training(stored, rows, [str(column) for column in range(rows.shape[1])]).count
