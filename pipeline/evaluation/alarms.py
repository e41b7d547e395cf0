"""What metrics.json says of thresholds: promised and achieved false alarms, and whether the items are like the reference normals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.counted_items import unseen
from esad.pipeline.evaluation.item_figures import group_codes
from esad.pipeline.runs.run_files import read_references
from esad.pipeline.scoring.open_scores import Scores
from esad.pipeline.scoring.slide_scores import suspicious
from esad.pipeline.thresholds.false_alarms import achieved, likeness, over_splits
from esad.pipeline.thresholds.reference_sets import LEVEL

if TYPE_CHECKING:
    import pandas as pd


def alarms(scores: Scores, items: pd.DataFrame, of_test: bool) -> dict[str, Any]:
    """`rule` and its sets, promised and achieved rates over the labelled `items` that count, over splits, and `likeness`.

    `of_test`: the items are the test part of the run's own split, so that reference normals and theirs may be shuffled.
    """
    rule = scores.marker.get("thresholds")
    level = max([float(each["level"]) for each in rule["sets"]], default=LEVEL) if rule else LEVEL
    fewest = min([int(each["normals"]) for each in rule["sets"]], default=0) if rule else 0
    return {
        "rule": rule,
        "achieved": _achieved(items, fewest or int(scores.marker.get("normals", 99)), level),
        "by": _by_view(items),
        "splits": _over_splits(scores, items, level, of_test),
        "likeness": _likeness(scores),
    }


def _achieved(items: pd.DataFrame, references: int, level: float) -> dict[str, Any] | None:
    if items.empty:
        return None
    labels = items["label"].to_numpy(dtype="int8")
    return achieved(
        items["p_value"].to_numpy(dtype=float),
        suspicious(items),
        labels,
        group_codes(items),
        references,
        level,
    )


def _by_view(items: pd.DataFrame) -> dict[str, Any]:
    """The share of each projection's normals above the threshold: one threshold for all may hold for none."""
    if "view" not in items or items["view"].isna().all():
        return {}
    normals = items[items["label"] == 0]
    alarm, views = suspicious(normals), normals["view"].astype("string")
    names = sorted(views.dropna().unique())
    return {
        "view": {
            str(name): {
                "normals": int((views == name).sum()),
                "achieved": float(alarm[(views == name).fillna(False)].mean()),
            }
            for name in names
        }
    }


def _over_splits(scores: Scores, items: pd.DataFrame, level: float, of_test: bool) -> dict[str, Any] | None:
    import pandas as pd

    kept = ["item_id", "score", "group"]
    normals = (
        items.loc[items["label"] == 0, [name for name in kept if name in items]] if len(items) else items
    )
    if of_test and (scores.run / "normals.parquet").is_file():
        references = read_references(scores.run)
        references = references[[name for name in kept if name in references]]
        normals = pd.concat([normals, references], ignore_index=True) if len(normals) else references
    if normals.empty:
        return None
    return over_splits(normals["score"].to_numpy(dtype=float), group_codes(normals), level)


def _likeness(scores: Scores) -> dict[str, Any] | None:
    """`likeness` of what the run has not seen and nobody called an anomaly."""
    table = scores.table
    chosen = table[unseen(scores) & (table["label"] != 1).fillna(True)]
    if chosen.empty:
        return None
    return likeness(chosen["p_value"].to_numpy(dtype=float), group_codes(chosen))


def alarm_notes(content: dict[str, Any]) -> list[str]:
    """What of `alarms` makes thresholds say less than they promise, a sentence or two each."""
    found, alike, rule, said = content["achieved"], content["likeness"], content["rule"], []
    if rule and rule["held_out"] is False:
        said.append(
            "The reference normals are training items: new normals score higher, so the promised rates do not hold."
        )
    if found and not found["kept"]:
        said.append("There are more false alarms than promised: new normals are not like those held out.")
    if alike and alike["alike"] is False:
        side = "above" if alike["above_median"] > 0.5 else "below"
        share = alike["above_median"] if side == "above" else 1 - alike["above_median"]
        said.append(
            f"These items are not like the normals of training: {100 * share:.0f} % of {alike['items']} score {side} the median of the "
            "held-out normals (50 % would). Thresholds and p-values do not hold for them: train with normals from where they come from."
        )
    return said


def alarm_sentences(content: dict[str, Any]) -> str:
    """`alarms` in words; empty where nothing was measured."""
    found, words = content["achieved"], []
    if found:
        interval = found["interval"]
        within = f" [{100 * interval[0]:.3g}, {100 * interval[1]:.3g}]" if interval else ""
        caught = (
            ""
            if found["anomalies_found"] is None
            else f"; {100 * found['anomalies_found']:.3g} % of anomalies"
        )
        words.append(
            f"Above the threshold: {100 * found['achieved']:.3g} %{within} of {found['normals']} normals, "
            f"{100 * found['promised']:.3g} % promised{caught}."
        )
    return " ".join(words + alarm_notes(content))
