"""Deep SAD's published figures on tables, and ESAD beside them, in the frame of Deep SAD's public code.

    python benchmarks/published_frame.py [--smoke] [--method deep_sad|esad] [--only cardio …] [--data DIR] [--json FILE]

That frame is two things. The first is the split by two draws, as in `data.split: published`. The second is the scaling:
training rows by the statistics of the first draw's 60 %, test rows by those of the second draw's 60 %, each over all its
anomalies, used or not (docs/explanation/protocols.md#tables-scaling). Where columns have long tails, one item thus has
two values, one on each side. Elsewhere in this project a detector scales all rows by the rows that it was trained on. Ten
seeds, gamma_l 0.01, the method's settings as they are without a preset, nothing tuned.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from command import parsed, parser, write_json
from torch import Tensor, nn

from esad.models.methods.registry import build
from esad.models.networks import ColumnScaler
from esad.models.training.fit import TrainingData, fit, score_batches
from esad.pipeline.benchmarking.grid import read_grid
from esad.pipeline.benchmarking.grid_file import Grid
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.settings.presets import preset_settings
from esad.preprocessing.splits.published_split import assign_published, published_draws

SHORT = {"train.steps": 2, "train.warmup.steps": 2}


class Scaled(nn.Module):
    """Stands where a detector scales, for rows (S, B, D) that are scaled already."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT.contiguous().mT  # rows last in memory, as the networks compute


def scaled(rows: Tensor, reference: Tensor) -> Tensor:
    """float64 rows (N, D) to float32, by minimum and range of the reference rows; standardising before changes nothing."""
    scaler = ColumnScaler(1, rows.shape[1]).double()
    scaler.fit(0, reference)
    return scaler(rows[None])[0].float()


def areas(rows: Tensor, labels: np.ndarray, grid: Grid, method: str, more: dict[str, Any]) -> list[float]:
    """AUC in % of each seed of the grid, all seeds trained at once; `more` are settings over the method's.

    Every seed has the whole table (N, D) twice among the items: as its first draw scales it, then as its second.
    """
    names = np.arange(len(rows)).astype(str)
    table = pd.DataFrame(
        {"item_id": names, "label": labels, "semi_label": pd.NA, "split": pd.NA, "group": pd.NA}
    )
    copies, trained, semi, tested = [], [], [], []
    for seed in range(grid.seeds):
        train, test = published_draws(labels, seed)
        copies += [scaled(rows, rows[drawn]) for drawn in (train, np.setdiff1d(np.arange(len(rows)), test))]
        split = assign_published(
            table, seed=seed, labelled="ratio", gamma_l=grid.gamma_l[0] or 0.0, validation_share=0
        )
        used = split[split["part"] == "train"]
        trained.append(used["item_id"].to_numpy(dtype=int) + 2 * seed * len(rows))
        semi.append(used["semi_label"].to_numpy(dtype="int8"))
        tested.append(test)
    own = {"method": method, "data.validation_share": 0, **more}
    settings = resolve(RunSettings, *preset_settings("table", None, method), own)
    items = torch.cat(copies)
    detector = build(settings, (rows.shape[1],), tuple(range(grid.seeds)))
    detector.scaler = Scaled()
    detector = fit(detector, TrainingData(items, trained, semi), "cpu")
    found = []
    for seed, test in enumerate(tested):
        places = test + (2 * seed + 1) * len(rows)
        batches = score_batches(detector, items, places, torch.device("cpu"), batch_size=8192)
        scores = np.concatenate([terms["eq9"].numpy()[seed] for _, _, terms in batches])
        area = auc(scores, labels[test])
        assert area is not None  # both draws keep the share of anomalies
        found.append(100 * area)
    return found


def write_made_up(data: Path, grid: Grid) -> None:
    """The grid's tables at their places below `data`, of 60 made-up rows each."""
    numbers = np.random.default_rng(0)
    for dataset in grid.datasets.values():
        place = data / dataset.path
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, X=numbers.normal(size=(60, 5)), y=(np.arange(60) >= 48).astype(np.uint8))


def measure(
    data: Path, grid: Grid, method: str, only: list[str] | None, more: dict[str, Any]
) -> list[dict[str, Any]]:
    """A line for each table, printed as it is found."""
    lines = []
    for name, dataset in grid.datasets.items():
        if only and name not in only:
            continue
        stored = np.load(data / dataset.path)
        rows = torch.from_numpy(stored["X"].astype(np.float64))
        found = areas(rows, stored["y"].astype(int), grid, method, more)
        mean, spread = float(np.mean(found)), float(np.std(found, ddof=1))
        mean_there, spread_there = grid.published(method, name, {"gamma_l": grid.gamma_l[0]})
        print(
            f"{name:12} {method:9} {mean:5.1f} +- {spread:4.1f}   median {np.median(found):5.1f}   "
            f"published {mean_there:5.1f} +- {spread_there or 0:4.1f}",
            flush=True,
        )
        lines.append({"dataset": name, "method": method, "mean": mean, "std": spread, "auc": found})
    return lines


def main() -> None:
    """Parse the options, measure."""
    options = parser(__doc__, data=True)
    options.add_argument("--method", choices=("deep_sad", "esad"), default="deep_sad")
    options.add_argument("--only", nargs="*", help="these tables [all six]")
    given = parsed(options)
    grid = read_grid("table3")
    if not given.smoke:
        write_json(given.json, measure(given.data, grid, given.method, given.only, {}))
        return
    few = grid.model_copy(update={"seeds": 2})
    with tempfile.TemporaryDirectory() as folder:
        write_made_up(Path(folder), grid)
        methods = ("deep_sad", "esad")
        write_json(
            given.json,
            [line for method in methods for line in measure(Path(folder), few, method, given.only, SHORT)],
        )


if __name__ == "__main__":
    main()
