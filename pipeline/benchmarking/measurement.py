"""What is measured of a cell: AUC of every run, its time, and what the audit finds.

All seeds of a table train at once, as one batched model; runs on pictures train one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.grid import Cell, Run, cell_settings, runs_of
from esad.pipeline.benchmarking.grid_file import DataSet, Grid
from esad.pipeline.benchmarking.opened import Opened, opened

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from esad.models.detector import Method
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import Items, TrainingData
    from esad.pipeline.settings.config import RunSettings
    from esad.preprocessing.store.store import Store

AUDITED = ("one_part", "groups_apart", "identical_apart", "labels_agree")
SCALING = "scaling_on_training"
"""The checks of `esad audit` that every cell's splits and scaling go through; each is a column that counts what breaks it."""
TABLE_BATCH, PICTURE_BATCH = 8192, 256
"""Items that are scored at once."""


@dataclass(frozen=True)
class Part:
    """A run of a cell with its settings and its items: tables of item_id, part, label, semi_label."""

    run: Run
    settings: RunSettings
    split: pd.DataFrame
    trained: pd.DataFrame
    held: pd.DataFrame
    tested: pd.DataFrame


@dataclass(frozen=True)
class Trained:
    """What one training gave: scores of the tested items of each of its runs, its length, and how long it took."""

    scores: list[np.ndarray]
    columns_amiss: list[int]
    """Of each run, the columns that are scaled by other rows than those of training; 0 of pictures, which are not."""
    steps: int
    parameters: int
    train_seconds: float
    score_seconds: float


def measured(grid: Grid, cell: Cell, folder: Path, device: str) -> list[dict[str, Any]]:
    """A row per run of a cell on the store at `folder`: AUC in %, seconds, what the split shares and what the audit finds."""
    from esad.pipeline.evaluation.measures.metrics import auc
    from esad.preprocessing.splits.published_split import overlap

    of = opened(folder)
    parts = parts_of(grid, cell, of)
    together = of.store.kind == "table"
    rows = []
    for group in [parts] if together else [[part] for part in parts]:
        trained = _trained(group, of, device)
        for part, scores, amiss in zip(group, trained.scores, trained.columns_amiss, strict=True):
            area = auc(scores, part.tested["label"].to_numpy(dtype="int8"))
            if area is None:
                raise ValueError("the test part has one class only")
            rows.append(
                {
                    **cell.values(), "line": cell.line, "oracle": grid.methods[cell.method].oracle, "name": cell.name,
                    "seed": part.run.seed, "labelled_class": part.run.labelled, "auc": 100 * area,
                    "tested": len(part.tested), "steps": trained.steps, "parameters": trained.parameters // len(group),
                    "batch": part.settings.train.batch_size, "train_seconds": trained.train_seconds / len(group),
                    "score_seconds": trained.score_seconds / len(group),
                    **overlap(part.split), **_audited(part.split, of.contents), SCALING: amiss,
                }
            )  # fmt: skip
    return rows


def parts_of(grid: Grid, cell: Cell, of: Opened, first: bool = False) -> list[Part]:
    """The runs of a cell, or its `first`, with their items, as the stages assign them."""
    from esad.pipeline.runs.items import assign_items, splittable

    parts = []
    manifest = None
    for run in runs_of(grid, cell)[: 1 if first else None]:
        settings = _as_stored(cell_settings(grid, cell, run), grid.datasets[cell.dataset], of.store)
        if manifest is None:  # runs of a cell differ in what is drawn alone
            manifest = splittable(of.store, settings)
        split = assign_items(of.store, manifest, settings)
        if cell.split == "validation":
            split = _training_side(split)
        trained, held, tested = (split[split["part"] == part] for part in ("train", "validation", "test"))
        if grid.chosen.test_items:
            tested = _some(tested, of.store, grid.chosen.test_items)
        if grid.methods[cell.method].oracle:
            held = _tenth(tested, run.seed)
        parts.append(Part(run, settings, split, trained, held, tested))
    return parts


def _as_stored(settings: RunSettings, dataset: DataSet, store: Store) -> RunSettings:
    """The settings with the classes as the store calls them, where it has the other names of the data set."""
    if settings.data.normal_classes is None or not dataset.names or "class_name" not in store.manifest:
        return settings
    if set(dataset.normal) & set(store.manifest["class_name"].dropna().astype(str)):
        return settings
    names = dict(zip(dataset.normal, dataset.names, strict=True))
    changed = settings.model_copy(deep=True)
    for field in ("normal_classes", "labelled_classes"):
        stated = getattr(settings.data, field)
        if stated is not None:
            setattr(changed.data, field, [names[str(name)] for name in stated])
    return changed


