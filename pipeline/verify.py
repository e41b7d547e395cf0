"""`esad verify RUN`: whether a run's exports give its own scores, item by item and in the same order."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.export import export
from esad.pipeline.scoring.heat import evenly
from esad.pipeline.stage.outcome import Outcome, items_of
from esad.pipeline.training.run_folder import Run, open_run, resolve_device

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Store

MOST_ITEMS = 512
TOLERANCE = 1e-4
"""Largest difference of two scores that pass for the same, as a share of the spread of the run's scores."""


def verify(run: Path, store: Path | None = None, device: str = "cpu") -> Outcome:
    """Score up to MOST_ITEMS items of `store` (default: the run's own), evenly spaced, from the weights and from each
    export; what is not exported yet is. `device` is that of the first.

    The outcome failed where scores differ by more than TOLERANCE of their spread (`differences`). A run on tables has
    no bundle, which is said.
    """
    from esad.pipeline.exporting.bundle import bundle_scores, check_bundle
    from esad.pipeline.exporting.onnx_model import FILE, onnx_scores
    from esad.preprocessing.store.store import Store

    opened = open_run(run)
    target = Store(store) if store else opened.training_store()
    opened.check(target)
    positions = evenly(np.arange(len(target)), MOST_ITEMS)
    own = checkpoint_scores(opened, target, positions, device)["score"].to_numpy(dtype=float)
    found = {}
    if target.kind != "table":
        bundle = export(run, "bundle").out
        check_bundle(opened, bundle)
        found["bundle"] = bundle_scores(bundle, target, positions)
    found["onnx"] = onnx_scores(export(run, "onnx").out / FILE, target, positions)
    results = {name: differences(own, table["score"].to_numpy(dtype=float)) for name, table in found.items()}
    _show(results, len(positions))
    failed = sorted(name for name, result in results.items() if not result["passed"])
    what = f"{len(positions)} {items_of(target.kind)}"
    if failed:
        message = f"{run}: {' and '.join(failed)} give other scores than the run itself on {what}."
    else:
        message = f"{run}: {' and '.join(results)} give the run's own scores on {what}."
    summary = {"items": len(positions), "tolerance": TOLERANCE, **results}
    scored = any((run / "scores").glob("*/scores.parquet"))
    following = "" if failed else shlex.join(["esad", "report" if scored else "score", str(run)])
    return Outcome(run, message, following, 0, summary, bool(failed))


def checkpoint_scores(run: Run, store: Store, positions: np.ndarray, device: str) -> pd.DataFrame:
    """Rows of scores.parquet as `esad score` would write them, of the items at `positions`."""
    from esad.pipeline.score import final_scores, raw_scores
    from esad.pipeline.training.items import as_needed

    chosen = resolve_device(device)
    raw = raw_scores(run.method(chosen), as_needed(store), positions, chosen, run.augmentation)
    raw.insert(0, "item_id", store.manifest["item_id"].to_numpy()[positions])
    return final_scores(raw, run.normals, run.settings.score.kind)


def differences(own: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """How far `other` (N,) is from `own` (N,): `difference`, the largest, as a share of the spread of `own`; `swapped`,
    pairs that stand in the other order though their own scores are further apart than TOLERANCE; and `passed`.

    The spread is the distance between the 5th and 95th percentile (where that is 0, the largest size of a score, or 1).
    """
    low, high = np.quantile(own, (0.05, 0.95))
    scale = float(high - low) or float(np.abs(own).max()) or 1.0
    difference = float(np.abs(other - own).max() / scale)
    above = own[:, None] - own[None] > TOLERANCE * scale
    swapped = int((above & (other[:, None] < other[None])).sum())
    return {
        "difference": difference,
        "swapped": swapped,
        "passed": bool(difference <= TOLERANCE and swapped == 0),
    }


def _show(results: dict[str, dict[str, Any]], items: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "scored through",
        "items",
        "largest difference",
        "pairs swapped",
        "",
        title="Against model.safetensors",
    )
    for name, result in results.items():
        verdict = "[green]same" if result["passed"] else "[red]DIFFERS"
        table.add_row(
            name, str(items), f"{result['difference']:.1e} of the spread", str(result["swapped"]), verdict
        )
    Console(stderr=True).print(table)


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["verify", *sys.argv[1:]])
