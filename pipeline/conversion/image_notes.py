"""What a person should know of the pictures of a finished store."""

from __future__ import annotations

from dataclasses import replace

from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.natural.sets import UNLABELLED, UNNAMED
from esad.preprocessing.pictures import NOTES
from esad.preprocessing.store.store import read_sources

SUMMARY = {
    "to_grey": NOTES[0], "to_rgb": NOTES[1], "turned": NOTES[2],
}  # fmt: skip


def count_notes(outcome: Outcome, notes: tuple[str, ...] | None = None) -> dict[str, int]:
    """How many sources of the store carry each of `notes` (None: each that there is, sorted), as far as there are any."""
    table = read_sources(outcome.out)
    if "notes" not in table:  # a store that is older than notes
        return {}
    told = table["notes"].dropna().astype(str).str.split("; ").explode().value_counts()
    return {
        note: int(told[note]) for note in (sorted(told.index) if notes is None else notes) if note in told
    }


def with_image_notes(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells how many inputs were converted, turned, or read by an assumption."""
    counts = count_notes(outcome, (*NOTES, UNLABELLED, UNNAMED))
    summary = {name: counts.get(note, 0) for name, note in SUMMARY.items()}
    message = outcome.message
    if counts:
        message += f" Noted: {'; '.join(f'{count} {note}' for note, count in counts.items())}."
    return replace(outcome, message=message, summary={**outcome.summary, **summary})