def data_of(parts: list[Part], of: Opened) -> TrainingData:
    """What the runs train on, and what they may choose by."""
    from esad.models.training.fit import TrainingData
    from esad.pipeline.runs.items import positions_of

    return TrainingData(
        of.items,
        [positions_of(of.store, part.trained["item_id"]) for part in parts],
        [part.trained["semi_label"].to_numpy(dtype="int8") for part in parts],
        [
            (positions_of(of.store, part.held["item_id"]), part.held["label"].to_numpy(dtype="int8"))
            for part in parts
        ],
    )


def new_method(parts: list[Part], store: Store) -> tuple[Method, Augmentation]:
    """The method that trains these runs at once, untrained, and what is drawn of each picture."""
    from esad.models.methods.registry import build
    from esad.models.training.augment import Augmentation

    settings = parts[0].settings
    augmentation = Augmentation(settings.data.crop, settings.data.flip)
    shape = augmentation.shape(store.shape) if store.pictures else store.shape
    return build(settings, shape, tuple(part.run.seed for part in parts)), augmentation


def _trained(parts: list[Part], of: Opened, device: str) -> Trained:
    """Train the runs as one method, and score what each tests."""
    from esad.models.training.fit import TrainingStep, fit
    from esad.pipeline.runs.items import positions_of
    from esad.pipeline.runs.run_folder import resolve_device

    kind, data = resolve_device(device), data_of(parts, of)
    method, augmentation = new_method(parts, of.store)
    clock = time.monotonic()
    steps = TrainingStep(method, data, kind, augmentation).steps
    method = fit(method, data, str(kind), augmentation)
    trained = time.monotonic() - clock
    clock = time.monotonic()
    tested = [positions_of(of.store, part.tested["item_id"]) for part in parts]
    scores = list(_scores(method, of.items, tested, kind, augmentation))
    scored = time.monotonic() - clock
    amiss = [_scaled(method, data, place) for place in range(len(parts))]
    parameters = sum(parameter.numel() for parameter in method.parameters())
    return Trained(scores, amiss, steps, parameters, trained, scored)


def _training_side(split: pd.DataFrame) -> pd.DataFrame:
    """A split without its test part, the validation part testing in its place."""
    return split[split["part"] != "test"].replace({"part": {"validation": "test"}})


def _some(tested: pd.DataFrame, store: Store, most: int) -> pd.DataFrame:
    """At most `most` items of the test part, drawn from the store's: the same whatever class is normal."""
    import numpy as np

    from esad.pipeline.runs.items import positions_of

    places = positions_of(store, tested["item_id"])
    rank = np.random.default_rng(6510).permutation(len(store))[places]
    return tested[np.isin(rank, np.sort(rank)[:most])]


def _tenth(tested: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A tenth of each label of the test part, by seed."""
    import numpy as np

    from esad.preprocessing.splits.semisupervised import hold_out

    numbers = np.random.default_rng([seed, 6510])
    names = tested["item_id"].to_numpy().astype(str)
    return tested[hold_out(names, tested["label"].to_numpy(dtype=int), 0.1, numbers)]


def _scores(
    method: Method, items: Items, tested: list[np.ndarray], device: torch.device, augmentation: Augmentation
) -> Iterator[np.ndarray]:
    """The methods' own scores of the items at `tested` positions, of each run its own."""
    import numpy as np

    from esad.models.training.fit import score_batches

    places = np.unique(np.concatenate(tested))
    size = PICTURE_BATCH if method.pictures else TABLE_BATCH
    batches = score_batches(method, items, places, device, augmentation, batch_size=size)
    scores = [np.atleast_2d(terms["eq9"].float().cpu().numpy()) for _, _, terms in batches]
    for own, positions in zip(np.concatenate(scores, axis=1), tested, strict=True):
        yield own[np.searchsorted(places, positions)]


def _audited(split: pd.DataFrame, contents: pd.DataFrame) -> dict[str, int]:
    """How many items break each check of AUDITED; `contents` has group and digest of every item, by its name."""
    from esad.pipeline.evaluation import split_checks

    table = split.join(contents, on="item_id")
    return {name: getattr(split_checks, name)(table).count for name in AUDITED}


def _scaled(method: Method, data: TrainingData, seed: int) -> int:
    """How many columns the method scales by other rows than the training rows of the seed at position `seed`."""
    import numpy as np
    import torch

    from esad.models.networks import ColumnScaler
    from esad.pipeline.evaluation.split_checks import scaling_on_training

    scaler = method.scaler
    if not isinstance(scaler, ColumnScaler):
        return 0
    stored = tuple(values[seed, 0].cpu().numpy() for values in (scaler.minimum, scaler.range, scaler.median))
    rows = data.take(data.positions[seed], torch.device("cpu")).numpy()
    return scaling_on_training(
        stored, np.arange(len(rows)), rows.__getitem__, [str(column) for column in range(rows.shape[1])]
    ).count
