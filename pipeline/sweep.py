"""`esad sweep STORE --over loss.lambda1=0.1,1,10`: a run a cell of a grid of settings, the best by validation AUC.

The figures of each cell are those of its own validation part, which `train` holds out of the training data; no label
of the test part is read. OUT holds cells/ (a RUN each), sweep.parquet, sweep.md, sweep.png and best.yaml.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esad.pipeline.settings.config import (
    RunSettings,
    first_difference,
    number_if_scientific,
    parse_assignments,
)
from esad.pipeline.stage.errors import CannotTrain, EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say, show_table
from esad.pipeline.train import run_settings, train
from esad.pipeline.training.checkpoints import lasting
from esad.pipeline.training.items import assignments_of
from esad.pipeline.training.sweep_page import figure, markdown

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Store


@dataclass(frozen=True)
class Cell:
    """The values of the swept settings, by dotted name, and the seed of one run."""

    values: Mapping[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """Its folder: `lambda1=0.1,lambda2=1,seed=0`."""
        shown = "".join(f"{name.rsplit('.', 1)[-1]}={value}," for name, value in self.values.items())
        return f"{shown}seed={self.seed}".replace("/", "-")

    def settings(self, split_seed: int) -> dict[str, Any]:
        """The layer that it adds; all cells share one split."""
        return {**self.values, "seed": self.seed, "data.split_seed": split_seed}


def sweep(
    store: Path,
    out: Path,
    over: Sequence[str],
    preset: str | None = None,
    overrides: Sequence[dict[str, Any]] = (),
    seeds: int = 1,
    force: bool = False,
) -> Outcome:
    """Train every combination of the values of `over` (`name=value,value,…`) with `seeds` seeds, and choose one.

    The best has the highest mean AUC over seeds on the validation part; of equal ones the first. Cells that are there
    are left alone; one that cannot be trained is counted as refused, with its reason. Raises UsageError (settings),
    EsadError (no anomalies to validate on, an `out` of another sweep, no cell that could be trained), Stopped.
    """
    import pandas as pd

    from esad.preprocessing.store.store import Store, write_atomically, write_json, write_table

    grid = parse_grid(over)
    opened = Store(store)
    base = run_settings(opened, preset, [*overrides, {name: values[0] for name, values in grid.items()}])
    for values in product(*grid.values()):  # every value is checked before the first cell is trained
        run_settings(opened, preset, [*overrides, dict(zip(grid, values, strict=True))])
    counts = _validation_counts(opened, base)
    kept = lasting(_plain(base))
    _begin(
        out, {"store": opened.description["inputs"], "over": grid, "seeds": seeds, "settings": kept}, force
    )
    cells = [
        Cell(dict(zip(grid, values, strict=True)), base.seed + place)
        for values in product(*grid.values())
        for place in range(seeds)
    ]
    split = base.seed if base.data.split_seed is None else base.data.split_seed
    rows, reasons = [], []
    for number, cell in enumerate(cells, 1):
        say(f"Cell {number} of {len(cells)}: {cell.name}")
        try:
            layers = [*overrides, cell.settings(split)]
            train(store, out / "cells" / cell.name, preset, layers)
        except CannotTrain as error:
            reasons.append(f"{cell.name}: {error}")
            say(f"{cell.name} cannot be trained: {error}")
        rows.append(_row(cell, out))
    table = _summary(rows, list(grid))
    if table["auc"].isna().all():
        raise EsadError(f"{out}: no cell could be trained; the first: {reasons[0]}")
    best = table.loc[table["auc"].idxmax()]
    chosen = {name: next(value for value in grid[name] if value == best[name]) for name in grid}
    write_table(out / "sweep.parquet", pd.DataFrame(rows))
    text = markdown(table, list(grid), chosen, counts, reasons)
    write_atomically(out / "sweep.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    drawn = figure(table, list(grid))
    write_atomically(out / "sweep.png", lambda temporary: drawn.savefig(temporary, dpi=120))
    settings = _plain(run_settings(opened, preset, [*overrides, chosen]))
    content = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_atomically(out / "best.yaml", lambda temporary: temporary.write_text(content, encoding="utf-8"))
    write_json(out / "best.json", {**chosen, "auc": float(best["auc"])})
    return _outcome(store, out, table, list(grid), chosen, counts, len(reasons))


def parse_grid(over: Sequence[str]) -> dict[str, list[Any]]:
    """`["loss.lambda1=0.1,1"]` -> {"loss.lambda1": [0.1, 1]}; UsageError names what cannot be swept."""
    grid: dict[str, list[Any]] = {}
    for text in over:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise UsageError(
                f"--over {text!r}: expected name=value,value, for example loss.lambda1=0.1,1,10."
            )
        if name in grid:
            raise UsageError(f"--over {name} is given twice; list all its values in one.")
        if name == "seed":
            raise UsageError("--over seed: a seed is not chosen; --seeds N averages over N of them.")
        if name == "device" or name.startswith("data."):
            raise UsageError(f"--over {name}: only settings of the model and its training can be swept.")
        found = [
            number_if_scientific(parse_assignments([f"{name}={value}"])[name]) for value in values.split(",")
        ]
        if None in found:
            raise UsageError(f"--over {text!r}: null cannot be swept; leave {name} out for its default.")
        if len({str(value) for value in found}) < len(found):
            raise UsageError(f"--over {text!r}: a value stands twice.")
        grid[name] = found
    if not grid:
        raise UsageError("--over is missing: name what to sweep, for example --over loss.lambda1=0.1,1,10.")
    return grid


def _validation_counts(store: Store, settings: RunSettings) -> dict[str, int]:
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


def _begin(out: Path, content: dict[str, Any], force: bool) -> None:
    """Mark OUT as this sweep; EsadError where it is another, or no sweep."""
    import shutil

    from esad.preprocessing.store.store import write_json

    path = out / "sweep.json"
    content = json.loads(json.dumps(content))
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


def _row(cell: Cell, out: Path) -> dict[str, Any]:
    """What the cell's run says of itself; `auc` is NaN where it is not there."""
    path = out / "cells" / cell.name
    values: dict[str, Any] = {**cell.values, "seed": cell.seed, "run": str(path.relative_to(out))}
    if not (path / "model.safetensors").is_file():
        return {**values, "auc": float("nan"), "seconds": float("nan")}
    told = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
    return {**values, "auc": told["validation"]["auc"], "seconds": told["seconds"]}


def _summary(rows: list[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    """A row a combination: `auc` (mean over seeds; NaN unless all are there), `std`, `seeds`."""
    import pandas as pd

    groups = pd.DataFrame(rows).groupby(names, sort=False, dropna=False)["auc"]
    table = groups.agg(auc=lambda values: values.mean(skipna=False), std="std", seeds="count")
    return table.reset_index()


def _plain(settings: RunSettings) -> dict[str, Any]:
    return json.loads(settings.model_dump_json())


def _outcome(
    store: Path,
    out: Path,
    table: pd.DataFrame,
    names: list[str],
    chosen: dict[str, Any],
    counts: dict[str, int],
    refused: int,
) -> Outcome:
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
    records = json.loads(table.to_json(orient="records"))
    summary = {"best": json.loads(json.dumps(chosen, default=float)), "validation": counts, "cells": records}
    following = ["esad", "train", str(store), "--config", str(out / "best.yaml"), "--out", "run"]
    return Outcome(out, message, shlex.join(following), refused, summary)


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["sweep", *sys.argv[1:]])
