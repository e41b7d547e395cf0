"""AUC against lambda1 and lambda2 (the paper's Figures 2 and 5): which runs make a curve, and its points. Pure but for `run_rows`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from esad.pipeline.drawing.subjects import Subject, distinct_names
from esad.pipeline.evaluation.counted_items import evaluated_items
from esad.pipeline.evaluation.measures.metrics import auc
from esad.pipeline.evaluation.metrics_file import stored_metrics
from esad.pipeline.scoring.open_scores import open_scores
from esad.pipeline.settings.config import RunSettings, flat, nearest
from esad.pipeline.settings.ignored import ignored_in_run
from esad.pipeline.stage.errors import UsageError

SETTINGS = ("loss.lambda1", "loss.lambda2")
SEEDS = ("seed", "data.split_seed")
"""A point is a mean over runs that differ in these alone."""
ANYWHERE = ("device", "checkpoint_seconds")
"""Settings that change no figure."""
EXAMPLE = "esad sweep STORE --over loss.lambda1=0.01,0.1,1,10 --out SWEEP"
Rows = list[dict[str, Any]]


def check_across(names: Sequence[str]) -> None:
    """UsageError for a name that is no setting of a run, or one whose curves are drawn."""
    known = flat(RunSettings().model_dump())
    for name in names:
        if name in SETTINGS:
            raise UsageError(f"--across {name}: is what the curves are drawn over.")
        if name not in known:
            raise UsageError(f"--across {name}: no such setting; did you mean {nearest(name, known)!r}?")


def run_rows(subjects: Sequence[Subject], across: Sequence[str] = ()) -> Rows:
    """A row for each scored run whose method uses lambda1: its place on curves, and its AUC as `esad evaluate` has it.

    `data_set` (a name), `key` (the same for runs that differ in SETTINGS, SEEDS and `across` alone, as JSON), `member` (SEEDS
    and `across`, as JSON), each of SETTINGS (None where it changes nothing), `auc` in [0, 1] or None where one class is missing.
    """
    usable = []
    for subject in subjects:
        ignored = ignored_in_run(subject.run.settings, subject.run.store["kind"])
        if subject.folder is not None and SETTINGS[0] not in ignored:
            usable.append((subject, ignored))
    names = _data_sets([subject for subject, _ in usable])
    rows = []
    for (subject, ignored), (data_set, identity) in zip(usable, names, strict=True):
        settings = json.loads(json.dumps(flat(subject.run.settings.model_dump())))
        own = {name: settings.pop(name) for name in SETTINGS}
        member = {name: settings.pop(name) for name in (*SEEDS, *across)}
        for name in ANYWHERE:
            settings.pop(name, None)
        rows.append(
            {
                "run": subject.name, "data_set": data_set, "method": subject.run.settings.method,
                **{name: None if name in ignored else float(own[name]) for name in SETTINGS},
                "seed": subject.run.settings.seed, **_figures(subject), "settings": settings,
                "key": json.dumps([identity, settings], sort_keys=True), "member": json.dumps(member, sort_keys=True),
            }
        )  # fmt: skip
    return rows


def _data_sets(subjects: Sequence[Subject]) -> list[tuple[str, list[Any]]]:
    """(name, what tells it from others) of the data set of each: scored inputs, prepared with the run's settings."""
    identities = [[each.marker.get("inputs", ""), each.run.store["settings"]] for each in subjects]
    paths: dict[str, Any] = {}
    for each, identity in zip(subjects, identities, strict=True):
        paths.setdefault(json.dumps(identity, sort_keys=True), each.store_path)
    places = list(dict.fromkeys(paths.values()))
    names = dict(zip(places, distinct_names(places), strict=True))
    return [(names[paths[json.dumps(identity, sort_keys=True)]], identity) for identity in identities]


def _figures(subject: Subject) -> dict[str, Any]:
    """auc, evaluated, normal, anomaly: out of metrics.json, or where there is none, by the same functions."""
    assert subject.folder is not None
    scores = open_scores(subject.folder)
    if (subject.folder / "metrics.json").is_file():
        found = stored_metrics(scores)
        return {name: found.get(name) for name in ("auc", "evaluated", "normal", "anomaly")}
    items, which = evaluated_items(scores)
    labels = items["label"].to_numpy(dtype=int)
    area = auc(items["score"].to_numpy(dtype=float), labels)
    return {
        "auc": area, "evaluated": which, "normal": int((labels == 0).sum()), "anomaly": int((labels == 1).sum()),
    }  # fmt: skip


