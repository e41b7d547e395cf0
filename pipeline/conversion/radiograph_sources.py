"""Which radiographs a call reads: those that a DICOMDIR lists, those of a published set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.conversion.radiographs import RadiographTask, table_digest
from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.zip_sources import Member, with_members
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.settings.ignored import warnings_of_radiographs
from esad.pipeline.stage.errors import EsadError, InputError, UsageError


@dataclass(frozen=True)
class RadiographListing:
    """What is known of a call's radiographs before one is opened."""

    archive: Path
    sources: list[str]
    settings: RadiographSettings
    members: dict[str, Member]
    """Those of the sources that lie in a zip."""
    known: pd.DataFrame | None
    """NIH's table, or regions, by source."""
    key: bytes = field(repr=False)
    """Of the hashes that stand for patients."""
    warnings: list[str]
    rows: dict[str, str] = field(default_factory=dict)
    """Sources whose row in `known` has another name than theirs, such as another ending -> that name."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the members of zips."""
        return {source: member.fingerprint for source, member in self.members.items()}

    def resolved_settings(self) -> dict[str, Any]:
        """The settings as a store keeps them: of key and metadata not their names but what they hold."""
        from esad.preprocessing.privacy import key_name

        own = {"group_key": key_name(self.key), "metadata": table_digest(self.known)}
        return {**self.settings.model_dump(), **own}

    def task(self) -> RadiographTask:
        """What every unit of the call shares."""
        return RadiographTask(self.archive, self.settings, self.key, self.known, self.members, self.rows)


def list_radiographs(
    inputs: Sequence[Path],
    settings: RadiographSettings,
    options: IngestOptions,
    metadata: Path | None = None,
    subset_list: Path | None = None,
) -> RadiographListing:
    """Find the radiographs of `inputs`, in folders, zips and DICOMDIRs, and what metadata and protocol say of them.

    Raises UsageError for metadata that is none, EsadError where no radiograph is of the protocol's set.
    """
    from esad.preprocessing.privacy import read_key
    from esad.preprocessing.radiographs.nih import read_metadata, rows_of
    from esad.preprocessing.radiographs.reading import is_radiograph, zip_radiographs

    archive, sources = find_sources(
        inputs,
        lambda path: path.suffix.lower() == ".zip" or is_radiograph(path),
        options.out,
        named=not options.anonymous,
    )
    sources, warnings = with_listed(archive, sources, named=not options.anonymous)
    sources, members = with_members(archive, sources, zip_radiographs)
    key = read_key(options.group_key)
    known = read_metadata(metadata) if metadata else None
    rows: dict[str, str] = {}
    if settings.protocol is not None:
        known, sources, rows, told = of_protocol(
            settings, known, subset_list, sources, named=not options.anonymous
        )
        warnings += told
    elif known is not None:
        rows = rows_of(known.index, sources)
        warnings += _matched(known, sources, rows, named=not options.anonymous)
    warnings += [
        *warnings_of_radiographs(settings),
        *_unread_folders(sources, known is not None or options.labels is not None),
    ]
    rows = {source: row for source, row in rows.items() if row not in (source, Path(source).name)}
    return RadiographListing(archive, sources, settings, members, known, key, warnings, rows)


def _unread_folders(sources: Sequence[str], told: bool) -> list[str]:
    """What to say of folders that are called as classes or parts are, where neither metadata nor labels were given (`told`)."""
    from esad.preprocessing.splits.labels import SPLIT_WORDS, SPLITS
    from esad.preprocessing.splits.two_values import CLASS_WORDS, fold

    folders = {part for source in sources for part in source.split("/")[:-1]}
    found = sorted(name for name in folders if fold(name) in {*CLASS_WORDS, *SPLITS, *SPLIT_WORDS})
    if told or not found:
        return []
    return [
        f"Folders called {', '.join(found)} say nothing of a radiograph here: give labels and parts with --labels FILE.csv (source, label, "
        "split). Class folders of PNG or JPEG are read by esad images."
    ]


