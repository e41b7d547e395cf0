"""Thresholds and false alarms, as the report shows them."""

from __future__ import annotations

from typing import Any

from esad.pipeline.evaluation.alarms import alarm_notes, counted_as, known_normals
from esad.pipeline.evaluation.item_figures import DIVIDED_BY

SHOWN = 40
"""Reference sets in the table; by slide there may be thousands."""


def alarm_rows(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The sets of scores.json, what was reached, and what to mind, of a metrics.json; None where there are none."""
    found = metrics["alarms"]
    if not (found["rule"] or found["achieved"]):
        return None
    rule = found["rule"] or {"sets": [], "by": None, "per_group": False}
    return {
        "sets": rule["sets"][:SHOWN], "by": rule["by"], "per_group": rule["per_group"], "achieved": found["achieved"],
        "parts": [(name, found["by"][name]) for name in DIVIDED_BY if name in found["by"]], "splits": found["splits"],
        "notes": alarm_notes(found), "counted": counted_as(found), "caught": counted_as(found, "anomalies"),
        "known": known_normals(found), "likeness": found["likeness"],
    }  # fmt: skip
