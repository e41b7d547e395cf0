"""Runs for the tests of figures: rows as `esad.pipeline.drawing.curves.run_rows` gives them, and trainings by the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esad.pipeline.cli.app import call
from tests.pipeline.commands import words


def train(store: Path, run: Path, settings: Mapping[str, Any], scored: bool = True) -> None:
    """Train a RUN on a STORE as a person would, and score it."""
    assert call(["train", str(store), "--out", str(run), "--device", "cpu", *words(settings)]) == 0
    if scored:
        assert call(["score", str(run), "--overlays", "none"]) == 0


def row(
    lambda1: float,
    lambda2: float | None = 1.0,
    auc: float | None = 0.5,
    seed: int = 0,
    data_set: str = "a",
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A run with these settings and this AUC."""
    others = {"train.epochs": 1, "method": "esad", **(settings or {})}
    return {
        "run": f"{lambda1} {lambda2} {seed} {data_set}", "data_set": data_set, "method": "esad", "loss.lambda1": lambda1,
        "loss.lambda2": lambda2, "seed": seed, "auc": auc, "evaluated": "test part", "normal": 3, "anomaly": 2,
        "settings": others, "key": json.dumps([data_set, others]), "member": json.dumps({"seed": seed}),
    }  # fmt: skip