def _matched(known: pd.DataFrame, sources: Sequence[str], rows: Mapping[str, str], named: bool) -> list[str]:
    """What to say of how the rows of metadata and the radiographs go together (`rows`); UsageError where a row may be of two of these."""
    from esad.preprocessing.radiographs.nih import LISTS

    of_row: dict[str, list[str]] = {}
    for source, row in rows.items():
        if source != row:
            of_row.setdefault(row, []).append(source)
    twice = next((places for places in of_row.values() if len(places) > 1), None)
    if twice:
        of = f" ({twice[0]}, {twice[1]})" if named else ""
        raise UsageError(
            f"--metadata: a row names its file without a folder, and there are two of that name{of}. Name them with their folders, or take "
            "one away."
        )
    if sources and not rows:
        shown = f"; a radiograph here is called {sources[0]}, a row {known.index[0]}" if named else ""
        raise UsageError(
            f"--metadata: none of its {len(known)} rows is of one of the {len(sources)} radiographs{shown}."
        )
    told = f"--metadata: {len(known)} rows; {len(rows)} of {len(sources)} radiographs have one."
    return [told, *(f"--metadata: {line}." for line in known.attrs.get(LISTS, []))]


def with_listed(archive: Path, sources: Sequence[str], named: bool) -> tuple[list[str], list[str]]:
    """(`sources` with the images that a DICOMDIR lists in its place, what to say of missing ones).

    A DICOMDIR is among them only where a person named it; one that cannot be read stays, to be refused.
    """
    from esad.preprocessing.radiographs.dicomdir import DICOMDIR, listed_images

    out: set[str] = set()
    told = []
    for source in sources:
        if Path(source).name.upper() != DICOMDIR:
            out.add(source)
            continue
        try:
            here, missing = listed_images(archive / source)
        except InputError:
            here, missing = [], []
        out |= {(Path(source).parent / name).as_posix() for name in here} or {source}
        if missing:
            first = f" ({missing[0]})" if named else ""
            told.append(f"{source}: {len(missing)} of the images that it lists are not there{first}.")
    return sorted(out), told


def of_protocol(
    settings: RadiographSettings,
    known: pd.DataFrame | None,
    lists: Path | None,
    sources: Sequence[str],
    named: bool,
) -> tuple[pd.DataFrame, list[str], dict[str, str], list[str]]:
    """(what is known with the protocol's columns, the sources that belong to it, their rows, what to say)."""
    from esad.preprocessing.radiographs.nih import LISTS, rows_of
    from esad.preprocessing.splits.published_lists import nih_protocol

    name = str(settings.protocol)
    table = nih_protocol(name, known, lists, settings.protocol_seed).set_index("image")
    if known is not None:
        others = known.drop(columns=[column for column in table if column in known])
        table = table.join(others)
    by_name: dict[str, list[str]] = {}
    rows = rows_of(table.index, sources)
    for source, row in rows.items():
        by_name.setdefault(row, []).append(source)
    chosen = sorted(places[0] for places in by_name.values())
    if not chosen:
        raise EsadError(
            f"--protocol {name}: none of the {len(sources)} radiographs is of this set (by file name)."
        )
    told = [] if known is None else [f"--metadata: {line}." for line in known.attrs.get(LISTS, [])]
    if len(chosen) < len(table):
        missing = len(table) - len(chosen)
        told.append(f"{name}: {len(chosen)} of the set's {len(table)} images are here, {missing} are not.")
    twice = [places for places in by_name.values() if len(places) > 1]
    if twice:
        first = f" (first: {twice[0][0]}, {twice[0][1]})" if named else ""
        told.append(
            f"{name}: {len(twice)} images lie in the archive more than once{first}; of each the first path is read."
        )
    return table, chosen, {source: rows[source] for source in chosen}, told
