"""What a published data set is made of, counted from its lists before any image is opened."""

from __future__ import annotations

from pathlib import Path

from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.outcome import Outcome

PROTOCOLS = ("camelyon16", "nih-ap", "nih-pa", "nih-subset")


def count_set(
    protocol: str, metadata: Path | None = None, lists: Path | None = None, seed: int = 0
) -> Outcome:
    """Count the items of a published data set by part and label; the counts are the outcome's summary.

    `lists` is a list archive (camelyon16, nih-subset), `metadata` NIH's Data_Entry file or its folder (nih-ap, nih-pa).
    Raises UsageError for an unknown protocol, or where its lists or metadata are not given or not readable.
    """
    from esad.preprocessing.radiographs.nih import read_metadata
    from esad.preprocessing.splits.published_lists import camelyon16_tiles, counts, nih_protocol

    if protocol not in PROTOCOLS:
        raise UsageError(f"--protocol {protocol!r} is unknown; expected one of {', '.join(PROTOCOLS)}.")
    if protocol == "camelyon16":
        if lists is None:
            raise UsageError("--protocol camelyon16 needs --tile-list FILE.tar.gz, the published lists.")
        table = camelyon16_tiles(lists)
    else:
        table = nih_protocol(protocol, read_metadata(metadata) if metadata else None, lists, seed)
    place = Path(lists or metadata or ".")
    found = counts(table)
    parts = "; ".join(f"{name} {of['normal']} normal, {of['anomaly']} anomaly" for name, of in found.items())
    return Outcome(place, f"{protocol}: {parts}.", summary=found)
