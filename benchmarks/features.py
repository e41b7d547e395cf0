"""Pixels, frozen features, or both? ESAD on the pictures, on embeddings of them, and the sum of both scores.

    python benchmarks/features.py --data DIR --out DIR [--only pcam ...] [--seeds 5] [--members 3] [--second] [--json FILE]
    python benchmarks/features.py --smoke

The pictures are of 64 pixels; the encoder is EfficientNet-Lite0 (`esad embed --encoder imagenet`), frozen. Five labelled anomalies to a
hundred training items. AUC in %, mean and spread over seeds, of the validation part, by which one chooses, and of the test part:

pixels           ESAD on the pictures, as benchmarks/real_data.py trains it (`--preset cpu`)
embeddings       ESAD on the embeddings, by the preset of embeddings
both             the two scores as one (`esad combine`)
N pixels, N embeddings, N of both   as one, the scores of N trainings with other weights on the same split (`--members`)
supervised, deep_sad   on the embeddings, with the same labels
linear           logistic regression on the embeddings, with the same labels: unlabelled items taken as normal
every label      logistic regression on the embeddings, with the label of every training item: what the features hold

With `--second` NIH's runs are measured on its second sample alone, whose patients none has seen: nothing was chosen by it.

What is there is left alone, so that the same command goes on after a stop.
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from command import parsed, parser, write_json
from real_data import NARROW, NIH, RADIOGRAPHS, RATIO, SHORT, STEPS, write_made_up
from second_sample import SECOND, write_second
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from esad.pipeline.combine import combine
from esad.pipeline.embed import embed
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.items import positions_of
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.scoring.open_scores import open_scores
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.train import train

TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "pixels": ("pixels", {"method": "esad"}),
    "embeddings": ("embeddings", {"method": "esad"}),
    "supervised": ("embeddings", {"method": "supervised"}),
    "deep_sad": ("embeddings", {"method": "deep_sad"}),
}
"""Name of a line -> what it trains on, and its method."""
PENALTY, WEAK_PENALTY = 1e-3, 3e-3
"""Of the logistic regressions, chosen of 0.001 to 1 on PCam's validation part."""
SETS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "pcam": ("pcam/pcam_64.npz", {}, {}, {"data.flip": "both"}),
    "nih-ap": (
        NIH[0],
        {"group": "patient", "split": "none"},
        {"data.where": {"view": "AP"}},
        {**RADIOGRAPHS, **STEPS},
    ),
    "nih-pa": (
        NIH[0],
        {"group": "patient", "split": "none"},
        {"data.where": {"view": "PA"}},
        {**RADIOGRAPHS, **STEPS},
    ),
}
"""Name -> file, settings of `esad images`, of every training, and of those on pictures."""
Lines = list[dict[str, Any]]


def stores_of(name: str, data: Path, out: Path, second: bool = False) -> dict[str, Path]:
    """The store of a data set's pictures, or of NIH's second sample, and that of their embeddings."""
    source, ingest, _, _ = SETS[name]
    source = SECOND if second else source
    stores = {
        "pixels": out / f"{Path(source).stem}-pixels",
        "embeddings": out / f"{Path(source).stem}-embeddings",
    }
    images([data / source], ImageSettings(**ingest), IngestOptions(stores["pixels"]))
    embed(stores["pixels"], "imagenet", stores["embeddings"])
    return stores


def scored(
    line: str, name: str, seed: int, stores: dict[str, Path], out: Path, short: bool, member: int = 0
) -> Path:
    """A trained and scored run on the split of `seed`; `member` 0 has its weights by the same seed, others by others."""
    kind, method = TRAINED[line]
    _, _, every, of_pictures = SETS[name]
    seeds = {"seed": seed + 1000 * member, "data.split_seed": seed}
    own = {**RATIO, **every, **method, **seeds, **(of_pictures if kind == "pixels" else {})}
    if short:
        own |= {**SHORT, "network.width": NARROW if kind == "pixels" else 0.1}
    run = out / f"{name}-{line}-{seed}{f'-{member}' if member else ''}"
    train(stores[kind], run, "cpu" if kind == "pixels" else None, [own])
    score(run, overlays="none")
    return run


def table_of(run: Path) -> pd.DataFrame:
    """Columns part, label, score of all items by item_id."""
    return open_scores(run).table.set_index("item_id")


def combined(runs: list[Path], out: Path) -> pd.Series:
    """The scores of `runs` as one, by item_id."""
    combine(runs, out)
    return table_of(out)["score"]


def linear(run: Path, store: Path, every_label: bool) -> pd.Series:
    """Logistic regression on the embeddings of the run's training items, by its labels or by those of all: scores by item_id."""
    opened = open_run(run)
    vectors = opened.training_store()
    used = opened.assignments
    known = used[used["part"] == "train"]
    if every_label:
        manifest = vectors.manifest
        kept = manifest["item_id"].isin(used.loc[used["part"] != "train", "item_id"])
        known = manifest[~kept & manifest["label"].notna()]
        for column, value in opened.settings.data.where.items():
            known = known[known[column] == value]
    labels = known["label"] if every_label else known["semi_label"] == -1
    places = positions_of(vectors, known["item_id"])
    model = LogisticRegression(
        C=WEAK_PENALTY if every_label else PENALTY, class_weight="balanced", max_iter=500
    )
    fitted = make_pipeline(StandardScaler(), model).fit(
        vectors.read(places).astype("float32"), labels.astype(int)
    )
    held = used[used["part"] != "train"]["item_id"]
    found = fitted.decision_function(vectors.read(positions_of(vectors, held)).astype("float32"))
    return pd.Series(found, index=held)


