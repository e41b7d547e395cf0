"""Scores through an export beside the run's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.run_folder import Run, resolve_device
from esad.pipeline.stage.outcome import Outcome, items_of

if TYPE_CHECKING:
    import pandas as pd

    from esad.preprocessing.store.store import Store


TOLERANCE = 1e-4
"""Largest difference of two scores that pass for the same, as a share of the spread of the run's scores."""


def checkpoint_scores(run: Run, store: Store, positions: np.ndarray, device: str) -> pd.DataFrame:
    """Rows of scores.parquet as `esad score` would write them, of the items at `positions`."""
    from esad.pipeline.runs.items import as_needed
    from esad.pipeline.scoring.scores import final_scores, raw_scores

    chosen = resolve_device(device)
    raw = raw_scores(run.method(chosen), as_needed(run.seen(store)), positions, chosen, run.augmentation)
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


def show_comparison(results: dict[str, dict[str, Any]], items: int) -> None:
    """Print a line per export for the person."""
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


def comparison_outcome(run: Path, store: Store, results: dict[str, dict[str, Any]], items: int) -> Outcome:
    """Which exports give the run's own scores; it has failed where one does not."""
    failed = sorted(name for name, result in results.items() if not result["passed"])
    what = f"{items} {items_of(store.kind)}"
    if failed:
        message = f"{run}: {' and '.join(failed)} give other scores than the run itself on {what}."
    else:
        message = f"{run}: {' and '.join(results)} give the run's own scores on {what}."
    summary = {"items": items, "tolerance": TOLERANCE, **results}
    scored = any((run / "scores").glob("*/scores.parquet"))
    following = "" if failed else shlex.join(["esad", "report" if scored else "score", str(run)])
    return Outcome(run, message, following, 0, summary, bool(failed))
