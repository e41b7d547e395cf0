"""The whole circle of a review on made-up slides: score, name what to look at, mark, train again; AUC on slides nobody looked at.

    python benchmarks/review_loop.py [--out DIR] [--slides 16] [--seeds 3] [--json FILE]
    python benchmarks/review_loop.py --smoke

`esad synthetic` draws the slides; every second tumour slide and normal slide is the test part, whose tiles alone have labels. A
first run trains without any. Then a reader marks 5, 20 and 80 tiles of the other slides, in rounds: those that `esad suggest`
names on the last run's scores, or, beside it, tiles drawn at random. The marks are those that the outlines give (a tile that an
outline touches is an anomaly). Each round trains anew with `esad train --labels`.

suggested, random   AUC of the tiles of the test slides after 0, 5, 20 and 80 marks: mean over seeds, and each seed's
anomalies           how many of the marked tiles are anomalies
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from command import parsed, parser, write_json

from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.score import score
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.suggest import suggest
from esad.pipeline.synthetic import synthetic
from esad.pipeline.tile import tile
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store

MARKS = (5, 20, 80)
TINY: dict[str, Any] = {"network.width": 0.02, "train.steps": 4, "train.warmup.steps": 2}


def hidden_store(out: Path, slides: int, size: int) -> tuple[Path, pd.DataFrame]:
    """A store of tiles whose labels are known on the test slides alone; and the truth: item_id, label of the others."""
    synthetic(out / "archive", slides=slides, radiographs=0, size=size)
    settings = TileSettings(magnification=10, tile_size=64, stain="none")
    tile(
        [out / "archive" / "slides"], settings, IngestOptions(out / "store"), out / "archive" / "annotations"
    )
    path = out / "store" / "manifest.parquet"
    table = Store(out / "store").manifest
    tumour = table["tumour_fraction"].fillna(0) > 0
    with_tumour = sorted(table.loc[tumour, "source"].unique())
    without = sorted(set(table["source"]) - set(with_tumour))
    tested = table["source"].isin([*with_tumour[::2], *without[::2]])
    label = tumour.astype("Int8")
    table["split"] = np.where(tested, "test", "train")
    table["label"] = label.where(tested).astype("Int8")
    table.to_parquet(path)
    truth = table.loc[~tested, ["item_id"]].assign(label=label[~tested])
    return out / "store", truth


def trained(store: Path, run: Path, marks: pd.DataFrame | None, seed: int, more: dict[str, Any]) -> float:
    """AUC on the test slides of a run with these marks; its scores are there."""
    labels = None
    if marks is not None:
        labels = run.with_suffix(".csv")
        marks.to_csv(labels, index=False)
    train(store, run, "demo", [{"seed": seed, **more}], labels=labels)
    table = pd.read_parquet(score(run, overlays="none").out / "scores.parquet")
    test = table[(table["part"] == "test").fillna(False) & table["label"].notna()]
    found = auc(test["score"].to_numpy(dtype=float), test["label"].to_numpy(dtype=int))
    assert found is not None
    return found


def rounds(
    way: str, store: Path, truth: pd.DataFrame, out: Path, seed: int, more: dict[str, Any]
) -> tuple[list[float], list[int]]:
    """(AUC after each of MARKS, anomalies among the marks) of one way to choose what a reader looks at."""
    known, areas, anomalies = truth.set_index("item_id")["label"], [], []
    marks, run = pd.DataFrame({"item_id": [], "label": []}), out / f"none-{seed}"
    numbers = np.random.default_rng(seed)
    for count in MARKS:
        new = count - len(marks)
        if way == "random":
            left = truth.loc[~truth["item_id"].isin(marks["item_id"]), "item_id"]
            chosen = numbers.choice(left.to_numpy(dtype=str), min(new, len(left)), replace=False)
        else:
            marks.to_csv(out / "marks.csv", index=False)
            listed = suggest(
                run, out / "suggestions.csv", new, labels=out / "marks.csv" if len(marks) else None
            )
            chosen = pd.read_csv(listed.out)["item_id"].to_numpy(dtype=str)
        marks = pd.concat(
            [marks, pd.DataFrame({"item_id": chosen, "label": known[chosen].to_numpy()})], ignore_index=True
        )
        run = out / f"{way}-{seed}-{count}"
        areas.append(trained(store, run, marks, seed, more))
        anomalies.append(int(marks["label"].sum()))
    return areas, anomalies


def measure(out: Path, slides: int, size: int, seeds: int, more: dict[str, Any]) -> dict[str, Any]:
    """The curves of both ways, printed as they are found."""
    store, truth = hidden_store(out, slides, size)
    found: dict[str, Any] = {
        "marks": [0, *MARKS],
        "tiles_to_look_at": len(truth),
        "anomalies_among_them": int(truth["label"].sum()),
    }
    first = [trained(store, out / f"none-{seed}", None, seed, more) for seed in range(seeds)]
    for way in ("suggested", "random"):
        each = [rounds(way, store, truth, out, seed, more) for seed in range(seeds)]
        areas = np.column_stack([first, [one for one, _ in each]])
        found[way] = areas.mean(0).round(4).tolist()
        found[f"{way}_of_seeds"] = areas.round(4).tolist()
        found[f"{way}_anomalies"] = np.mean([count for _, count in each], axis=0).tolist()
        print(
            way,
            *(f"{marks}: {area:.3f}" for marks, area in zip(found["marks"], found[way], strict=True)),
            sep="  ",
            flush=True,
        )
        print(way, "anomalies among the marks", found[f"{way}_anomalies"], sep="  ", flush=True)
    return found


def main() -> None:
    """Parse the options, print both curves."""
    options = parser(__doc__)
    options.add_argument("--out", type=Path, help="folder of the archive, store and runs")
    options.add_argument("--slides", type=int, default=16)
    options.add_argument("--seeds", type=int, default=3)
    given = parsed(options)
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder)
        if given.out and out.exists():
            shutil.rmtree(out)
        slides, size, seeds, more = (
            (8, 2048, 1, TINY) if given.smoke else (given.slides, 4096, given.seeds, {})
        )
        write_json(given.json, measure(out, slides, size, seeds, more))


if __name__ == "__main__":
    main()
