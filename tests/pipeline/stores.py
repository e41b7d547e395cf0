"""Small stores made directly, for tests of the stages after ingest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import run_job, source_row
from esad.preprocessing.store.store import Store, Unit, write_unit


def _process(archive: Path, root: Path, unit: Unit, kind: str) -> None:
    content = np.load(archive / unit.sources[0])
    items = pd.DataFrame({"source": unit.sources[0], "place": [str(n) for n in range(len(content["x"]))]})
    items["label"] = content["y"].astype(int)
    stem = unit.sources[0].removesuffix(".npz").removeprefix("a")
    items["group"] = [f"g{stem}{n // 4}" for n in range(len(items))]
    if kind == "radiographs":
        items["view"] = ["AP", "PA"] * (len(items) // 2)
    sources = pd.DataFrame([source_row(archive, unit.sources[0], len(items))])
    write_unit(root, unit, content["x"], items, sources)


def make_store(
    folder: Path,
    kind: str = "table",
    name: str = "store",
    settings: dict | None = None,
    seed: int = 0,
    shards: int = 1,
    side: int = 16,
) -> Store:
    """80 normal and 40 abnormal items: rows of 5 columns, or grey pictures of `side` with a bright spot if abnormal.

    They are in so many files, and `shards` of different sizes.
    """
    archive = folder / f"archive-{name}"
    archive.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    y = np.repeat([0, 1], [80, 40])[numbers.permutation(120)]
    if kind == "table":
        x = (numbers.normal(size=(120, 5)) + 4 * y[:, None] * np.array([1, -1, 0, 0, 0])).astype(np.float32)
    else:
        x = numbers.integers(60, 120, (120, side, side, 1), dtype=np.uint8)
        x[y == 1, 4:9, 4:9] += 120
    ends = np.cumsum(np.arange(1, shards + 1) * 240 // (shards * (shards + 1)) // 2 * 2)[:-1]
    names = [f"{'abcdefghij'[number]}.npz" for number in range(shards)]
    for file, some, labels in zip(names, np.split(x, ends), np.split(y, ends), strict=True):
        np.savez(archive / file, x=some, y=labels)
    dtype = "float32" if kind == "table" else "uint8"
    job = Job(
        "test", kind, archive, names, settings or {}, partial(_process, archive, kind=kind), dtype=dtype
    )
    run_job(job, IngestOptions(folder / name))
    return Store(folder / name)


QUICK = {
    "train.steps": 60, "train.warmup.steps": 30, "train.batch_size": 16, "network.width": 0.0625, "checkpoint_seconds": 1.0,
}  # fmt: skip
QUICK_TABLE = {**QUICK, "network.width": 1.0}
