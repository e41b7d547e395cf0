"""What a person should know of the slides of a finished store."""

from __future__ import annotations

from dataclasses import replace

from esad.pipeline.slides.outline_notes import Outlined, outline_notes
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.store import read_sources


def with_slide_notes(outcome: Outcome, outlined: Outlined | None = None) -> Outcome:
    """Say which slides gave no tile, lost tiles, are blurred or kept their stains, and what was understood of their outlines.

    The counts are put into the summary.
    """
    sources = read_sources(outcome.out)
    bare = sources[(sources["state"] == "done") & (sources["items"] == 0)]
    lost = sources[sources["unreadable_tiles"].fillna(0) > 0]
    blurred = sources[sources["focus_note"].notna()]
    assumed = sources[sources["reader_note"].notna()] if "reader_note" in sources else sources[:0]
    guarded = sources[sources["stain_guard"].notna()]
    for source, reason in bare[["source", "reason"]].head(5).itertuples(index=False):
        say(f"{source}: {reason}")
    for source, count in lost[["source", "unreadable_tiles"]].head(5).itertuples(index=False):
        say(f"{source}: {int(count)} tiles could not be read and are left out.")
    for source, note in blurred[["source", "focus_note"]].head(5).itertuples(index=False):
        say(f"{source}: {note}")
    for source, note in assumed.reindex(columns=["source", "reader_note"]).head(5).itertuples(index=False):
        say(f"{source}: {note}")
    for source, reason in guarded[["source", "stain_guard"]].head(5).itertuples(index=False):
        say(f"{source}: stain: {reason}")
    line, understood = outline_notes(sources, outlined) if outlined else ("", None)
    if line:
        say(line)
    counts = {
        "outlines": understood,
        "left_out": len(bare),
        "unreadable_tiles": int(lost["unreadable_tiles"].sum()),
        "blurred_tiles": int(sources["blurred_tiles"].fillna(0).sum()),
        "blurred": len(blurred),
        "stain_guarded": len(guarded),
    }
    message = outcome.message
    if len(bare):
        message += f" {len(bare)} slides gave no tile (their reason is in sources.parquet)."
    if len(lost):
        message += f" {counts['unreadable_tiles']} tiles of {len(lost)} damaged slides are missing."
    return replace(outcome, message=message, summary={**outcome.summary, **counts})
