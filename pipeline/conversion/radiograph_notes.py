"""What a person should know of the radiographs of a finished store."""

from __future__ import annotations

from dataclasses import replace

from esad.pipeline.conversion.image_notes import count_notes
from esad.pipeline.conversion.radiographs import BURNED_IN, LEFT_OUT, TURNED
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.pictures import NOTES
from esad.preprocessing.radiographs.dicom_display import (
    BAD_PADDING,
    BAD_TABLE,
    BAD_WINDOW,
    HALF_RESCALE,
    OTHER_WINDOW,
)
from esad.preprocessing.radiographs.dicom_pixels import BITS_ABOVE, FROM_PERCENTILES
from esad.preprocessing.radiographs.dicom_views import CONTRADICTS, OTHER_PART, VIEW_UNKNOWN
from esad.preprocessing.radiographs.nih import NOT_SQUARE, OUTSIDE, SCALED
from esad.preprocessing.store.store import read_sources

STATED = {"burned_in": BURNED_IN, "turned": TURNED}
ASSUMED = (
    VIEW_UNKNOWN,
    OTHER_PART,
    CONTRADICTS,
    BAD_WINDOW,
    OTHER_WINDOW,
    BAD_TABLE,
    BAD_PADDING,
    HALF_RESCALE,
    FROM_PERCENTILES,
    BITS_ABOVE,
    *NOTES,
    SCALED,
    NOT_SQUARE,
)
"""Notes on how a picture was read. All notes are of these closed lists but for the numbers of a box that is OUTSIDE: none holds a
file's own words."""


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
    """`outcome`, which also tells how many radiographs state burnt-in text or another orientation, and what was assumed."""
    found = count_notes(outcome, (*STATED.values(), *ASSUMED))
    counts = {name: found.get(note, 0) for name, note in STATED.items()}
    message = outcome.message + _without_group(outcome)
    if counts["burned_in"]:
        message += f" {counts['burned_in']} state {BURNED_IN}."
    if counts["turned"]:
        message += f" {counts['turned']} state {TURNED}; they are taken as they lie."
    assumed = [f"{found[note]} {note}" for note in ASSUMED if note in found]
    if assumed:
        message += f" Noted: {'; '.join(assumed)}."
    message += _outside(outcome)
    return replace(outcome, message=message, summary={**outcome.summary, **counts})


def _without_group(outcome: Outcome) -> str:
    """How many radiographs have no patient, where others have one; empty where all have, or none."""
    import pandas as pd

    groups = pd.read_parquet(outcome.out / "manifest.parquet", columns=["group"])["group"]
    lacking = int(groups.isna().sum())
    if not 0 < lacking < len(groups):
        return ""
    return f" {lacking} have no group: nothing keeps those of one patient on one side of a split."


def _outside(outcome: Outcome) -> str:
    """How many boxes lie outside their pictures, and the first of them; empty where none does."""
    sources = read_sources(outcome.out)
    if "notes" not in sources:  # a store that is older than notes
        return ""
    found = sources[sources["notes"].astype("string").str.contains(OUTSIDE, regex=False).fillna(False)]
    if found.empty:
        return ""
    first = found.iloc[0]
    note = next(each for each in str(first["notes"]).split("; ") if each.endswith(OUTSIDE))
    return f" {len(found)} have a box that {OUTSIDE} (first: {first['source']}, {note.removesuffix(f' {OUTSIDE}')}); correct --metadata."
