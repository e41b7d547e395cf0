"""Thresholds and false alarms, as the report shows them."""

from __future__ import annotations

from typing import Any

from esad.pipeline.evaluation.alarms import alarm_notes

SHOWN = 40
"""Reference sets in the table; by slide there may be thousands."""


def alarm_rows(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The sets of scores.json, what was reached, and what to mind, of a metrics.json; None of one by an earlier version."""
    found = metrics.get("alarms")
    if not found or not (found["rule"] or found["achieved"]):
        return None
    rule = found["rule"] or {"sets": [], "by": None, "per_group": False}
    return {
        "sets": rule["sets"][:SHOWN], "by": rule["by"], "per_group": rule["per_group"], "achieved": found["achieved"],
        "views": found["by"].get("view", {}), "splits": found["splits"], "notes": alarm_notes(found),
    }  # fmt: skip