def areas(found: dict[str, pd.Series], table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """AUC in % of each of the scores, by part of `table`."""
    areas: dict[str, dict[str, float]] = {}
    for name, values in found.items():
        areas[name] = {}
        for part in ("validation", "test"):
            rows = table[(table["part"] == part) & table["label"].notna()]
            area = auc(values.reindex(rows.index).to_numpy(dtype=float), rows["label"].to_numpy(dtype="int8"))
            areas[name][part] = float("nan") if area is None else 100 * area
    return areas


def of_members(
    name: str, seed: int, stores: dict[str, Path], out: Path, members: int, short: bool
) -> dict[str, pd.Series]:
    """The combined scores of `members` trainings on pixels, on embeddings, and on both."""
    runs = {
        line: [scored(line, name, seed, stores, out, short, member) for member in range(members)]
        for line in ("pixels", "embeddings")
    }
    sides = {**runs, "of both": [run for pair in zip(*runs.values(), strict=True) for run in pair]}
    return {
        f"{members} {line}": combined(chosen, out / f"{name}-{members}-{line.replace(' ', '-')}-{seed}")
        for line, chosen in sides.items()
    }


def second_sample(name: str, data: Path, out: Path, seeds: int, members: int, short: bool) -> Lines:
    """The same runs on NIH's second sample: AUC in % of the images of their view, a line for each way to score."""
    trained_on, stores = stores_of(name, data, out), stores_of(name, data, out, second=True)
    view, every = name.rpartition("-")[2].upper(), dict[str, list[float]]()
    for seed in range(seeds):
        scores: dict[str, list[Path]] = {"pixels": [], "embeddings": []}
        for line, member in product(scores, range(members)):
            run = scored(line, name, seed, trained_on, out, short, member)
            score(run, stores[line], overlays="none")
            scores[line].append(run / "scores" / stores[line].name)
        firsts = {line: each[:1] for line, each in scores.items()}
        sides = {**firsts, "both": [each[0] for each in scores.values()]}
        if members > 1:
            sides |= {f"{members} {line}": each for line, each in scores.items()}
            sides[f"{members} of both"] = [*scores["pixels"], *scores["embeddings"]]
        for line, chosen in sides.items():
            folder = out / f"{name}-second-{line.replace(' ', '-')}-{seed}"
            table = table_of(chosen[0])
            found = table["score"] if len(chosen) == 1 else combined(chosen, folder)
            rows = table[(table["view"] == view) & table["label"].notna()]
            area = auc(found.reindex(rows.index).to_numpy(dtype=float), rows["label"].to_numpy(dtype="int8"))
            every.setdefault(line, []).append(float("nan") if area is None else 100 * area)
    for line, areas in every.items():
        print(
            f"| {name}, second sample | {line} | {np.mean(areas):.1f} ± {np.std(areas, ddof=min(1, seeds - 1)):.1f} |"
        )
    return [
        {"data": name, "sample": "second", "score": line, "seeds": seeds, "test": areas}
        for line, areas in every.items()
    ]


def measure(name: str, data: Path, out: Path, seeds: int, members: int, short: bool) -> Lines:
    """A line for each way to score a data set, printed at the end."""
    stores = stores_of(name, data, out)
    every: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        runs = {line: scored(line, name, seed, stores, out, short) for line in TRAINED}
        tables = {line: table_of(run) for line, run in runs.items()}
        found = {line: table["score"] for line, table in tables.items()}
        found["both"] = combined([runs["pixels"], runs["embeddings"]], out / f"{name}-both-{seed}")
        found |= of_members(name, seed, stores, out, members, short) if members > 1 else {}
        run = out / f"{name}-embeddings-{seed}"
        found["linear"] = linear(run, stores["embeddings"], every_label=False)
        found["every label"] = linear(run, stores["embeddings"], every_label=True)
        for line, own in areas(found, tables["pixels"]).items():
            every.setdefault(line, []).append(own)
    lines = []
    for line, of_seeds in every.items():
        of_parts = {part: [area[part] for area in of_seeds] for part in ("validation", "test")}
        shown = {
            part: f"{np.mean(values):.1f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.1f}"
            for part, values in of_parts.items()
        }
        lines.append({"data": name, "score": line, "seeds": seeds, **of_parts})
        print(f"| {name} | {line} | {shown['validation']} | {shown['test']} |")
    return lines


def main() -> None:
    """Parse the options, print the lines of a table for each data set."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores and runs")
    options.add_argument("--only", action="append", choices=list(SETS))
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--members", type=int, default=1, help="trainings of each kind on each split")
    options.add_argument("--second", action="store_true", help="NIH's runs on its second sample")
    given = parsed(options)
    with tempfile.TemporaryDirectory() as folder:
        data, out, seeds, members = given.data, given.out or Path(folder), given.seeds, given.members
        if given.smoke:
            data, seeds, members = Path(folder) / "data", 1, 2
            write_made_up(data)
            write_second(data)
        names = given.only or list(SETS)[: 1 if given.smoke else None]
        lines = (
            []
            if given.second
            else [line for name in names for line in measure(name, data, out, seeds, members, given.smoke)]
        )
        for name in names if given.second else ["nih-ap"] if given.smoke else []:
            lines += (
                second_sample(name, data, out, seeds, members, given.smoke) if name.startswith("nih") else []
            )
        write_json(given.json, lines)


if __name__ == "__main__":
    main()
