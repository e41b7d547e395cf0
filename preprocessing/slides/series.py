"""DICOM files that are one slide: the levels, label and overview of a series; copies, and files that share UIDs by mistake.

OpenSlide opens all files of a series in a folder as one slide, whichever it is given. It tells them apart by their
SOPInstanceUID (PS3.3, C.12.1): of two files with the same one it takes either, so that levels of two slides can mix.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

SERIES_UID = 0x0020000E
COPY = "the same file as another of its folder, under another name; it is read once."
CONFLICT = (
    "another file of its folder has the same UIDs and other content, and the series has further levels: which belong together "
    "cannot be known. Put each slide into a folder of its own."
)
SHARED = "another file of its folder has the same UIDs and other content; each is read as a slide of its own"


@dataclass
class SlideSeries:
    """What to read of an archive. `sources`: one file a slide, and those that are told of; `parts` counts further files.

    Of the sources, `copies` and `refused` are not read, for the reason that they are mapped to; `notes` are of others.
    """

    sources: list[str]
    parts: int = 0
    copies: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Instance:
    """A DICOM file: its UIDs, and whether it holds a level of the slide (no label, no overview)."""

    source: str
    series: str
    uid: str
    level: bool


def has_dicom_mark(path: Path) -> bool:
    """Whether the file has "DICM" at byte 128 (PS3.10)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def slides_of(archive: Path, sources: Iterable[str]) -> SlideSeries:
    """`sources` (relative to `archive`) with one file for each DICOM series of a folder, in the same order.

    The first file that holds a level stands for the series. Of files with the same UIDs, those with the same bytes are
    copies; others are slides of their own where the series has no other level, and are refused where it has.
    """
    sources = list(sources)
    groups: dict[tuple[str, str], list[_Instance]] = defaultdict(list)
    for source in sources:
        found = _instance(archive, source)
        if found is not None:
            groups[(str((archive / source).parent), found.series)].append(found)
    whole = SlideSeries(sources)
    parts: set[str] = set()
    for members in groups.values():
        if len(members) > 1:
            parts |= _sort_out(archive, members, whole)
    whole.sources, whole.parts = [source for source in sources if source not in parts], len(parts)
    return whole


def _sort_out(archive: Path, members: list[_Instance], whole: SlideSeries) -> set[str]:
    """Enter what is to be told of a series into `whole`; the files that are parts of its slide, and need no word."""
    levels = [found for found in members if found.level]
    chosen = (levels or members)[0].source
    by_uid: dict[str, dict[bytes, list[str]]] = defaultdict(lambda: defaultdict(list))
    alone = {found.uid for found in levels}
    for found in levels:
        twice = sum(other.uid == found.uid for other in levels) > 1
        by_uid[found.uid][_digest(archive / found.source) if twice else b""].append(found.source)
    for contents in by_uid.values():
        firsts = [names[0] for names in contents.values()]
        whole.copies |= {name: COPY for names in contents.values() for name in names[1:]}
        if len(contents) > 1 and len(alone) == 1:
            whole.notes |= dict.fromkeys(firsts, SHARED)
        elif len(contents) > 1:
            whole.refused |= dict.fromkeys([*firsts, chosen], CONFLICT)
    told = {chosen, *whole.copies, *whole.refused, *whole.notes}
    return {found.source for found in members} - told


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _instance(archive: Path, source: str) -> _Instance | None:
    """The UIDs of a DICOM file; None where it is none, or has none: opening it as a slide will say what is wrong."""
    path = archive / source
    if not has_dicom_mark(path):
        return None
    try:
        with path.open("rb") as file:
            header = read_partial(file, stop_when=lambda tag, vr, length: int(tag) > SERIES_UID)
        series, uid = (str(header.get(name, "")) for name in ("SeriesInstanceUID", "SOPInstanceUID"))
        kind = header.get("ImageType", None) or []
        level = "VOLUME" in ([kind] if isinstance(kind, str) else list(kind))
    except (
        InvalidDicomError,
        OSError,
        ValueError,
        EOFError,
        NotImplementedError,
        TypeError,
        AttributeError,
        KeyError,
    ):
        return None
    return _Instance(source, series, uid or source, level) if series else None
