"""Is disease found better in larger radiographs? Windows of 64 pixels of squares of 128 and 256, beside squares of 64, by cross-validation.

    python benchmarks/windows.py --data DIR --out DIR [--folds 5] [--seeds 2] [--json FILE]
    python benchmarks/windows.py --smoke

DIR/nih/images are whole radiographs. `esad radiographs --size S` makes squares of their central 768 pixels; ESAD trains on random
windows of 64 pixels (`data.crop`), and a test radiograph is scored by all windows that lie half over each other: 1 of 64, 9 of
128, 49 of 256. A fold's test part are a fifth of the patients, so each radiograph counts once; every labelled anomaly of the
training part is used. AUC in % with intervals by patient:

highest, mean   of the windows' scores (Eq. 9), each less the median of the fold's held-out normals and over their spread
by_view         the same of AP and PA apart
pointing        whether the highest window's middle lies in a radiologist's box, of how many boxed radiographs

The squares of 64 are what the paper looks at (METHOD 4.3: 768 -> 64).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from command import parsed, parser, write_json
from PIL import Image
from real_data import NARROW, RADIOGRAPHS, SHORT, STEPS

from esad.models.training.fit import score_batches
from esad.pipeline.evaluation.measures.intervals import grouped_intervals
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.radiographs import radiographs
from esad.pipeline.runs.run_folder import Run, open_run
from esad.pipeline.scoring.scores import spread
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.train import train
from esad.preprocessing.radiographs.nih import REGION, read_boxes
from esad.preprocessing.radiographs.squares import Squaring, region_in_square
from esad.preprocessing.store.store import Store

WINDOW = 64
SIZES = (64, 128, 256)
WAYS = ("highest", "mean")


def window_starts(side: int) -> np.ndarray:
    """Where windows of WINDOW pixels begin along a side: each lies half over the next, and the last ends at the edge."""
    count = 2 * (-(-side // WINDOW)) - 1
    return np.linspace(0, side - WINDOW, count).round().astype(int)


def windows_of(squares: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """(N, S, S, 1) -> all windows, uint8 (N * n, 64, 64, 1) with those of one square in a row; and their corners (n, 2) x, y."""
    starts = window_starts(squares.shape[1])
    corners = np.array([(x, y) for y in starts for x in starts])
    cut = [squares[:, y : y + WINDOW, x : x + WINDOW] for x, y in corners]
    return torch.from_numpy(np.stack(cut, 1).reshape(-1, WINDOW, WINDOW, 1)), corners


def scores_of_windows(run: Run, store: Store, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 9 of each window of the squares at `positions`, float64 (N, n), and the windows' corners (n, 2)."""
    windows, corners = windows_of(store.read(positions))
    device = torch.device("cpu")
    method, order = run.method(device), np.arange(len(windows))
    found = [terms["eq9"].reshape(-1) for _, _, terms in score_batches(method, windows, order, device)]
    return torch.cat(found).double().numpy().reshape(len(positions), -1), corners


def folds_of(groups: pd.Series, folds: int) -> np.ndarray:
    """The fold of each item (N,), the same for items of a group."""
    names = np.unique(groups.to_numpy(dtype=str))
    order = {name: place % folds for place, name in enumerate(np.random.default_rng(0).permutation(names))}
    return np.array([order[name] for name in groups.to_numpy(dtype=str)])


def labels_file(manifest: pd.DataFrame, fold: np.ndarray, number: int, path: Path) -> Path:
    """A CSV for `--labels` whose test part is fold `number`."""
    table = manifest[["item_id", "label"]].assign(split=np.where(fold == number, "test", "train"))
    table.to_csv(path, index=False)
    return path


def of_square(windows: np.ndarray, way: str) -> np.ndarray:
    """A square's score (N,) of those of its windows (N, n)."""
    return windows.max(1) if way == "highest" else windows.mean(1)


