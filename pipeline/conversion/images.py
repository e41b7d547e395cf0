"""A unit of pictures, or one npz, to a shard; labels of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.conversion.columns import columns_of
from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.ingest.job import Job
from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.ingest.zip_sources import Member, ZipReader, with_members
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.settings.ignored import warnings_of_images
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.preprocessing.images import (
    PICTURE_SUFFIXES,
    decode_picture,
    describe_path,
    inner_names,
    labels_of_classes,
    read_npz,
    zip_members,
)
from esad.preprocessing.store.store import Unit, write_unit
from esad.preprocessing.tables import IGNORED, Columns

CONTAINERS = (".npz", ".zip")
IMAGES_PER_SHARD = 4096


@dataclass(frozen=True)
class ImageTask:
    """What every unit of a call shares; picklable. `inner` is a member's path inside its zip's one folder, by source."""

    archive: Path
    size: int | None
    columns: Columns
    members: dict[str, Member] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)


def process_npz(task: ImageTask, root: Path, unit: Unit) -> None:
    """One npz: all its pictures are one shard."""
    (source,) = unit.sources
    try:
        pictures, items = read_npz(task.archive / source, task.columns, task.size)
    except InputError as error:
        write_unit(root, unit, None, _no_items(), pd.DataFrame([refused_row(task.archive, source, error)]))
        return
    items.insert(0, "source", source)
    items.insert(1, "place", [str(row) for row in range(len(items))])
    write_unit(root, unit, pictures, items, pd.DataFrame([source_row(task.archive, source, len(items))]))


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
                picture, done = _read_one(task, source, zips)
            except InputError as error:
                sources.append(refused_row(task.archive, source, error))
                continue
            if pictures and picture.shape != pictures[0].shape:
                raise EsadError(_mixed(str(rows[0]["source"]), pictures[0], source, picture))
            rows.append({"source": source, "place": "0", **describe_path(task.inner.get(source, source))})
            pictures.append(picture)
            sources.append(done)
    items = pd.DataFrame(rows) if rows else _no_items()
    write_unit(root, unit, np.stack(pictures) if pictures else None, items, pd.DataFrame(sources))


def _read_one(task: ImageTask, source: str, zips: ZipReader) -> tuple[np.ndarray, dict[str, Any]]:
    """(uint8 (H, W, C), its row of sources)."""
    if source in task.members:
        return decode_picture(zips.read(source), source, task.size), zips.row(source, 1)
    path = task.archive / source
    if path.suffix.lower() == ".zip":
        zip_members(path)  # a zip stands for itself only where it is refused as a whole; this says why
    return decode_picture(path.read_bytes(), source, task.size), source_row(task.archive, source, 1)


def _mixed(first: str, one: np.ndarray, second: str, other: np.ndarray) -> str:
    """What to tell of two pictures that do not fit into one store."""
    told = f"{first} is {_shape(one)}, {second} is {_shape(other)}"
    if one.shape[:2] == other.shape[:2]:
        return f"{told}: grey and colour need separate stores."
    return f"{told}: give one size with --size N."


def _shape(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]} pixels, {'grey' if picture.shape[2] == 1 else 'colour'}"


def label_by_class(items: pd.DataFrame, sources: pd.DataFrame) -> pd.DataFrame:
    """Labels over the whole store, since one shard may hold one class only."""
    if "class_name" in items and items["label"].isna().all():
        items["label"] = labels_of_classes(items["class_name"])
    return items


def inner_paths(members: dict[str, Member]) -> dict[str, str]:
    """Source -> path inside the one folder that a zip has at its top, if that is no class or split."""
    by_zip: dict[str, list[str]] = {}
    for member in members.values():
        by_zip.setdefault(member.file, []).append(member.name)
    inner = {file: inner_names(names) for file, names in by_zip.items()}
    return {source: inner[member.file][member.name] for source, member in members.items()}


def image_job(inputs: Sequence[Path], settings: ImageSettings, out: Path) -> Job:
    """The pictures of `inputs` as a job: npz files one by one, or picture files and members of zips in shards.

    EsadError where both kinds are there, UsageError for a named column of pictures, which have none.
    """
    archive, sources = find_sources(
        inputs, lambda path: path.suffix.lower() in (*PICTURE_SUFFIXES, *CONTAINERS), out
    )
    npz = [source for source in sources if source.lower().endswith(".npz")]
    if npz and len(npz) < len(sources):
        raise EsadError(
            f"{npz[0]} and {next(s for s in sources if s not in npz)}: npz files and pictures need separate stores."
        )
    columns = columns_of(settings)
    fingerprints: dict[str, str] = {}
    if npz:
        process, unit_size = partial(process_npz, ImageTask(archive, settings.size, columns)), 1
    else:
        asked = columns.named - {IGNORED}
        if asked:
            raise UsageError(
                f"{sources[0]}: pictures have no column {min(asked)!r}; give labels with --labels FILE.csv."
            )
        sources, members = with_members(archive, sources, zip_members)
        fingerprints = {source: member.fingerprint for source, member in members.items()}
        task = ImageTask(archive, settings.size, columns, members, inner_paths(members))
        process, unit_size = partial(process_pictures, task), IMAGES_PER_SHARD
    return Job(
        "images", "images", archive, sources, settings.model_dump(), process, unit_size, versions=("pillow",),
        finish=label_by_class, fingerprints=fingerprints, warnings=warnings_of_images(settings, not npz),
    )  # fmt: skip