def curve_points(rows: Rows, setting: str) -> pd.DataFrame:
    """The points of all curves over `setting`, one of SETTINGS, by curve and value: curve (its name), data_set, value,
    auc (mean over runs), std (over runs, NaN of one), runs, members (what they differ in, as JSON).

    A curve is of runs of one key and one value of the other setting; it has at least two values. Empty where there is none.
    """
    (other,) = (name for name in SETTINGS if name != setting)
    groups: dict[tuple[str, Any], Rows] = {}
    for row in rows:
        if row[setting] is not None and row["auc"] is not None:
            groups.setdefault((row["key"], row[other]), []).append(row)
    known = list(dict.fromkeys(row["data_set"] for row in rows))
    curves = sorted(
        (group for group in groups.values() if len({row[setting] for row in group}) > 1),
        key=lambda group: (known.index(group[0]["data_set"]), group[0]["key"], group[0][other] or 0),
    )
    points = []
    for name, group in zip(_curve_names(curves, other), curves, strict=True):
        for value in sorted({row[setting] for row in group}):
            there = [row for row in group if row[setting] == value]
            areas = pd.Series([row["auc"] for row in there])
            points.append(
                {
                    "curve": name, "data_set": there[0]["data_set"], "value": value, "auc": areas.mean(), "std": areas.std(),
                    "runs": len(there), "members": json.dumps(sorted(row["member"] for row in there)),
                }
            )  # fmt: skip
    return pd.DataFrame(points, columns=["curve", "data_set", "value", "auc", "std", "runs", "members"])


def _curve_names(curves: Sequence[Rows], other: str) -> list[str]:
    """The data set of each curve, and in what else it differs from the other curves."""
    heads = [group[0] for group in curves]
    names = []
    for head in heads:
        words = [head["data_set"]]
        if len({row["method"] for row in heads}) > 1:
            words.append(head["method"])
        if len({row[other] for row in heads}) > 1:
            words.append(f"{other.rpartition('.')[2]} {_number(head[other])}")
        alike = [row for row in heads if row["method"] == head["method"]]
        for name in _differing([row["settings"] for row in alike]):
            words.append(f"{name} {_told(head['settings'].get(name))}")
        names.append(", ".join(words))
    return names


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that are not the same in all."""
    names = sorted({name for each in settings for name in each} - {"method"})
    return [name for name in names if len({json.dumps(each.get(name)) for each in settings}) > 1]


def _number(value: float | None) -> str:
    return "without effect" if value is None else f"{value:g}"


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def uneven(points: pd.DataFrame) -> bool:
    """Whether a curve's points are means over different sets of runs (of other seeds, or other values of `across`)."""
    return bool((points.groupby("curve")["members"].nunique() > 1).any())


def why_no_curve(rows: Rows) -> str:
    """Why `rows` make no curve over any of SETTINGS, in words, with what to do."""
    known = [row for row in rows if row["auc"] is not None]
    if not rows:
        return f"none of the runs is scored and of a method with lambda1 (esad). Train some with: {EXAMPLE}"
    if not known:
        return f"{rows[0]['run']}: no AUC, because the items that count are not of both classes"
    values = [tuple(row[name] for name in SETTINGS) for row in known]
    if len(set(values)) == 1:
        return f"the runs differ neither in loss.lambda1 nor in loss.lambda2. Train others with: {EXAMPLE}"
    first, second = (
        known[0],
        next(row for row, value in zip(known, values, strict=True) if value != values[0]),
    )
    both = ", ".join(
        f"{row['run']} ({' and '.join(f'{name} = {_number(row[name])}' for name in SETTINGS)}, {row['data_set']})"
        for row in (first, second)
    )
    if first["data_set"] != second["data_set"]:
        return f"{both}: a curve is of one store. Train each store with each value: {EXAMPLE}"
    others = [name for name in _differing([first["settings"], second["settings"]])]
    if first["method"] != second["method"]:
        others = ["method"]
    if others:
        there = "; ".join(
            f"{name}: {_told(row['settings'].get(name))}" for name in others[:1] for row in (first, second)
        )
        return (
            f"{both}: differ in {others[0]}, too ({there}), and a curve is of runs that differ in one of loss.lambda1 and "
            f"loss.lambda2 alone. --across {others[0]} takes the mean over it"
        )
    return f"{both}: differ in both, and a curve is of runs that differ in one of them alone. Train others with: {EXAMPLE}"
