"""Promised and achieved false-alarm rates on real normals, over a hundred splits of them.

    python benchmarks/thresholds.py --data DIR --out DIR [--only pcam ...] [--json FILE]
    python benchmarks/thresholds.py --smoke

A run of each data set gives the scores; normals are those that it has not trained on, of its validation and its test part. Each
of 100 splits takes half of them, whole groups (patients) on a side, as the reference and counts alarms in the other half:

items    a reference score of each item
groups   a reference score of each group, its highest; an alarm is a group with an item above the threshold

For each rate: `promised` (what so few references can promise), the mean of the achieved rates, and their 95th percentile over
the splits, which no promise bounds. A data set without groups has only `items`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from command import parsed, parser, write_json
from real_data import NARROW, RUNS, SHORT, STEPS, write_made_up

from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.scoring.open_scores import open_scores
from esad.pipeline.settings.config import ImageSettings, TableSettings
from esad.pipeline.tables import tables
from esad.pipeline.thresholds.false_alarms import over_splits
from esad.pipeline.train import train

LEVELS = (0.01, 0.05, 0.1)


def scored_run(name: str, data: Path, out: Path, short: bool) -> Path:
    """A run of the data set, as benchmarks/real_data.py trains its first seed, with scores."""
    source, preset, _, settings, columns = RUNS[name]
    store, run = out / f"{Path(source).stem}-store", out / name
    if name == "cardio":
        tables([data / source], TableSettings(), IngestOptions(store))
    else:
        images([data / source], ImageSettings(**columns), IngestOptions(store))
    more: dict[str, Any] = (
        {**SHORT, "network.width": NARROW} if short else STEPS if name.startswith("nih") else {}
    )
    train(store, run, preset, [settings, more])
    score(run, overlays="none")
    return run


def normals_of(run: Path) -> pd.DataFrame:
    """score and group of the normals that the run has not trained on."""
    opened, table = open_run(run), open_scores(run).table
    references = opened.normals[opened.normals["part"] == "validation"]
    new = table[(table["part"] == "test") & (table["label"] == 0)]
    kept = ["score", "group"] if "group" in new else ["score"]
    return pd.concat([references.reindex(columns=kept), new[kept]], ignore_index=True)


def rates(scores: np.ndarray, codes: np.ndarray, level: float, per_group: bool) -> dict[str, float]:
    """Promised and achieved rates, in %, over halves of the groups `codes` (N,) of `scores` (N,)."""
    found = over_splits(scores, codes, level, per_group=per_group, fewest=1)
    assert found is not None
    references = len(np.unique(codes)) if per_group else len(scores)
    return {
        "promised": 100 * found["promised"], "achieved": 100 * found["mean"], "achieved_95th": 100 * found["highest"],
        "references": references // 2,
    }  # fmt: skip


def measure(name: str, data: Path, out: Path, short: bool) -> list[dict[str, object]]:
    """A line for each rate and way of counting, printed as it is found; rates in %."""
    normals = normals_of(scored_run(name, data, out, short))
    scores = normals["score"].to_numpy(dtype=float)
    named = "group" in normals and normals["group"].notna().any()
    codes = normals["group"].astype(str).factorize()[0] if named else np.arange(len(scores))
    lines: list[dict[str, object]] = []
    for per_group in (False, True)[: 1 + named]:
        for level in LEVELS:
            found = rates(scores, codes, level, per_group)
            lines.append(
                {"data": name, "reference": "groups" if per_group else "items", "level": 100 * level, **found}
            )
            print(
                *(
                    f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in lines[-1].items()
                ),
                sep="  ",
            )
    return lines


def main() -> None:
    """Parse the options, print a line per data set, rate and way of counting."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores and runs")
    options.add_argument("--only", action="append", choices=list(RUNS))
    given = parsed(options)
    with tempfile.TemporaryDirectory() as folder:
        data, out = given.data, given.out or Path(folder)
        names = given.only or [name for name in RUNS if name != "mnist"]
        if given.smoke:
            data = Path(folder) / "data"
            write_made_up(data)
        write_json(given.json, [line for name in names for line in measure(name, data, out, given.smoke)])


if __name__ == "__main__":
    main()
