"""AUC on the real development data through the stages themselves: ingest, train, score, evaluate, a run per seed.

    python benchmarks/real_data.py --data DIR --out /tmp/real [--only cardio --only nih-ap ...] [--json FILE]
    python benchmarks/real_data.py --smoke

MNIST keeps its published split; elsewhere 40 % of the groups are the test part. `--method cae` gives the plain autoencoder
of the same size and training time, and, on NIH's data, an isolation forest on its codes. `--width 0.5` trains half of
Table 6's channels. Settings were chosen on validation parts (CHANGELOG), never on these test parts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from command import parsed, parser, write_json

from esad.models.methods.cae import CaeMethod
from esad.models.methods.classic.isolation_forest import fit_isolation_forest
from esad.models.methods.registry import METHODS
from esad.models.training.fit import score_batches
from esad.pipeline.evaluate import evaluate
from esad.pipeline.evaluation.measures.intervals import grouped_intervals
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.items import in_memory, positions_of
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.settings.config import ImageSettings, TableSettings
from esad.pipeline.tables import tables
from esad.pipeline.train import train
from esad.preprocessing.radiographs.nih import REGION, read_boxes
from esad.preprocessing.radiographs.squares import Squaring, region_in_square

RATIO = {"data.labelled": "ratio", "data.gamma_l": 0.05}
RADIOGRAPHS = {"data.flip": "horizontal"}
NIH = ("nih/nih1000_crop768_64.npz", "cpu", 3)
BY_PATIENT = {"group": "patient", "split": "none"}
RUNS: dict[str, tuple[str, str | None, int, dict[str, Any], dict[str, str]]] = {
    "cardio": ("odds/cardio.npz", None, 10, {**RATIO, "data.gamma_l": 0.01}, {}),
    "nih-ap": (*NIH, {**RATIO, **RADIOGRAPHS, "data.where": {"view": "AP"}}, BY_PATIENT),
    "nih-pa": (*NIH, {**RATIO, **RADIOGRAPHS, "data.where": {"view": "PA"}}, BY_PATIENT),
    "pcam": ("pcam/pcam_64.npz", "cpu", 3, {**RATIO, "data.flip": "both"}, {}),
    "mnist": (
        "images/mnist.npz", "cpu", 1,
        {**RATIO, "data.normal_classes": [0], "data.labelled_classes": [1], "train.epochs": 5}, {},
    ),
}  # fmt: skip
STEPS = {"train.steps": 300, "train.warmup.steps": 100}
SHORT = {"train.steps": 2, "train.warmup.steps": 1}
NARROW = 0.02
"""Share of Table 6's channels with --smoke."""


def write_made_up(data: Path) -> None:
    """Files of the same names and columns as the real ones, with 60 made-up items each."""
    numbers, count = np.random.default_rng(0), 60
    pixels = numbers.integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
    labels = (np.arange(count) % 4 == 3).astype(np.uint8)
    names = np.array([f"{number:08d}_000.png" for number in range(count)])
    views = np.tile(np.repeat(["AP", "PA"], 4), count)[:count]
    nih = {
        "x": pixels[..., 0], "image": names, "y": labels, "view": views, "split": np.full(count, "train_val"),
        "finding": np.full(count, "No Finding"), "patient": np.arange(count).astype(str),
    }  # fmt: skip
    digits = np.array([0, 0, 1, 2])[np.arange(count) % 4]
    small = pixels[:, :28, :28, 0]
    kinds: dict[str, dict[str, Any]] = {
        "odds/cardio.npz": {"X": numbers.normal(size=(count, 21)), "y": labels},
        NIH[0]: nih,
        "pcam/pcam_64.npz": {"x": pixels, "y": labels},
        "images/mnist.npz": {
            "x_train": small,
            "y_train": digits,
            "x_test": small[::-1],
            "y_test": digits[::-1],
        },
    }
    for place, columns in kinds.items():
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        np.savez(data / place, **columns)
    boxes = {
        "image": names[labels == 1],
        "finding": "Mass",
        "x": 300.0,
        "y": 400.0,
        "width": 100.0,
        "height": 90.0,
    }
    (data / "nih" / "metadata").mkdir()
    pd.DataFrame(boxes).to_csv(data / "nih" / "metadata" / "BBox_List_2017.csv.gz", index=False)


def with_boxes(source: Path, metadata: Path, out: Path) -> Path:
    """A copy of NIH's npz with the radiologists' boxes (the first of an image) as region columns, in its 64 px."""
    content: dict[str, Any] = dict(np.load(source))
    boxes = read_boxes(metadata / "BBox_List_2017.csv.gz")
    regions = np.full((len(content["image"]), 4), np.nan)
    for place, image in enumerate(content["image"].astype(str)):
        if image in boxes.index:
            x, y, width, height = (float(value) for value in boxes.loc[image, list(REGION)])
            regions[place] = region_in_square((x, y, width, height), (1024, 1024), Squaring()) or np.nan
    out.parent.mkdir(parents=True, exist_ok=True)
    content |= dict(zip(REGION, regions.T, strict=True))
    np.savez(out, **content)
    return out


