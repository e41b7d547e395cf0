"""`esad images`: an npz file, class folders or a zip of them into a store of pictures."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import ImageSettings
from pipeline.errors import EsadError, InputError
from pipeline.ingest import IngestOptions, Job, find_sources, refused_row, run_job, source_row
from pipeline.outcome import Outcome
from pipeline.tables import columns_of
from preprocessing.images import (
    PICTURE_SUFFIXES,
    decode_picture,
    describe_path,
    labels_of_classes,
    read_npz,
    zip_members,
)
from preprocessing.store import Unit, write_unit
from preprocessing.tables import Columns

CONTAINERS = (".npz", ".zip")
IMAGES_PER_SHARD = 4096


def _pictures(archive: Path, source: str, size: int | None) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """(manifest row, picture) of each picture of a source that is a picture or a zip; InputError for the source."""
    path = archive / source
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as members:
            for name in zip_members(path):
                row = {"source": source, "place": name, **describe_path(name)}
                yield row, decode_picture(members.read(name), f"{source}:{name}", size)
        return
    yield (
        {"source": source, "place": "0", **describe_path(source)},
        decode_picture(path.read_bytes(), source, size),
    )


def _process_container(archive: Path, columns: Columns, size: int | None, root: Path, unit: Unit) -> None:
    (source,) = unit.sources
    try:
        pictures, items = read_npz(archive / source, columns, size)
    except InputError as error:
        write_unit(root, unit, None, _no_items(), pd.DataFrame([refused_row(archive, source, error)]))
        return
    items.insert(0, "source", source)
    items.insert(1, "place", [str(row) for row in range(len(items))])
    write_unit(root, unit, pictures, items, pd.DataFrame([source_row(archive, source, len(items))]))


def _no_items() -> pd.DataFrame:
    return pd.DataFrame({"source": [], "place": []})


def _process_pictures(archive: Path, size: int | None, root: Path, unit: Unit) -> None:
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    sources: list[dict[str, Any]] = []
    for source in unit.sources:
        try:
            found = list(_pictures(archive, source, size))
        except (InputError, zipfile.BadZipFile, RuntimeError) as error:
            sources.append(refused_row(archive, source, error))
            continue
        for row, picture in found:
            if pictures and picture.shape != pictures[0].shape:
                first = f"{rows[0]['source']}:{rows[0]['place']} is {_shape(pictures[0])}"
                message = f"{first}, {row['source']}:{row['place']} is {_shape(picture)}: give one size with --size N"
                raise EsadError(message + " (grey and colour need separate stores).")
            rows.append(row)
            pictures.append(picture)
        sources.append(source_row(archive, source, len(found)))
    items = pd.DataFrame(rows) if rows else _no_items()
    write_unit(root, unit, np.stack(pictures) if pictures else None, items, pd.DataFrame(sources))


def _shape(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]} pixels, {'grey' if picture.shape[2] == 1 else 'colour'}"


def _label_by_class(items: pd.DataFrame) -> pd.DataFrame:
    """Labels over the whole store, since one shard may hold one class only."""
    if "class_name" in items and items["label"].isna().all():
        items["label"] = labels_of_classes(items["class_name"])
    return items


def images(inputs: Sequence[Path], settings: ImageSettings, options: IngestOptions) -> Outcome:
    """Write the store; a folder's name is its pictures' class, `normal` or `good` against others makes labels."""
    archive, sources = find_sources(
        inputs, lambda path: path.suffix.lower() in (*PICTURE_SUFFIXES, *CONTAINERS)
    )
    npz = [source for source in sources if source.lower().endswith(".npz")]
    process: partial[None]
    if npz and len(npz) < len(sources):
        raise EsadError(
            f"{npz[0]} and {next(s for s in sources if s not in npz)}: npz files and pictures need separate stores."
        )
    if npz:
        process, unit_size = partial(_process_container, archive, columns_of(settings), settings.size), 1
    else:
        zipped = any(source.lower().endswith(".zip") for source in sources)
        process, unit_size = (
            partial(_process_pictures, archive, settings.size),
            1 if zipped else IMAGES_PER_SHARD,
        )
    job = Job(
        "images",
        "images",
        archive,
        sources,
        settings.model_dump(),
        process,
        unit_size,
        finish=_label_by_class,
    )
    return run_job(job, options)


if __name__ == "__main__":
    from pipeline.cli import main

    main(["images", *sys.argv[1:]])
