"""What a person should know of the radiographs of a finished store."""

from __future__ import annotations

from dataclasses import replace

from esad.pipeline.conversion.radiographs import BURNED_IN, LEFT_OUT, TURNED
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.store.store import read_sources


def with_left_out(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells how many radiographs were left out, and why."""
    table = read_sources(outcome.out)
    reasons = table.loc[(table["state"] == "done") & (table["items"] == 0), "reason"]
    if reasons.empty:
        return replace(outcome, summary={**outcome.summary, "left_out": 0})
    told = "; ".join(
        f"{count} {str(reason).removeprefix(LEFT_OUT)}"
        for reason, count in reasons.value_counts().sort_index().items()
    )
    message = f"{outcome.message} {len(reasons)} left out ({told})."
    return replace(outcome, message=message, summary={**outcome.summary, "left_out": len(reasons)})


def with_radiograph_notes(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells how many radiographs state burnt-in text or another orientation."""
    notes = read_sources(outcome.out)["notes"].fillna("")
    counts = {
        name: int(notes.str.contains(note, regex=False).sum())
        for name, note in (("burned_in", BURNED_IN), ("turned", TURNED))
    }
    message = outcome.message
    if counts["burned_in"]:
        message += f" {counts['burned_in']} state {BURNED_IN}."
    if counts["turned"]:
        message += f" {counts['turned']} state {TURNED}; they are taken as they lie."
    return replace(outcome, message=message, summary={**outcome.summary, **counts})
