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
from esad.pipeline.settings.plain_yaml import load_yaml
from esad.pipeline.settings.presets import run_settings
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import show_table
from esad.pipeline.sweeping.page import LEFT_OUT, by_site, figure, markdown
from esad.pipeline.training.checkpoints import lasting

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Store


def validation_counts(store: Store, settings: RunSettings, sites: Sequence[str] = ()) -> dict[str, int]:
    """Normal items and anomalies of the validation part, the fewest of any run where `sites` are left out in turn.

    EsadError where one of them is missing.
    """
    data = settings.data
    tested: list[list[str] | None] = [[name] for name in sites] or [data.site]
    parts = [
        assignments_of(store, settings.model_copy(update={"data": data.model_copy(update={"site": site})}))
        for site in tested
    ]
    held = [table.loc[table["part"] == "validation", "label"] for table in parts]
    counts = {
        name: min(int((labels == value).sum()) for labels in held)
        for name, value in (("normal", 0), ("anomaly", 1))
    }
    missing = [name for name, count in counts.items() if not count]
    if missing:
        raise EsadError(
            f"{store.root}: no {missing[0]} item is held out to choose by (the validation part has {counts['normal']} "
            f"normal items and {counts['anomaly']} anomalies). It takes data.validation_share (now "
            f"{settings.data.validation_share:g}) of the labelled training items, whole groups: raise it, or label more."
        )
    return counts


def held_words(counts: Mapping[str, int], of_sites: bool) -> str:
    """The validation part in words; where sites are left out in turn each run has one of its own, and `counts` are the fewest."""
    least = "at least " if of_sites else ""
    return f"{least}{counts['normal']} normal items and {least}{counts['anomaly']} anomalies"


def begin_sweep(
    out: Path,
    store: Store,
    grid: Mapping[str, Sequence[Any]],
    seeds: int,
    settings: RunSettings,
    force: bool,
    sites: Sequence[str] = (),
) -> None:
    """Mark OUT as this sweep, of `sites` that are left out in turn, if any; EsadError where it is another, or no sweep."""
    from esad.preprocessing.store.durable import empty_folder, is_empty
    from esad.preprocessing.store.store import write_json

    path = out / "sweep.json"
    stated = {
        "store": store.description["inputs"],
        "over": grid,
        "seeds": seeds,
        "settings": lasting(plain(settings)),
        **({"sites": list(sites)} if sites else {}),
    }
    content = json.loads(json.dumps(stated))
    if out.exists() and not is_empty(out):
        if not path.is_file():
            raise EsadError(f"{out}: exists and is not a sweep; choose another --out.")
        difference = first_difference(json.loads(path.read_text(encoding="utf-8")), content)
        if difference and not force:
            raise EsadError(
                f"{out}: another sweep ({difference}). Choose another --out, or --force to replace it."
            )
        if force:
            empty_folder(out, "sweep.json")
    write_json(path, content)


def plain(settings: RunSettings) -> dict[str, Any]:
    """The settings as plain numbers, texts and lists."""
    return json.loads(settings.model_dump_json())


def sweep_outcome(
    store: Path,
    out: Path,
    table: pd.DataFrame,
    rows: list[dict[str, Any]],
    names: list[str],
    chosen: dict[str, Any],
    counts: dict[str, int],
    refused: int,
) -> Outcome:
    """Print the ten best combinations, or all sites where nothing was chosen; the line and the figures of the sweep."""
    shown = table.sort_values("auc", ascending=False, kind="stable").head(10) if names else table
    by = names or [LEFT_OUT]
    show_table(
        [*by, "validation AUC"],
        [[*(f"{row[name]}" for name in by), f"{row['auc']:.4f}"] for _, row in shown.iterrows()],
    )
    sites = list(dict.fromkeys(row[LEFT_OUT] for row in rows if LEFT_OUT in row))
    held = f"on {held_words(counts, bool(sites))}"
    best = ", ".join(f"{name} = {value}" for name, value in chosen.items())
    if chosen:
        of_sites = f", each with a run for every one of {len(sites)} sites left out" if sites else ""
        message = (
            f"Wrote {out}: {len(table)} combinations{of_sites}; best by validation AUC ({table['auc'].max():.4f}, {held}): {best}. See "
            "sweep.md and sweep.png."
        )
    else:
        message = f"Wrote {out}: {len(rows)} runs, each of {len(sites)} sites left out in turn. See sweep.md."
    note = reading_note(load_yaml((out / "best.yaml").read_text(encoding="utf-8"))["method"])
    message += f" {note}" if note else ""
    records = json.loads(table.to_json(orient="records"))
    summary = {"best": json.loads(json.dumps(chosen, default=float)), "validation": counts, "cells": records}
    following = ["esad", "train", str(store), "--config", str(out / "best.yaml"), "--out", "run"]
    if sites:  # what each of them gives is measured on the site that its run has not seen
        first = next(row for row in rows if all(row[name] == value for name, value in chosen.items()))
        following = ["esad", "score", str(out / first["run"])]
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
    of_sites = bool(grid) and LEFT_OUT in rows[0]
    text = "\n".join(
        [
            markdown(
                table,
                list(grid) or [LEFT_OUT],
                chosen,
                held_words(counts, LEFT_OUT in rows[0]),
                reasons,
                "sites and seeds" if of_sites else "seeds",
            ),
            *by_site(rows, list(grid)),
            *(f"{note}\n" for note in notes if note),
        ]
    )
    write_atomically(out / "sweep.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    if grid:
        drawn = figure(table, list(grid))
        write_atomically(out / "sweep.png", lambda temporary: drawn.savefig(temporary, dpi=120))
    content = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_atomically(out / "best.yaml", lambda temporary: temporary.write_text(content, encoding="utf-8"))
    write_json(out / "best.json", {**chosen, "auc": float(table["auc"].max())})
