"""Deep SAD's published figures on tables, and ESAD beside them, in the frame of Deep SAD's public code.

    python benchmarks/published_frame.py [--method deep_sad|esad] [--only cardio …] [--data ../shared/data] [--json FILE]

That frame is two things. The first is the split of two draws, which `data.split: published` is, too. The second is how
the code scales: rows that train by the statistics of the first draw's 60 %, rows that test by those of the second's, each
over all its anomalies, used or not (METHOD 0.4 and 2.2). One item thus has two values, one on each side, where columns
have long tails. Elsewhere in this project a detector scales all rows by the rows that it was trained on. Ten seeds,
gamma_l 0.01, the method's settings as they are without a preset, nothing chosen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from esad.models.methods.registry import build
from esad.models.networks import ColumnScaler
from esad.models.training.fit import TrainingData, fit, score_batches
from esad.pipeline.benchmarking.grid import Grid, read_grid
from esad.pipeline.evaluation.metrics import auc
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.settings.presets import preset_settings
from esad.preprocessing.splits.published_split import assign_published, published_draws


class Scaled(nn.Module):
    """Stands where a detector scales, for rows (S, B, D) that are scaled already."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT.contiguous().mT  # rows last in memory, as the networks compute


def scaled(rows: Tensor, reference: Tensor) -> Tensor:
    """float64 rows (N, D) to float32, by minimum and range of the reference rows; standardising before changes nothing."""
    scaler = ColumnScaler(1, rows.shape[1]).double()
    scaler.fit(0, reference)
    return scaler(rows[None])[0].float()


def areas(rows: Tensor, labels: np.ndarray, grid: Grid, method: str) -> list[float]:
    """AUC in % of each seed of the grid, all seeds trained at once.

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
            table, seed=seed, labelled="ratio", gamma_l=grid.gamma_l[0], validation_share=0
        )
        used = split[split["part"] == "train"]
        trained.append(used["item_id"].to_numpy(dtype=int) + 2 * seed * len(rows))
        semi.append(used["semi_label"].to_numpy(dtype="int8"))
        tested.append(test)
    settings = resolve(
        RunSettings, *preset_settings("table", None, method), {"method": method, "data.validation_share": 0}
    )
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", choices=("deep_sad", "esad"), default="deep_sad")
    parser.add_argument("--only", nargs="*", help="these tables [all six]")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    grid = read_grid("table3")
    lines = []
    for name, place in grid.datasets.items():
        if options.only and name not in options.only:
            continue
        stored = np.load(options.data / place)
        rows = torch.from_numpy(stored["X"].astype(np.float64))
        found = areas(rows, stored["y"].astype(int), grid, options.method)
        mean, spread = float(np.mean(found)), float(np.std(found, ddof=1))
        published = grid.paper[options.method][name]
        print(
            f"{name:12} {options.method:9} {mean:5.1f} +- {spread:4.1f}   median {np.median(found):5.1f}   "
            f"published {published[0]:5.1f} +- {published[1]:4.1f}",
            flush=True,
        )
        lines.append({"dataset": name, "method": options.method, "mean": mean, "std": spread, "auc": found})
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
