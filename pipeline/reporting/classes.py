"""How well each class of anomalies is told from what is normal, as metrics.json has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSES_LISTED = 40


def class_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each class of `metrics` (`evaluation.item_figures.by_class`, with its `name`): the least found first, those
    without a figure next, normal ones last; at most CLASSES_LISTED. [] without figures by class."""
    rows = [{"name": name, **figures} for name, figures in metrics["by"].get("class", {}).items()]
    rows.sort(key=lambda row: (not row["anomaly"], row["auc"] is None, row["auc"] or 0.0))
    return rows[:CLASSES_LISTED]
