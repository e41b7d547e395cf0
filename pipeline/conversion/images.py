"""A unit of pictures, npz files and published sets of them to a shard; labels of class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.conversion.columns import columns_of, with_labels
from esad.pipeline.conversion.image_folders import check_folders, without_masks
from esad.pipeline.conversion.image_survey import check_one_size, mixed, survey_images
from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.ingest.zip_sources import Member, ZipReader, with_members
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.settings.ignored import warnings_of_images
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.preprocessing.images import (
    PICTURE_SUFFIXES,
    check_one_class,
    decode_apart,
    describe_path,
    inner_names,
    is_npz,
    read_npz,
    zip_members,
)
from esad.preprocessing.natural.sets import PictureSet, find_sets, is_set, read_set
from esad.preprocessing.pictures import Colour, to_channels
from esad.preprocessing.store.store import Unit, write_unit
from esad.preprocessing.tables.columns import IGNORED, Columns

CONTAINERS = (".npz", ".zip")
IMAGES_PER_SHARD = 4096
IN_FOLDERS, IN_SETS = "class folders", "classes in the files"
"""Where classes come from, for the line that tells what was understood."""


@dataclass(frozen=True)
class ImageTask:
    """What every unit of a call shares; picklable. `inner` is a member's path inside its zip's one folder, `sets` what files of many
    pictures are, both by source."""

    archive: Path
    size: int | None
    columns: Columns
    colour: Colour
    members: dict[str, Member] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)
    sets: dict[str, PictureSet] = field(default_factory=dict)


def process_images(task: ImageTask, root: Path, unit: Unit) -> None:
    """Picture files and members of zips, one item each, and npz files and sets of many; a bad one is refused alone."""
    kept = _Kept()
    sources: list[dict[str, Any]] = []
    with ZipReader(task.archive, task.members) as zips:
        for source in unit.sources:
            label_column = None
            try:
                if is_npz(source):
                    pixels, table = read_npz(task.archive / source, task.columns, task.size)
                    pixels, note = to_channels(pixels, task.colour)
                    count, notes = len(table), [note] if note else []
                    kept.add_many(source, pixels, table)
                elif source in task.sets:
                    found = task.sets[source]
                    pixels, table, notes, label_column = read_set(
                        task.archive, source, found, task.columns, task.size, task.colour
                    )
                    count = len(table)
                    kept.add_many(source, pixels, table)
                else:
                    picture = decode_apart(_content(task, source, zips), source, task.size, task.colour)
                    described = _described(task, source)
                    count, notes = 1, list(picture.notes)
                    kept.add_picture(source, picture.pixels, described)
            except InputError as error:
                refused = refused_row(task.archive, source, error)
                sources.append({**refused, "notes": None, "label_column": None})
                continue
            done = _row_of(task, source, count, zips)
            sources.append({**done, "notes": "; ".join(notes) or None, "label_column": label_column})
    write_unit(root, unit, *kept.joined(), pd.DataFrame(sources))


def _described(task: ImageTask, source: str) -> dict[str, str | None]:
    """Split and class of a picture, by its folders; of a zip's member by those in the zip, then by those above it, then by its name.

    The folder that is given as the archive says nothing of what lies in its zips.
    """
    if source not in task.inner:
        return describe_path(source, task.archive.name)
    zipped = Path(task.members[source].file)
    inside, above = describe_path(task.inner[source], zipped.stem), describe_path(zipped.as_posix())
    check_one_class([name for each in (inside, above) if (name := each["class_name"])])
    return {name: inside[name] or above[name] for name in inside}


def _row_of(task: ImageTask, source: str, count: int, zips: ZipReader) -> dict[str, Any]:
    """The row of a source that was done."""
    if source in task.members:
        return zips.row(source, count)
    row = source_row(task.archive, source, count)
    if source in task.sets:
        row["fingerprint"] = task.sets[source].fingerprint(task.archive, source)
    return row


@dataclass
class _Kept:
    """What a unit keeps: pictures with their rows, then the arrays and tables of files of many, all of one shape."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)
    first: tuple[str, tuple[int, ...]] | None = None

    def add_picture(self, source: str, pixels: np.ndarray, described: dict[str, str | None]) -> None:
        """uint8 (H, W, C) of a source; EsadError where it is of another shape than the first."""
        self._check(source, pixels.shape)
        self.rows.append({"source": source, "place": "0", **described})
        self.pictures.append(pixels)

    def add_many(self, source: str, pixels: np.ndarray, table: pd.DataFrame) -> None:
        """uint8 (N, H, W, C) of a source and a row for each; EsadError where they are of another shape than the first."""
        self._check(source, pixels.shape[1:])
        table.insert(0, "source", source)
        if "place" not in table:
            table["place"] = [str(row) for row in range(len(table))]
        self.arrays.append(pixels)
        self.tables.append(table)

    def _check(self, source: str, shape: tuple[int, ...]) -> None:
        self.first = self.first or (source, shape)
        if shape != self.first[1]:
            raise EsadError(mixed(*self.first, source, shape))

    def joined(self) -> tuple[np.ndarray | None, pd.DataFrame]:
        """(uint8 (N, H, W, C) or None, a row for each)."""
        arrays = [np.stack(self.pictures)] if self.pictures else []
        tables = [pd.DataFrame(self.rows)] if self.rows else []
        arrays, tables = [*arrays, *self.arrays], [*tables, *self.tables]
        if not arrays:
            return None, pd.DataFrame({"source": [], "place": []})
        return (
            arrays[0] if len(arrays) == 1 else np.concatenate(arrays),
            pd.concat(tables, ignore_index=True),
        )


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


