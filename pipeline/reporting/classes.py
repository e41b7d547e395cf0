"""How well each class of anomalies is told from what is normal, where a store has several classes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from esad.pipeline.evaluation.metrics import auc

FEWEST_CLASSES = 3
"""With two, one normal and one not, the table would say the figures above once more."""
CLASSES_LISTED = 40


def class_rows(items: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each class of `items` (label, score, class_name): name, meaning, items, and of anomalies the AUC against all
    normal items; the least found first, normal classes last. [] without classes."""
    if "class_name" not in items or items["class_name"].nunique() < FEWEST_CLASSES:
        return []
    known = items[items["label"].notna() & items["class_name"].notna()]
    normal = known[known["label"] == 0]
    rows: list[dict[str, Any]] = []
    for (name, label), group in known.groupby(["class_name", "label"], sort=True):
        both = pd.concat([normal, group])
        area = auc(both["score"].to_numpy(), both["label"].to_numpy(int)) if label == 1 else None
        rows.append({"name": str(name), "normal": label == 0, "items": len(group), "auc": area})
    rows.sort(key=lambda row: (row["normal"], 1.0 if row["auc"] is None else row["auc"]))
    return rows[:CLASSES_LISTED]
