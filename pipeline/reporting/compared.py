"""Several runs side by side: figures, false alarms, and whether they were measured on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.counted_items import evaluated_items
from esad.pipeline.reporting.plots import intervals_plot
from esad.pipeline.runs.run_folder import input_settings
from esad.pipeline.scoring.open_scores import Scores

if TYPE_CHECKING:
    pass


def measured_on(scores: Scores, store: Mapping[str, Any]) -> dict[str, Any]:
    """Which items figures are of: their labels (int8, by item_id), and how their store made them; `store` is config.yaml's section."""
    items, _ = evaluated_items(scores)
    labels = items.set_index("item_id")["label"].astype("int8")
    made = {
        "kind": store["kind"],
        "shape": store["shape"],
        **input_settings(store["kind"], store["settings"]),
    }
    return {"labels": labels[~labels.index.duplicated()], "made": made, "inputs": scores.marker.get("inputs")}


def _per_group(metrics: dict[str, Any]) -> bool:
    return bool((metrics["alarms"]["rule"] or {}).get("per_group"))


def comparison(sections: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`rows` of figures, a `plot` of AUC with intervals, and `notes` on what cannot be compared; None for a single run.

    The sections are those of `esad.pipeline.reporting.section.section`, `compared`.
    """
    if len(sections) < 2:
        return None
    names, first, rows = apart_names(sections), sections[0]["measured"], []
    for section, name in zip(sections, names, strict=True):
        achieved = section["metrics"]["alarms"]["achieved"]
        rows.append(
            {
                "name": name,
                "metrics": section["metrics"],
                "alarms": achieved,
                "same": same_items(first, section["measured"]),
            }
        )
    rows[0]["same"] = None
    apart = [row["name"] for row in rows[1:] if row["same"]]
    notes = []
    if apart:
        notes.append(
            f"Not measured on the same items as {names[0]}: {', '.join(apart)}. Their figures differ for this reason, too, and a "
            "difference is no proof that one run is better."
        )
    methods = {section["metrics"].get("score") for section in sections}
    if len(methods) > 1 or len({section["method"] for section in sections}) > 1:
        notes.append(
            "Scores of different methods have no common unit: compare AUC, rates and percentiles, not scores or thresholds."
        )
    by_group = [name for section, name in zip(sections, names, strict=True) if _per_group(section["metrics"])]
    if by_group:
        notes.append(
            f"One threshold is for a whole group in {', '.join(by_group)}: false alarms and anomalies found there are shares of groups, "
            "of the other runs shares of items."
        )
    promised = {f"{row['alarms']['promised']:.2g}" for row in rows if row["alarms"]}
    if len(promised) > 1:
        notes.append(
            "Runs promise different rates of false alarms: the shares of anomalies found at their thresholds cannot be compared."
        )
    measured = [
        (row["name"], row["metrics"]["auc"], row["metrics"]["auc_interval"])
        for row in rows
        if row["metrics"]["auc"] is not None
    ]
    return {"rows": rows, "notes": notes, "plot": intervals_plot(measured) if len(measured) > 1 else None}


def same_items(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Empty where figures are of the same items with the same labels, made in the same way; else what differs."""
    one, two = first["labels"], other["labels"]
    if not len(one) or not len(two):
        return "no: one of them has no items with a label"
    if first["made"]["kind"] != other["made"]["kind"]:
        return "no: items are of another kind"
    if first["made"] != other["made"]:
        return "no: items were made with other settings"
    if set(one.index) == set(two.index):
        changed = int((one != two.reindex(one.index)).sum())
        if changed:
            return f"no: {changed} of {len(one)} items have another label"
        return (
            ""
            if first["inputs"] == other["inputs"]
            else "not known: as many items of the same names, from stores of other files"
        )
    shared = int(two.index.isin(one.index).sum())
    return f"no: {shared} of {len(two)} items are also among the first run's {len(one)}"


def apart_names(sections: Sequence[Mapping[str, Any]]) -> list[str]:
    """The runs' names; `titles` where two would have the same."""
    plain = [str(section["run"]) for section in sections]
    return plain if len(set(plain)) == len(plain) else titles(sections)


def titles(sections: Sequence[Mapping[str, Any]]) -> list[str]:
    """`RUN on STORE` of each, numbered where two would have the same."""
    names = [f"{section['run']} on {section['store']}" for section in sections]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]