def forest_on_codes(folder: Path) -> tuple[float, list[float]]:
    """AUC on a run's test part, and its interval by group, of an isolation forest on the codes of its autoencoder.

    Grown on the training items that are not labelled anomalies (paper 6.5: 100 trees of 256 items).
    """
    run = open_run(folder)
    store, method = run.training_store(), run.method(torch.device("cpu"))
    assert isinstance(method, CaeMethod)
    used = run.assignments.assign(position=positions_of(store, run.assignments["item_id"]))
    train = used[(used["part"] == "train") & (used["semi_label"] >= 0)]
    test = used[used["part"] == "test"]
    codes = []
    for part in (train, test):
        batches = score_batches(method, in_memory(store), part["position"].to_numpy(), torch.device("cpu"))
        with torch.inference_mode():
            codes.append(np.concatenate([method.encoder1(x).flatten(1).numpy() for _, x, _ in batches]))
    scores = -fit_isolation_forest(codes[0], 100, 256, run.settings.seed).score_samples(codes[1])
    labels = test["label"].to_numpy(dtype=int)
    groups = store.manifest["group"].to_numpy()[test["position"]]
    area, interval = auc(scores, labels), grouped_intervals(scores, labels, groups).auc
    assert area is not None
    return area, list(interval or ())


def summary(
    place: dict[str, object], found: dict[str, list[float]], bounds: list[list[float]]
) -> dict[str, object]:
    """A line of the results: mean and spread over seeds of each figure of `found`, in %."""
    return {
        **place, "seeds": len(found["score"]),
        "interval": [round(100 * float(bound), 1) for bound in np.mean(bounds, axis=0)] if bounds else None,
        "of_seeds": [round(value, 1) for value in found["score"]],
        **{term: [round(float(np.mean(v)), 1), round(float(np.std(v)), 1)] for term, v in found.items()},
    }  # fmt: skip


def one_set(
    name: str, data: Path, out: Path, method: str, width: float | None, short: bool
) -> list[dict[str, object]]:
    """Mean and spread over seeds, of the score and of Eq. 9, the standardised score and the terms, in %.

    `interval` is the mean, over seeds, of the bounds of the interval by bootstrap of groups (patients). `short`: one seed
    and hardly any training.
    """
    source, preset, seeds, settings, columns = RUNS[name]
    seeds = 1 if short else seeds
    more = {
        "method": method,
        **({} if width is None else {"network.width": width}),
        **(SHORT if short else {}),
    }
    label = method if width is None else f"{method}-{width:g}"
    store = out / Path(source).stem
    options = IngestOptions(store)
    path = data / source
    if name.startswith("nih"):
        more |= {} if short else STEPS
        path = with_boxes(path, data / "nih" / "metadata", out / "with_boxes" / path.name)
    if name == "cardio":
        tables([path], TableSettings(), options)
    else:
        images([path], ImageSettings(**columns), options)
    found: dict[str, list[float]] = {}
    bounds: list[list[float]] = []
    forests: list[tuple[float, list[float]]] = []
    for seed in range(seeds):
        run = out / f"{name}-{label}-{seed}"
        train(store, run, preset, [settings, more, {"seed": seed}])
        score(run, overlays="none")
        metrics = evaluate(run).summary
        found.setdefault("score", []).append(100 * metrics["auc"])
        if metrics["auc_interval"]:
            bounds.append(metrics["auc_interval"])
        if name.startswith("nih") and method == "cae":
            forests.append(forest_on_codes(run))
        for term, value in metrics["scores"].items():
            found.setdefault(term, []).append(100 * value["auc"])
        for rate, value in (metrics["localisation"] or {}).items():
            if value is None:
                continue
            found.setdefault(f"localisation_{rate}", []).append(value if rate == "items" else 100 * value)
    place: dict[str, object] = {"data": name, "method": method, "width": width}
    results = [summary(place, found, bounds)]
    if forests:
        areas = {"score": [100 * area for area, _ in forests]}
        place["method"] = "isolation forest on the autoencoder's codes"
        results.append(summary(place, areas, [interval for _, interval in forests if interval]))
    return results


def measure(
    cells: Sequence[tuple[str, str, float | None]], data: Path, out: Path, short: bool = False
) -> list[dict[str, object]]:
    """The results of each data set, method and width, printed as they are found."""
    results = []
    for name, method, width in cells:
        for line in one_set(name, data, out, method, width, short):
            print(json.dumps(line), flush=True)
            results.append(line)
    return results


def main() -> None:
    """Parse the options, print a line per data set."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores and runs")
    options.add_argument("--only", action="append", choices=list(RUNS))
    options.add_argument("--method", choices=list(METHODS), default="esad")
    options.add_argument("--width", type=float, help="share of Table 6's channels; default: the preset's")
    given = parsed(options)
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            write_made_up(data)
            methods = dict.fromkeys(RUNS, "esad") | {"nih-pa": "cae"}
            cells = [(name, methods[name], NARROW) for name in given.only or RUNS]
            write_json(given.json, measure(cells, data, Path(folder), short=True))
        return
    if not given.out:
        options.error("name a folder of stores and runs: --out DIR")
    cells = [(name, given.method, given.width) for name in given.only or RUNS]
    write_json(given.json, measure(cells, given.data, given.out))


if __name__ == "__main__":
    main()
