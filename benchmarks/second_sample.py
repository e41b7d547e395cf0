"""AUC on a sample of NIH's radiographs that training did not see: scored by a run on the first sample, and each sample left out in turn.

    python benchmarks/second_sample.py --data DIR --out DIR [--view AP ...] [--json FILE]
    python benchmarks/second_sample.py --smoke

Runs are those of benchmarks/real_data.py (nih-ap, nih-pa, `--width 0.25`, three seeds; one where a whole sample trains). What is there
is left alone, so that the same command goes on after a stop, or shows its table again. Three parts:

within      trained on 60 % of the first sample's patients, measured on the other 40 % (real_data.py's own figure)
second      the same run, measured on the whole second sample
left out    `data.split=leave-site-out` with the samples as two sites: trained on all of one, measured on all of the other, with the
            grey levels as they are and mapped by site (`data.site_normalisation=grey`). With one training site its map is the
            identity, so that both are the same weights: the run is copied, and scored in both ways

Methods: ESAD and the plain autoencoder (`cae`) with 5 % labelled anomalies, and a linear model (logistic regression on the pixels, its
penalty chosen by cross-validation over patients of the training items) with the label of every training item. AUC is in %, mean and
spread over seeds; the interval is by bootstrap of the tested patients, its bounds averaged over seeds. `superiority` is how often a
normal item of the tested sample scores higher than a held-out normal of training (50 % where they are alike). No setting was chosen by
a label of the second sample.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from command import parsed, parser, write_json
from real_data import BY_PATIENT, NARROW, NIH, RADIOGRAPHS, RATIO, SHORT, STEPS, write_made_up
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from esad.pipeline.evaluate import evaluate
from esad.pipeline.evaluation.measures.intervals import grouped_intervals
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.runs.grey_levels import FILE as LEVELS
from esad.pipeline.runs.grey_levels import GreyLevels, levelled
from esad.pipeline.runs.items import assignments_of
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.settings.presets import run_settings
from esad.pipeline.train import train
from esad.preprocessing.grey_levels import histogram, landmarks
from esad.preprocessing.store.store import Store

SECOND = "nih/nih_second_sample_64.npz"
SAMPLES = ("first", "second")
VIEWS = ("AP", "PA")
NETWORKS, LINEAR = ("esad", "cae"), "linear"
WIDTH = 0.25
SEEDS_LEFT_OUT = 1
"""Runs on a whole sample; what differs between seeds is the start of the weights, and a run takes ten minutes of a core."""
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
Line = dict[str, Any]


def joined(data: Path, out: Path) -> Path:
    """Both samples in one npz, with the sample as the site."""
    parts = [dict(np.load(data / source)) for source in (NIH[0], SECOND)]
    out.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in ("x", "y")}
    content |= {
        name: np.concatenate([part[name].astype(str) for part in parts])
        for name in ("image", "view", "finding", "patient")
    }
    content["site"] = np.repeat(SAMPLES, [len(part["y"]) for part in parts])
    np.savez(out, **content)
    return out


def stores_of(data: Path, out: Path) -> dict[str, Path]:
    """The stores of both samples, and of the two as sites of one."""
    paths = {
        "first": data / NIH[0],
        "second": data / SECOND,
        "both": joined(data, out / "archive" / "both.npz"),
    }
    for name, path in paths.items():
        images([path], ImageSettings(**BY_PATIENT), IngestOptions(out / name))
    return {name: out / name for name in paths}


def settings_of(view: str, method: str, seed: int, short: bool, **data: Any) -> list[dict[str, Any]]:
    """Layers of settings over `--preset cpu`."""
    length, width = (SHORT, NARROW) if short else (STEPS, WIDTH)
    own = {"method": method, "network.width": width, "seed": seed, "data.where": {"view": view}}
    return [
        {**RATIO, **RADIOGRAPHS, **length, **own, **{f"data.{name}": value for name, value in data.items()}}
    ]


def figures(scores: Path, view: str) -> Line:
    """AUC, its interval, and how far normals lie from those held out in training, of the items of a view."""
    content = evaluate(scores).summary
    own = content["by"]["view"][view]
    likeness = content["alarms"]["likeness"] or {"by": {}}
    shift = likeness["by"].get("view", {}).get(view) or likeness.get("terms", {}).get("score") or {}
    return {
        "auc": own["auc"], "interval": own["auc_interval"], "normal": own["normal"], "anomaly": own["anomaly"], "groups": own["groups"],
        "superiority": shift.get("superiority"),
    }  # fmt: skip


def within_and_second(
    stores: dict[str, Path], out: Path, view: str, method: str, seed: int, short: bool
) -> Iterable[Line]:
    """A run on the first sample, on its own test part and on the second sample."""
    run = out / f"within-{view}-{method}-{seed}"
    train(stores["first"], run, "cpu", settings_of(view, method, seed, short))
    for part, sample in (("within", "first"), ("second", "second")):
        scores = run / "scores" / sample
        score(run, stores[sample], scores, overlays="none")
        yield {"part": part, "tested": sample, "levels": "none", **figures(scores, view)}


def left_out(
    stores: dict[str, Path], out: Path, view: str, method: str, seed: int, tested: str, short: bool
) -> Iterable[Line]:
    """A run on one sample, on the whole other one, its grey levels as they are and mapped."""
    run = out / f"without-{tested}-{view}-{method}-{seed}"
    own = {"split": "leave-site-out", "site": tested, "site_normalisation": "grey"}
    train(stores["both"], run, "cpu", settings_of(view, method, seed, short, **own))
    for levels, scored in (("none", as_they_are(run)), ("grey", run)):
        scores = scored / "scores" / "both"
        score(scored, stores["both"], scores, overlays="none")
        yield {"part": "left out", "tested": tested, "levels": levels, **figures(scores, view)}


def as_they_are(run: Path) -> Path:
    """The run of one training site without its map, which changes nothing of that site; checked."""
    opened = open_run(run)
    levels = opened.grey_levels
    assert levels is not None
    assert len(levels.sites) == 1
    assert all(np.array_equal(own, levels.reference) for own in levels.sites.values())
    plain = run.with_name(f"{run.name}-as-they-are")
    if not plain.exists():
        shutil.copytree(run, plain, ignore=shutil.ignore_patterns("scores", LEVELS))
        config = yaml.safe_load((plain / "config.yaml").read_text(encoding="utf-8"))
        config["data"]["site_normalisation"] = "none"
        (plain / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return plain


Rows = tuple[Store, np.ndarray]
"""Some items of a store, by their positions."""


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (N, D) in [0, 1], labels (N,) and patients (N,)."""
    store, at = rows
    known = store.manifest.iloc[at]
    return (
        store.read(at).reshape(len(at), -1) / 255.0,
        known["label"].to_numpy(dtype=int),
        known["group"].to_numpy(dtype=str),
    )