def fold_scores(
    store: Path, run: Path, labels: Path, settings: dict[str, Any]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Train on all but the test part of `labels`; source, score by each of WAYS of the test part, and its windows' scores."""
    train(store, run, "cpu", [settings], labels=labels)
    opened, opened_store = open_run(run), Store(store)
    table = opened.assignments
    place = pd.Index(opened_store.manifest["item_id"]).get_indexer(table["item_id"])
    normals = place[(table["part"] == "validation") & (table["label"] == 0)]
    tested = place[(table["part"] == "test") & table["label"].notna()]
    reference, _ = scores_of_windows(opened, opened_store, normals)
    windows, _ = scores_of_windows(opened, opened_store, tested)
    found = opened_store.manifest.iloc[tested][["item_id", "source", "group", "view", "label"]].reset_index(
        drop=True
    )
    for way in WAYS:
        normal = of_square(reference, way)
        found[way] = (of_square(windows, way) - np.median(normal)) / spread(normal)
    return found, windows


def pointed(found: pd.DataFrame, windows: np.ndarray, size: int, boxes: pd.DataFrame) -> list[bool]:
    """Of each boxed radiograph whether the middle of its highest window lies in the box."""
    starts = window_starts(size)
    corners = np.array([(x, y) for y in starts for x in starts])
    hits = []
    for source, scores in zip(found["source"], windows, strict=True):
        name = Path(str(source)).name
        if name not in boxes.index:
            continue
        left, top, width, height = (float(side) for side in boxes.loc[name, list(REGION)])
        region = region_in_square((left, top, width, height), (1024, 1024), Squaring(size=size))
        if region is None:
            continue
        x, y = corners[scores.argmax()] + WINDOW / 2
        hits.append(bool(region[0] <= x < region[0] + region[2] and region[1] <= y < region[1] + region[3]))
    return hits


def percent(table: pd.DataFrame, way: str) -> float | None:
    """AUC in % of the scores of `way`; None where one class is missing."""
    found = auc(table[way].to_numpy(), table["label"].to_numpy(dtype=int))
    return None if found is None else 100 * found


def figures(table: pd.DataFrame, hits: list[bool]) -> dict[str, Any]:
    """AUC in % of each way, in all and by view, with intervals, and the pointing game."""
    found: dict[str, Any] = {"pointing": sum(hits), "boxed": len(hits)}
    for way in WAYS:
        labels, scores = table["label"].to_numpy(dtype=int), table[way].to_numpy()
        interval = grouped_intervals(scores, labels, table["group"].to_numpy(dtype=str)).auc
        found[way] = {
            "auc": percent(table, way), "interval": interval and [100 * edge for edge in interval],
            "by_view": {
                str(view): percent(part, way)
                for view, part in table.groupby("view") if part["label"].nunique() == 2
            },
        }  # fmt: skip
    return found


def measure(data: Path, out: Path, folds: int, seeds: int, short: bool) -> dict[str, Any]:
    """Figures by size, printed as they are found; scores of several seeds are averaged, as an ensemble's."""
    boxes = (
        read_boxes(data / "nih/metadata/BBox_List_2017.csv.gz") if not short else pd.DataFrame(columns=REGION)
    )
    everything: dict[str, Any] = {}
    for size in SIZES[:2] if short else SIZES:
        store = out / f"squares-{size}"
        settings = RadiographSettings(size=size)
        radiographs([data / "nih/images"], settings, IngestOptions(store), data / "nih/metadata")
        manifest = Store(store).manifest
        fold, tables, hits = folds_of(manifest["group"], folds), [], []
        for number in range(folds):
            labels = labels_file(manifest, fold, number, out / f"labels-{size}-{number}.csv")
            more: dict[str, Any] = {**SHORT, "network.width": NARROW} if short else STEPS
            each = [
                fold_scores(
                    store, out / f"run-{size}-{number}-{seed}", labels,
                    {**RADIOGRAPHS, **more, "data.crop": WINDOW, "seed": seed, "data.split_seed": 0, "data.validation_share": 0.2},
                )
                for seed in range(seeds)
            ]  # fmt: skip
            table = each[0][0].assign(**{way: np.mean([one[way] for one, _ in each], axis=0) for way in WAYS})
            tables.append(table)
            hits += pointed(table, np.mean([windows for _, windows in each], axis=0), size, boxes)
        everything[str(size)] = figures(pd.concat(tables), hits)
        print(size, everything[str(size)], flush=True)
    return everything


def write_made_up_radiographs(data: Path, count: int = 40) -> None:
    """Noise of 256 pixels as NIH's files are named, and NIH's table of them; anomalies have a bright corner."""
    numbers, names = np.random.default_rng(0), [f"{number:08d}_000.png" for number in range(count)]
    (data / "nih/images").mkdir(parents=True)
    (data / "nih/metadata").mkdir()
    for place, name in enumerate(names):
        pixels = numbers.integers(0, 128, (256, 256), dtype=np.uint8)
        pixels[:96, :96] += 100 if place % 2 else 0
        Image.fromarray(pixels).save(data / "nih/images" / name)
    table = {
        "Image Index": names, "Finding Labels": ["Mass" if place % 2 else "No Finding" for place in range(count)],
        "Patient ID": range(count), "View Position": ["AP", "AP", "PA", "PA"] * (count // 4),
    }  # fmt: skip
    pd.DataFrame(table).to_csv(data / "nih/metadata/Data_Entry_2017_v2020.csv.gz", index=False)


def main() -> None:
    """Parse the options, print a line per size."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores and runs")
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--seeds", type=int, default=2)
    given = parsed(options)
    with tempfile.TemporaryDirectory() as folder:
        data, out = given.data, given.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        folds, seeds = (2, 1) if given.smoke else (given.folds, given.seeds)
        if given.smoke:
            data = Path(folder) / "data"
            write_made_up_radiographs(data)
        write_json(given.json, measure(data, out, folds, seeds, given.smoke))


if __name__ == "__main__":
    main()
