"""What all pictures of a call decide together, by their headers, before one is decoded: grey or colour, and one size."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from esad.pipeline.ingest.zip_sources import Member
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.stage.errors import EsadError, InputError
from esad.preprocessing.images import is_npz, npz_colours
from esad.preprocessing.natural.sets import PictureSet, set_colours
from esad.preprocessing.pictures import Colour, Header, read_header
from esad.preprocessing.zips import read_member

HEAD_BYTES = 1 << 16
"""Of a zip's member, as far as headers usually go; a picture that needs more is read whole."""


@dataclass(frozen=True)
class Survey:
    """The colour of the store, what to say of it, and the headers by source (empty where nothing depends on them)."""

    colour: Colour
    told: list[str] = field(default_factory=list)
    headers: Mapping[str, Header] = field(default_factory=dict)


def survey_images(
    archive: Path,
    sources: Sequence[str],
    members: Mapping[str, Member],
    sets: Mapping[str, PictureSet],
    settings: ImageSettings,
    out: Path | None,
) -> Survey:
    """Of picture files, members of zips, npz files and `sets` of pictures; those whose headers cannot be read have no say.

    Pictures that `out` already holds have decided, unless it is None: nothing is looked at.
    """
    before = stored_colour(out)
    if before or (settings.colour != "auto" and settings.size is not None):
        return Survey(_stated(settings) or before or "rgb")
    headers = dict(_headers(archive, [source for source in sources if source not in sets], members))
    votes = Counter[str](header.colour for header in headers.values())
    for source in sources:
        votes += npz_colours(archive / source) if is_npz(source) else Counter()
        votes += set_colours(archive, source, sets[source]) if source in sets else Counter()
    colour = _stated(settings) or _majority(votes)
    return Survey(colour, _told(settings, votes, colour), headers)


def stored_colour(out: Path | None) -> Colour | None:
    """What an earlier call decided for the pictures that lie in the store `out`; None where there are none."""
    if out is None:
        return None
    path = out / "parts" / "settings.json"
    if not path.is_file() or not any((out / "shards").glob("*.npy")):
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["settings"].get("colour")
    except (ValueError, KeyError, AttributeError, TypeError):  # damaged: whoever opens the store says so
        return None
    return found if found in ("grey", "rgb") else None


def check_one_size(
    headers: Mapping[str, Header], shape_of: Callable[[str], tuple[int, ...] | None], named: bool
) -> None:
    """EsadError naming two pictures (unless they are not to be `named`) whose sizes differ; else hours later.

    Headers only point at them: `shape_of` decodes, and is None for a picture that will be refused, which spoils nothing.
    """
    by_size: dict[tuple[int, int], list[str]] = {}
    for source, header in headers.items():
        by_size.setdefault(header.size, []).append(source)
    kept: tuple[str, tuple[int, ...]] | None = None
    for alike in by_size.values() if len(by_size) > 1 else ():
        shapes = ((source, shape_of(source)) for source in alike)
        source, shape = next(((source, shape) for source, shape in shapes if shape), (alike[0], None))
        if shape is None:
            continue
        kept = kept or (source, shape)
        if shape[:2] != kept[1][:2]:
            first, second = (kept[0], source) if named else ("one picture", "another")
            raise EsadError(mixed(first, kept[1], second, shape))


def mixed(first: str, one: tuple[int, ...], second: str, other: tuple[int, ...]) -> str:
    """What to tell of two pictures, (H, W, C), of different sizes."""
    sizes = [f"{shape[1]} x {shape[0]} pixels" for shape in (one, other)]
    return f"{first} is {sizes[0]}, {second} is {sizes[1]}: give one size with --size N."


def _stated(settings: ImageSettings) -> Colour | None:
    return None if settings.colour == "auto" else settings.colour


def _majority(votes: Counter[str]) -> Colour:
    """Colour where there are as many of either: it loses nothing."""
    return "grey" if votes["grey"] > votes["rgb"] else "rgb"


def _told(settings: ImageSettings, votes: Counter[str], colour: Colour) -> list[str]:
    if settings.colour != "auto" or min(votes["grey"], votes["rgb"]) == 0:
        return []
    kind = "grey" if colour == "grey" else "colour"
    return [
        f"{votes[colour]} of {votes.total()} pictures are {kind}: the others are made so, too; "
        "--colour grey or rgb decides otherwise."
    ]


def _headers(
    archive: Path, sources: Sequence[str], members: Mapping[str, Member]
) -> Iterator[tuple[str, Header]]:
    """(source, header) in the order of `sources`, but for those that cannot be read."""
    opened: dict[str, zipfile.ZipFile] = {}
    try:
        for source in sources:
            if is_npz(source):
                continue
            try:
                if source in members:
                    header = _header_of_member(archive, members[source], opened)
                else:
                    with (archive / source).open("rb") as file:
                        header = read_header(file)
            except (OSError, zipfile.BadZipFile, InputError):  # refused in words where it is read
                continue
            if header is not None:
                yield source, header
    finally:
        for each in opened.values():
            each.close()


def _header_of_member(archive: Path, member: Member, opened: dict[str, zipfile.ZipFile]) -> Header | None:
    """Keeps one zip open at a time: sources are sorted, so that the members of a zip lie together."""
    if member.file not in opened:
        for name in list(opened):
            opened.pop(name).close()
        opened[member.file] = zipfile.ZipFile(archive / member.file)
    zipped = opened[member.file]
    head = read_header(io.BytesIO(read_member(zipped, member.name, HEAD_BYTES)))
    if head is not None or member.size <= HEAD_BYTES:
        return head
    return read_header(io.BytesIO(read_member(zipped, member.name)))
