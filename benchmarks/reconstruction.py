"""What ESAD and the plain autoencoder reconstruct, and their AUC, with and without a linear code beside the learnt one.

    python benchmarks/reconstruction.py --data DIR --out /tmp/pictures [--only pcam ...] [--variant esad ...] [--seeds 5]
    python benchmarks/reconstruction.py --smoke

Of each set a part is taken (SETS), stored, and every variant (VARIANTS) trained once a seed through the stages. `explained`
is of normal items held out of training, beside 64 principal components of the same training items; AUC is of the test
part. A sheet per set (OUT/sheets) shows inputs, targets and reconstructions. Settings were chosen on validation parts.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import parsed, parser, write_json
from PIL import Image
from real_data import RATIO, write_made_up

from esad.models.training.batch import Batch
from esad.pipeline.evaluate import evaluate
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.items import in_memory, positions_of
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.stage.log import read_log
from esad.pipeline.train import train

Part = dict[str, np.ndarray]
NORMAL, LABELLED = 0, 1
"""The normal class of the natural-image sets, and the one that labelled anomalies come from (paper 4.2)."""
TRAINED, TESTED = 2000, 1000
WITHOUT: dict[str, Any] = {
    "network.linear": None,
    "loss.lambda2": 0.1,
    "loss.score_lambda1": None,
    "loss.score_block": 1,
}
"""What no preset, `cpu` and `demo` were before the linear code."""
VARIANTS: dict[str, dict[str, Any]] = {
    "esad": {},
    "esad before": WITHOUT,
    "cae": {"method": "cae"},
    "cae before": {"method": "cae", "network.linear": None, "loss.score_block": 1},
}
_CAE = {**VARIANTS["cae before"], "train.warmup.steps": 0, "train.steps": 1000}
CAUSES: dict[str, dict[str, Any]] = {
    "autoencoder": _CAE,
    "rate 3e-3": {**_CAE, "train.learning_rate": 3e-3},
    "SGD 0.1, momentum 0.9": {
        **_CAE,
        "train.optimiser": "sgd",
        "train.learning_rate": 0.1,
        "train.momentum": 0.9,
    },
    "batch of 8": {**_CAE, "train.batch_size": 8, "train.steps": 4000},
    "nearest upsampling": {**_CAE, "network.upsample": "nearest"},
    "width 1/4": {**_CAE, "network.width": 0.25},
    "three times as long": {**_CAE, "train.steps": 3000},
    "linear code": {**VARIANTS["cae"], "train.warmup.steps": 0, "train.steps": 1000},
    "lambda 0.01": {**WITHOUT, "loss.lambda1": 0.01, "loss.lambda2": 0.01},
    "gate for each place": {"network.gate": "place"},
    "no gate": {"network.gate": "none"},
    "8 numbers a patch": {"network.linear": 8},
    "labelled weight 1": {"loss.labelled_weight": 1.0},
}
"""One change at a time: of the plain autoencoder without a linear code, then of ESAD with one."""
LENGTH = {"train.steps": 400, "train.warmup.steps": 100}
SHORT = {"train.steps": 2, "train.warmup.steps": 1, "network.width": 0.02}


def pcam(data: Path) -> Part:
    """Camelyon16 tiles, all of them."""
    with np.load(data / "pcam/pcam_64.npz") as file:
        return {"x": file["x"], "y": file["y"].astype(int)}


def nih(view: str) -> Callable[[Path], Part]:
    """Radiographs of one projection, groups by patient."""

    def read(data: Path) -> Part:
        with np.load(data / "nih/nih1000_crop768_64.npz") as file:
            chosen = file["view"] == view
            return {
                "x": file["x"][chosen],
                "y": file["y"][chosen].astype(int),
                "group": file["patient"][chosen].astype(str),
            }

    return read


def one_class(x: np.ndarray, classes: np.ndarray, tests: np.ndarray) -> Part:
    """TRAINED normal items and as many of LABELLED as anomalies to train on; TESTED normal and TESTED others to test."""
    places = []
    for test, most_normal, others in (
        (False, TRAINED, classes == LABELLED),
        (True, TESTED, classes != NORMAL),
    ):
        part = tests == test
        places += [
            np.flatnonzero(part & (classes == NORMAL))[:most_normal],
            np.flatnonzero(part & others)[:TESTED],
        ]
    chosen = np.concatenate(places)
    split = np.where(tests[chosen], "test", "train")
    return {"x": x[chosen], "y": (classes[chosen] != NORMAL).astype(int), "split": split}


def mnist(data: Path) -> Part:
    """Digits: 0 is normal."""
    with np.load(data / "images/mnist.npz") as file:
        x, classes = (np.concatenate([file[f"{name}_train"], file[f"{name}_test"]]) for name in ("x", "y"))
        return one_class(x, classes, np.arange(len(x)) >= len(file["x_train"]))


def fashion_mnist(data: Path) -> Part:
    """Clothes: T-shirts are normal."""

    def idx(name: str, header: int) -> np.ndarray:
        with gzip.open(data / "images/fashion-mnist" / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    parts = ("train", "t10k")
    x = [idx(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for part in parts]
    classes = np.concatenate([idx(f"{part}-labels-idx1-ubyte.gz", 8) for part in parts])
    return one_class(np.concatenate(x), classes, np.arange(len(classes)) >= len(x[0]))


def cifar10(data: Path) -> Part:
    """Photographs, recompressed as JPEG: aeroplanes are normal."""
    with zipfile.ZipFile(data / "images/cifar10_jpeg.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        kinds = sorted({name.split("/")[1] for name in names})
        classes = np.array([kinds.index(name.split("/")[1]) for name in names])
        tests = np.array([name.startswith("test/") for name in names])
        wanted = one_class(np.arange(len(names)), classes, tests)
        x = [np.asarray(Image.open(io.BytesIO(archive.read(names[place])))) for place in wanted["x"]]
    return {**wanted, "x": np.stack(x)}


BOTH = {"loss.lambda1": 1.0}
RADIOGRAPHS = {"data.flip": "horizontal", "network.linear": 32}
THEN = {"loss.lambda1": 0.1, "score.kind": "standardised"}
SETS: dict[str, tuple[Callable[[Path], Part], dict[str, Any], dict[str, Any]]] = {
    "pcam": (pcam, {"data.flip": "both", "network.linear": 32}, BOTH),
    "nih-ap": (nih("AP"), RADIOGRAPHS, THEN),
    "nih-pa": (nih("PA"), RADIOGRAPHS, THEN),
    "mnist": (mnist, {}, BOTH),
    "fashion-mnist": (fashion_mnist, {}, BOTH),
    "cifar10": (cifar10, {"data.flip": "horizontal"}, BOTH),
}
"""How a set is read, its settings (tiles' and radiographs' where it is such), and those that it had `before`."""


def make_store(name: str, data: Path, out: Path) -> Path:
    """The store of a set."""
    store, source = out / "stores" / name, out / "sources" / f"{name}.npz"
    if not source.exists():
        source.parent.mkdir(parents=True, exist_ok=True)
        part: dict[str, Any] = dict(SETS[name][0](data))
        np.savez(source, **part)
    with np.load(source) as file:
        columns = {key: key if key in file else "none" for key in ("group", "split")}
    images([source], ImageSettings(**columns), IngestOptions(store))
    return store


def one_run(name: str, variant: str, seed: int, store: Path, out: Path, short: bool) -> dict[str, Any]:
    """The figures of one run, in %, but for what is explained."""
    _, own, before = SETS[name]
    run = out / "runs" / f"{name}-{re.sub('[^a-z0-9]+', '-', variant.lower())}-{seed}"
    layers = [
        RATIO,
        own,
        LENGTH,
        {**VARIANTS, **CAUSES}[variant],
        before if variant == "esad before" else {},
        {"seed": seed},
    ]
    train(store, run, "cpu", [*layers, SHORT] if short else layers)
    score(run, overlays="none")
    metrics, opened = evaluate(run).summary, open_run(run)
    said = json.loads((run / "provenance.json").read_text())
    reconstruction = said["reconstruction"]
    return {
        "data": name, "variant": variant, "seed": seed, "seconds": read_log(run, "train.json")["seconds"],
        "validation": said["validation"]["auc"], "score_kind": opened.settings.score.kind,
        "explained": reconstruction["model"], "pca": reconstruction["pca"], "auc": metrics["auc"],
        **{term: value["auc"] for term, value in metrics["scores"].items()},
    }  # fmt: skip


def sheet(run_folder: Path, path: Path, most: int = 6) -> None:
    """Inputs, targets and reconstructions of normal test items, anomalies that were labelled, and ones that were not."""
    run = open_run(run_folder)
    store, device = run.training_store(), torch.device("cpu")
    method, items, used = run.method(device), in_memory(store), run.assignments
    tested = used[used["part"] == "test"]
    groups = [
        tested[tested["label"] == 0], used[(used["part"] == "train") & (used["semi_label"] == -1)], tested[tested["label"] == 1],
    ]  # fmt: skip
    rows: list[list[np.ndarray]] = [[], [], []]
    for number, group in enumerate(groups):
        positions = positions_of(store, group["item_id"].iloc[:most])
        stored = items[torch.from_numpy(positions)] if isinstance(items, torch.Tensor) else items(positions)
        with torch.inference_mode():
            x = method.scaler(stored)
            semi = torch.full((len(x),), -1 if number == 1 else 0)
            target, output = method.target(Batch(x, semi, [(run.settings.seed, 0)])), method.reconstruct(x)
        assert output is not None
        for row, values in zip(rows, (x, target, output), strict=True):
            shown = method.scaler.unpad(values).clamp(0, 1).permute(0, 2, 3, 1).numpy()  # type: ignore[operator]
            row += [np.pad(picture, ((0, 2), (0, 2), (0, 0)), constant_values=1) for picture in shown]
            row.append(np.ones((row[-1].shape[0], 6, row[-1].shape[2])))
    picture = (np.concatenate([np.concatenate(row, axis=1) for row in rows]) * 255).round().astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = picture.shape[-1] == 1
    image = Image.fromarray(picture[..., 0] if grey else picture)
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(path)


def main() -> None:
    """Parse the options, print a line per run."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores, runs and sheets")
    options.add_argument("--only", action="append", choices=list(SETS))
    options.add_argument("--variant", action="append", choices=[*VARIANTS, *CAUSES])
    options.add_argument("--seeds", type=int, default=5, help="how many seeds [5]")
    options.add_argument("--first-seed", type=int, default=0, help="the first of them [0]")
    given = parsed(options)
    with tempfile.TemporaryDirectory() as folder:
        out, data, seeds = given.out, given.data, range(given.first_seed, given.first_seed + given.seeds)
        if given.smoke:
            out, data, seeds = Path(folder), Path(folder) / "data", range(1)
            write_made_up(data)
        elif out is None:
            options.error("name a folder of stores, runs and sheets: --out DIR")
        found = []
        for name in given.only or (["pcam", "nih-ap"] if given.smoke else SETS):
            store = make_store(name, data, out)
            for seed in seeds:
                for variant in given.variant or VARIANTS:
                    found.append(one_run(name, variant, seed, store, out, given.smoke))
                    print(json.dumps(found[-1]), flush=True)
            if not given.variant or "esad" in given.variant:
                sheet(out / "runs" / f"{name}-esad-{seeds[0]}", out / "sheets" / f"{name}.png")
        write_json(given.json, found)


if __name__ == "__main__":
    main()