def linear_model(trained: Rows, short: bool) -> GridSearchCV:
    """A logistic regression on pixels with every label; its penalty has the highest AUC over held-out patients."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=20 if short else 2000))
    grid = {"logisticregression__C": PENALTIES[:1] if short else PENALTIES}
    x, y, patients = columns(trained)
    return GridSearchCV(model, grid, scoring="roc_auc", cv=GroupKFold(2 if short else 5)).fit(
        x, y, groups=patients
    )


def linear_figures(model: GridSearchCV, tested: Rows) -> Line:
    """AUC and interval of a linear model on some items."""
    x, y, patients = columns(tested)
    scores = model.decision_function(x)
    interval = grouped_intervals(scores, y, patients).auc
    return {
        "auc": auc(scores, y), "interval": list(interval) if interval else None, "normal": int((y == 0).sum()),
        "anomaly": int((y == 1).sum()), "groups": len(np.unique(patients)), "superiority": None,
    }  # fmt: skip


def linear_within_and_second(stores: dict[str, Path], view: str, seed: int, short: bool) -> Iterable[Line]:
    """The linear model on the training items of the same split of the first sample, every label known."""
    first, second = (Store(stores[name]) for name in SAMPLES)
    split = assignments_of(first, run_settings(first, "cpu", settings_of(view, "esad", seed, short)))
    held = first.manifest["item_id"].isin(split.loc[split["part"] == "test", "item_id"]).to_numpy()
    of_view, others = ((store.manifest["view"] == view).to_numpy(dtype=bool) for store in (first, second))
    model = linear_model((first, np.flatnonzero(of_view & ~held)), short)
    parts = {"within": (first, np.flatnonzero(of_view & held)), "second": (second, np.flatnonzero(others))}
    for part, tested in parts.items():
        yield {"part": part, "tested": tested[0].root.name, "levels": "none", **linear_figures(model, tested)}


def linear_left_out(stores: dict[str, Path], view: str, tested: str, short: bool) -> Iterable[Line]:
    """The linear model on all of one sample, on all of the other."""
    both = Store(stores["both"])
    site, of_view = both.manifest["site"].to_numpy(), (both.manifest["view"] == view).to_numpy(dtype=bool)
    rest, own = (np.flatnonzero(of_view & chosen) for chosen in (site != tested, site == tested))
    for levels in ("none", "grey"):
        seen = both if levels == "none" else levelled(both, levels_of(both, rest, tested))
        found = linear_figures(linear_model((seen, rest), short), (seen, own))
        yield {"part": "left out", "tested": tested, "levels": levels, **found}


def levels_of(store: Store, trained: np.ndarray, tested_site: str) -> GreyLevels:
    """The grey levels of the one training site, of its normal items."""
    normal = trained[(store.manifest["label"].to_numpy()[trained] == 0)]
    own = landmarks(histogram(store.read(normal)))
    (site,) = set(SAMPLES) - {tested_site}
    return GreyLevels(own, {site: own}, {site: len(normal)})


def summary(place: Line, found: list[Line]) -> Line:
    """A line of the results, in %, over seeds."""
    areas = [100 * line["auc"] for line in found]
    bounds = [line["interval"] for line in found if line["interval"]]
    shifts = [line["superiority"] for line in found if line["superiority"] is not None]
    return {
        **place, "seeds": len(found), "auc": round(float(np.mean(areas)), 1), "spread": round(float(np.std(areas)), 1),
        "interval": [round(100 * float(end), 1) for end in np.mean(bounds, axis=0)] if bounds else None,
        "of_seeds": [round(area, 1) for area in areas],
        "superiority": round(100 * float(np.mean(shifts)), 1) if shifts else None,
        **{name: found[0][name] for name in ("normal", "anomaly", "groups")},
    }  # fmt: skip


def measure(
    data: Path, out: Path, views: Sequence[str], seeds: int, short: bool, target: Path | None
) -> list[Line]:
    """The results of all parts, views and methods, printed and written to `target` as they are found."""
    stores, results = stores_of(data, out), []

    def keep(view: str, method: str, lines: Iterable[Line]) -> None:
        found: dict[tuple[str, str, str], list[Line]] = {}
        for line in lines:
            found.setdefault((line["part"], line["tested"], line["levels"]), []).append(line)
        for (part, tested, levels), some in found.items():
            place = {"view": view, "method": method, "part": part, "tested": tested, "levels": levels}
            results.append(summary(place, some))
            print(json.dumps(results[-1]), flush=True)
        write_json(target, results)

    for view in views:
        keep(
            view,
            LINEAR,
            (line for seed in range(seeds) for line in linear_within_and_second(stores, view, seed, short)),
        )
        keep(
            view,
            LINEAR,
            (line for tested in SAMPLES for line in linear_left_out(stores, view, tested, short)),
        )
    for method, view in product(NETWORKS, views):
        keep(view, method, (
            line for seed in range(seeds) for line in within_and_second(stores, out, view, method, seed, short)
        ))  # fmt: skip
    for tested, method, view in product(reversed(SAMPLES), NETWORKS, views):
        keep(view, method, (
            line for seed in range(SEEDS_LEFT_OUT) for line in left_out(stores, out, view, method, seed, tested, short)
        ))  # fmt: skip
    return results


SEEN = {
    "first sample, patients apart": ("within", "first", "none"),
    "second sample": ("second", "second", "none"),
}
LEFT_OUT = {
    "first left out": ("left out", "first", "none"), "grey levels mapped": ("left out", "first", "grey"),
    "second left out": ("left out", "second", "none"), "mapped": ("left out", "second", "grey"),
}  # fmt: skip
"""Columns of the two tables: what was measured how."""


def markdown(results: list[Line]) -> str:
    """The results as two tables, a line a view and method: of the runs on the first sample, and of each sample left out."""
    known = {
        (line["view"], line["method"], line["part"], line["tested"], line["levels"]): line for line in results
    }
    rows = dict.fromkeys((line["view"], line["method"]) for line in results)
    tables = []
    for columns in (SEEN, LEFT_OUT):
        lines = [f"| view | method | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 2)}"]
        for row in rows:
            cells = [known.get((*row, *place)) for place in columns.values()]
            if any(cells):
                lines.append(f"| {' | '.join(row)} | {' | '.join(map(_cell, cells))} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _cell(line: Line | None) -> str:
    if line is None:
        return "-"
    within = f" [{line['interval'][0]:.1f}, {line['interval'][1]:.1f}]" if line["interval"] else ""
    spread = f" ± {line['spread']:.1f}" if line["seeds"] > 1 else ""
    return f"{line['auc']:.1f}{spread}{within}"


def write_second(data: Path) -> None:
    """A made-up second sample beside the made-up first one."""
    first = dict(np.load(data / NIH[0]))
    patients = np.char.add("s", first["patient"].astype(str))
    np.savez(
        data / SECOND,
        **{name: first[name] for name in ("x", "y", "image", "view", "finding")},
        patient=patients,
    )


def main() -> None:
    """Parse the options, print a line per result and a table."""
    options = parser(__doc__, data=True)
    options.add_argument("--out", type=Path, help="folder of stores and runs")
    options.add_argument("--view", action="append", choices=VIEWS)
    given = parsed(options)
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            write_made_up(data)
            write_second(data)
            results = measure(data, Path(folder) / "out", VIEWS[:1], 1, short=True, target=given.json)
    else:
        if not given.out:
            options.error("name a folder of stores and runs: --out DIR")
        views = given.view or VIEWS
        results = measure(given.data, given.out, views, NIH[2], short=False, target=given.json)
    print(markdown(results))


if __name__ == "__main__":
    main()
