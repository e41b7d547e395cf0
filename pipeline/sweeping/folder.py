"""The folder of a sweep: marked as it begins, its results as it ends."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esad.pipeline.evaluation.sentence import reading_note
from esad.pipeline.runs.items import assignments_of
from esad.pipeline.settings.config import RunSettings, first_difference
from esad.pipeline.settings.presets import run_settings
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import show_table
from esad.pipeline.sweeping.page import figure, markdown
from esad.pipeline.training.checkpoints import lasting

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Store


def validation_counts(store: Store, settings: RunSettings) -> dict[str, int]:
    """Normal items and anomalies of the validation part; EsadError where one of them is missing."""
    table = assignments_of(store, settings)
    held = table.loc[table["part"] == "validation", "label"]
    counts = {"normal": int((held == 0).sum()), "anomaly": int((held == 1).sum())}
    missing = [name for name, count in counts.items() if not count]
    if missing:
        raise EsadError(
            f"{store.root}: no {missing[0]} item is held out to choose by (the validation part has {counts['normal']} "
            f"normal items and {counts['anomaly']} anomalies). It takes data.validation_share (now "
            f"{settings.data.validation_share:g}) of the labelled training items, whole groups: raise it, or label more."
        )
    return counts


def begin_sweep(
    out: Path,
    store: Store,
    grid: Mapping[str, Sequence[Any]],
    seeds: int,
    settings: RunSettings,
    force: bool,
) -> None:
    """Mark OUT as this sweep; EsadError where it is another, or no sweep."""
    import shutil

    from esad.preprocessing.store.store import write_json

    path = out / "sweep.json"
    stated = {
        "store": store.description["inputs"],
        "over": grid,
        "seeds": seeds,
        "settings": lasting(plain(settings)),
    }
    content = json.loads(json.dumps(stated))
    if out.exists() and any(out.iterdir()):
        if not path.is_file():
            raise EsadError(f"{out}: exists and is not a sweep; choose another --out.")
        difference = first_difference(json.loads(path.read_text(encoding="utf-8")), content)
        if difference and not force:
            raise EsadError(
                f"{out}: another sweep ({difference}). Choose another --out, or --force to replace it."
            )
        if force:
            shutil.rmtree(out)
    write_json(path, content)


def plain(settings: RunSettings) -> dict[str, Any]:
    """The settings as plain numbers, texts and lists."""
    return json.loads(settings.model_dump_json())


def sweep_outcome(
    store: Path,
    out: Path,
    table: pd.DataFrame,
    names: list[str],
    chosen: dict[str, Any],
    counts: dict[str, int],
    refused: int,
) -> Outcome:
    """Print the ten best combinations; the line and the figures of the sweep."""
    shown = table.sort_values("auc", ascending=False, kind="stable").head(10)
    show_table(
        [*names, "validation AUC"],
        [[*(f"{row[name]}" for name in names), f"{row['auc']:.4f}"] for _, row in shown.iterrows()],
    )
    best = ", ".join(f"{name} = {value}" for name, value in chosen.items())
    message = (
        f"Wrote {out}: {len(table)} combinations; best by validation AUC ({table['auc'].max():.4f}, on "
        f"{counts['normal']} normal items and {counts['anomaly']} anomalies): {best}. See sweep.md and sweep.png."
    )
    note = reading_note(yaml.safe_load((out / "best.yaml").read_text(encoding="utf-8"))["method"])
    message += f" {note}" if note else ""
    records = json.loads(table.to_json(orient="records"))
    summary = {"best": json.loads(json.dumps(chosen, default=float)), "validation": counts, "cells": records}
    following = ["esad", "train", str(store), "--config", str(out / "best.yaml"), "--out", "run"]
    return Outcome(out, message, shlex.join(following), refused, summary)


def write_results(
    out: Path,
    rows: list[dict[str, Any]],
    table: pd.DataFrame,
    store: Store,
    grid: Mapping[str, Sequence[Any]],
    preset: str | None,
    overrides: Sequence[dict[str, Any]],
    chosen: dict[str, Any],
    counts: dict[str, int],
    reasons: list[str],
) -> None:
    """sweep.parquet, sweep.md and sweep.png of all cells, best.yaml and best.json of the chosen settings."""
    import pandas as pd

    from esad.preprocessing.store.store import write_atomically, write_json, write_table

    write_table(out / "sweep.parquet", pd.DataFrame(rows))
    settings = plain(run_settings(store, preset, [*overrides, chosen]))
    notes = [reading_note(method) for method in grid.get("method", [settings["method"]])]
    text = "\n".join(
        [markdown(table, list(grid), chosen, counts, reasons), *(f"{note}\n" for note in notes if note)]
    )
    write_atomically(out / "sweep.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    drawn = figure(table, list(grid))
    write_atomically(out / "sweep.png", lambda temporary: drawn.savefig(temporary, dpi=120))
    content = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_atomically(out / "best.yaml", lambda temporary: temporary.write_text(content, encoding="utf-8"))
    write_json(out / "best.json", {**chosen, "auc": float(table["auc"].max())})
