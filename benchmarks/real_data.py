"""AUC on the real development data through the stages themselves: ingest, train, score, evaluate, a run per seed.

    python benchmarks/real_data.py --data ../shared/data --out /tmp/real [--only cardio --only nih-ap ...] [--json FILE]

MNIST's published split stands; elsewhere 40 % of the groups test. `--method cae` gives the plain autoencoder of the
same size and budget, and beside it an isolation forest on its codes. `--width 0.5` trains half of Table 6's channels.
Settings were chosen on validation parts (CHANGELOG), never on these test parts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from esad.models.methods.cae import CaeMethod
from esad.models.methods.classic.isolation_forest import fit_isolation_forest
from esad.models.methods.registry import METHODS
from esad.models.training.fit import score_batches
from esad.pipeline.evaluate import evaluate
from esad.pipeline.evaluation.metrics import auc, bootstrap_intervals
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
RADIOGRAPHS = {"loss.lambda1": 0.1, "score.kind": "standardised", "data.flip": "horizontal"}
NIH = ("nih/nih1000_crop768_64.npz", "cpu", 3)
BY_PATIENT = {"group": "patient", "split": "none"}
RUNS = {
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


def with_boxes(source: Path, metadata: Path, out: Path) -> Path:
    """A copy of NIH's npz with the radiologists' boxes (the first of an image) as region columns, in its 64 px."""
    content = dict(np.load(source))
    boxes = read_boxes(metadata / "BBox_List_2017.csv.gz")
    regions = np.full((len(content["image"]), 4), np.nan)
    for place, image in enumerate(content["image"].astype(str)):
        if image in boxes.index:
            box = tuple(float(value) for value in boxes.loc[image, list(REGION)])
            regions[place] = region_in_square(box, (1024, 1024), Squaring()) or np.nan
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, **content, **dict(zip(REGION, regions.T, strict=True)))
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
    area, interval = auc(scores, labels), bootstrap_intervals(scores, labels, groups).auc
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


def one_set(name: str, data: Path, out: Path, method: str, width: float | None) -> list[dict[str, object]]:
    """Mean and spread over seeds, of the score and of Eq. 9, the standardised score and the terms, in %.

    `interval` is the mean, over seeds, of the bounds of the interval by bootstrap of groups (patients).
    """
    source, preset, seeds, settings, columns = RUNS[name]
    more: dict[str, object] = {"method": method, **({} if width is None else {"network.width": width})}
    label = method if width is None else f"{method}-{width:g}"
    store = out / Path(source).stem
    options = IngestOptions(store)
    path = data / source
    if name.startswith("nih"):
        more |= STEPS
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
    results = [summary({"data": name, "method": method, "width": width}, found, bounds)]
    if forests:
        areas = {"score": [100 * area for area, _ in forests]}
        place = {"data": name, "method": "isolation forest on the autoencoder's codes", "width": width}
        results.append(summary(place, areas, [interval for _, interval in forests if interval]))
    return results


def main() -> None:
    """Parse the options, print a line per data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=list(RUNS))
    parser.add_argument("--method", choices=list(METHODS), default="esad")
    parser.add_argument("--width", type=float, help="share of Table 6's channels; default: the preset's")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    for name in options.only or RUNS:
        for line in one_set(name, options.data, options.out, options.method, options.width):
            print(json.dumps(line), flush=True)
            results.append(line)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