def finish_images(
    settings: ImageSettings, classes: str, items: pd.DataFrame, sources: pd.DataFrame
) -> pd.DataFrame:
    """Labels over the whole store, since one shard may hold one class only; `classes` is what has the names of classes.

    A file that has its labels in another column than the settings name says so in `sources`: that name is the one to tell.
    """
    if "label_column" in sources and sources["label_column"].notna().any():
        found = sorted(set(sources["label_column"].dropna()))
        settings = settings.model_copy(update={"label": ", ".join(found)})
    return with_labels(items, settings, classes)


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


def _is_parquet(sets: Mapping[str, PictureSet], source: str) -> bool:
    return source in sets and sets[source].kind == "parquet"


def _fingerprints(archive: Path, sets: Mapping[str, PictureSet]) -> dict[str, str]:
    """Of each set and what belongs to it; an empty text where it cannot be read."""
    found = {}
    for source, each in sets.items():
        try:
            found[source] = each.fingerprint(archive, source)
        except OSError:
            found[source] = ""
    return found


def image_job(inputs: Sequence[Path], settings: ImageSettings, options: IngestOptions) -> Job:
    """The pictures of `inputs` as a job: files of many one by one, or picture files, members of zips and such in shards.

    Its settings name the colour that was decided. EsadError where pictures are of two sizes and none is asked for;
    UsageError for a named column where there are no npz or Parquet files, which alone have columns.
    """
    archive, sources = find_sources(
        inputs,
        lambda path: path.suffix.lower() in (*PICTURE_SUFFIXES, *CONTAINERS) or is_set(path),
        options.out,
        named=not options.anonymous,
    )
    columns = columns_of(settings, options)
    of_sets = find_sets(archive, sources)
    sources, sets = of_sets.sources, of_sets.sets
    with_columns = [source for source in sources if is_npz(source) or _is_parquet(sets, source)]
    asked = columns.named - {IGNORED}
    if asked and not with_columns:
        raise UsageError(
            f"{sources[0]}: pictures have no column {min(asked)!r}; give labels with --labels FILE.csv."
        )
    alone = all(is_npz(source) or source in sets for source in sources)
    sources, members = with_members(archive, sources, zip_members)
    sources, told = without_masks(sources)
    members = {source: members[source] for source in sources if source in members}
    inner = inner_paths(members)
    told += check_folders(
        [inner.get(source, source) for source in sources],
        named=not options.anonymous,
        stated=bool(settings.normal_value or settings.anomaly_value or settings.classes),
    )
    survey = survey_images(archive, sources, members, sets, settings, None if options.force else options.out)
    task = ImageTask(archive, settings.size, columns, survey.colour, members, inner, sets)
    if settings.size is None:
        check_one_size(survey.headers, partial(_shape_of, task), named=not options.anonymous)
    return Job(
        "images", "images", archive, sources, {**settings.model_dump(), "colour": survey.colour},
        partial(process_images, task), 1 if alone else IMAGES_PER_SHARD, versions=("pillow",),
        finish=partial(finish_images, settings, IN_FOLDERS if len(sets) < len(sources) else IN_SETS),
        fingerprints={source: member.fingerprint for source, member in members.items()} | _fingerprints(archive, sets),
        warnings=[*warnings_of_images(settings, not with_columns), *of_sets.told, *told, *survey.told],
    )  # fmt: skip
