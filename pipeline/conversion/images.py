"""A unit of pictures, or one npz, to a shard; labels of class folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.conversion.columns import columns_of, with_labels
from esad.pipeline.conversion.image_survey import check_one_size, mixed, survey_npz, survey_pictures
from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.ingest.zip_sources import Member, ZipReader, with_members
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.settings.ignored import warnings_of_images
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.preprocessing.images import (
    PICTURE_SUFFIXES,
    decode_apart,
    describe_path,
    inner_names,
    read_npz,
    zip_members,
)
from esad.preprocessing.pictures import Colour, to_channels
from esad.preprocessing.store.store import Unit, write_unit
from esad.preprocessing.tables.columns import IGNORED, Columns

CONTAINERS = (".npz", ".zip")
IMAGES_PER_SHARD = 4096


@dataclass(frozen=True)
class ImageTask:
    """What every unit of a call shares; picklable. `inner` is a member's path inside its zip's one folder, by source."""

    archive: Path
    size: int | None
    columns: Columns
    colour: Colour
    members: dict[str, Member] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)


def process_npz(task: ImageTask, root: Path, unit: Unit) -> None:
    """One npz: all its pictures are one shard."""
    (source,) = unit.sources
    try:
        pictures, items = read_npz(task.archive / source, task.columns, task.size)
    except InputError as error:
        refused = {**refused_row(task.archive, source, error), "notes": None}
        write_unit(root, unit, None, _no_items(), pd.DataFrame([refused]))
        return
    pictures, note = to_channels(pictures, task.colour)
    items.insert(0, "source", source)
    items.insert(1, "place", [str(row) for row in range(len(items))])
    done = source_row(task.archive, source, len(items), notes=note)
    write_unit(root, unit, pictures, items, pd.DataFrame([done]))


def _no_items() -> pd.DataFrame:
    return pd.DataFrame({"source": [], "place": []})


def process_pictures(task: ImageTask, root: Path, unit: Unit) -> None:
    """Picture files and members of zips, one item each; a bad one is refused alone."""
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    sources: list[dict[str, Any]] = []
    with ZipReader(task.archive, task.members) as zips:
        for source in unit.sources:
            try:
                picture = decode_apart(_content(task, source, zips), source, task.size, task.colour)
            except InputError as error:
                sources.append({**refused_row(task.archive, source, error), "notes": None})
                continue
            pixels = picture.pixels
            if pictures and pixels.shape != pictures[0].shape:
                raise EsadError(mixed(str(rows[0]["source"]), pictures[0].shape, source, pixels.shape))
            rows.append(
                {
                    "source": source,
                    "place": "0",
                    **describe_path(task.inner.get(source, source), task.archive.name),
                }
            )
            pictures.append(pixels)
            done = zips.row(source, 1) if source in task.members else source_row(task.archive, source, 1)
            sources.append({**done, "notes": "; ".join(picture.notes) or None})
    items = pd.DataFrame(rows) if rows else _no_items()
    write_unit(root, unit, np.stack(pictures) if pictures else None, items, pd.DataFrame(sources))


def _content(task: ImageTask, source: str, zips: ZipReader) -> bytes:
    """The bytes of a picture's file; InputError where they cannot be read."""
    if source in task.members:
        return zips.read(source)
    path = task.archive / source
    if path.suffix.lower() == ".zip":
        zip_members(path)  # a zip stands for itself only where it is refused as a whole; this says why
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}).") from error


def finish_images(settings: ImageSettings, items: pd.DataFrame, sources: pd.DataFrame) -> pd.DataFrame:
    """Labels over the whole store, since one shard may hold one class only."""
    return with_labels(items, settings)


def inner_paths(members: dict[str, Member]) -> dict[str, str]:
    """Source -> path inside the one folder that a zip has at its top, if that is no class or split."""
    by_zip: dict[str, list[str]] = {}
    for member in members.values():
        by_zip.setdefault(member.file, []).append(member.name)
    inner = {file: inner_names(names) for file, names in by_zip.items()}
    return {source: inner[member.file][member.name] for source, member in members.items()}


def _shape_of(task: ImageTask, source: str) -> tuple[int, ...] | None:
    """(H, W, C) of a picture as it would be stored; None where it would be refused."""
    with ZipReader(task.archive, task.members) as zips:
        try:
            return decode_apart(_content(task, source, zips), source, task.size, task.colour).pixels.shape
        except InputError:
            return None


def image_job(inputs: Sequence[Path], settings: ImageSettings, options: IngestOptions) -> Job:
    """The pictures of `inputs` as a job: npz files one by one, or picture files and members of zips in shards.

    Its settings name the colour that was decided. EsadError where npz files and pictures are there, or pictures of two
    sizes and none is asked for; UsageError for a named column of pictures, which have none.
    """
    archive, sources = find_sources(
        inputs, lambda path: path.suffix.lower() in (*PICTURE_SUFFIXES, *CONTAINERS), options.out
    )
    npz = [source for source in sources if source.lower().endswith(".npz")]
    if npz and len(npz) < len(sources):
        raise EsadError(
            f"{npz[0]} and {next(s for s in sources if s not in npz)}: npz files and pictures need separate stores."
        )
    columns, members = columns_of(settings), dict[str, Member]()
    before = None if options.force else options.out
    process: Callable[[Path, Unit], None]
    if npz:
        survey = survey_npz(archive, sources, settings, before)
        process = partial(process_npz, ImageTask(archive, settings.size, columns, survey.colour))
    else:
        asked = columns.named - {IGNORED}
        if asked:
            raise UsageError(
                f"{sources[0]}: pictures have no column {min(asked)!r}; give labels with --labels FILE.csv."
            )
        sources, members = with_members(archive, sources, zip_members)
        survey = survey_pictures(archive, sources, members, settings, before)
        task = ImageTask(archive, settings.size, columns, survey.colour, members, inner_paths(members))
        if settings.size is None:
            check_one_size(survey.headers, partial(_shape_of, task), named=not options.anonymous)
        process = partial(process_pictures, task)
    return Job(
        "images", "images", archive, sources, {**settings.model_dump(), "colour": survey.colour}, process,
        1 if npz else IMAGES_PER_SHARD, versions=("pillow",), finish=partial(finish_images, settings),
        fingerprints={source: member.fingerprint for source, member in members.items()},
        warnings=[*warnings_of_images(settings, not npz), *survey.told],
    )  # fmt: skip
