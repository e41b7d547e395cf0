"""`esad radiographs`: PNG and DICOM chest radiographs to a store of small grey squares, by projection."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import RadiographSettings
from pipeline.errors import InputError
from pipeline.ingest import IngestOptions, Job, find_sources, refused_row, run_job, source_row
from pipeline.outcome import Outcome
from preprocessing.store import Unit, write_unit

REGION = ("region_x", "region_y", "region_width", "region_height")
RADIOGRAPHS_PER_SHARD = 4096


@dataclass(frozen=True)
class _Task:
    """What every unit of a call shares; picklable. `known` is NIH's table, or regions by source, or None."""

    archive: Path
    settings: RadiographSettings
    key: bytes
    known: pd.DataFrame | None


def radiographs(
    inputs: Sequence[Path],
    settings: RadiographSettings,
    options: IngestOptions,
    metadata: Path | None = None,
    group_key: Path | None = None,
) -> Outcome:
    """Write the store. `metadata` is NIH's file or folder, or a regions.csv (source, x, y, width, height).

    Images of another or an unknown view than asked for are left out, with the reason in sources.parquet.
    """
    from preprocessing.privacy import key_name, read_key
    from preprocessing.radiographs import is_radiograph

    archive, sources = find_sources(inputs, is_radiograph)
    key = read_key(group_key)
    known = _read_known(metadata) if metadata else None
    resolved = {**settings.model_dump(), "group_key": key_name(key), "metadata": _table_digest(known)}
    task = _Task(archive, settings, key, known)
    versions = ("pydicom", "pillow", "pylibjpeg")
    job = Job(
        "radiographs", "radiographs", archive, sources, resolved, partial(_process, task), RADIOGRAPHS_PER_SHARD,
        versions=versions,
    )  # fmt: skip
    return run_job(job, options)


def _read_known(metadata: Path) -> pd.DataFrame:
    from preprocessing.nih import read_metadata

    if metadata.is_file() and metadata.suffix.lower() == ".csv":
        table = pd.read_csv(metadata, nrows=0)
        if {"source", "x", "y", "width", "height"} <= set(table.columns):
            regions = (
                pd.read_csv(metadata)
                .drop_duplicates("source")
                .set_index("source")[["x", "y", "width", "height"]]
            )
            return regions.rename(columns=dict(zip(regions.columns, REGION, strict=True)))
    return read_metadata(metadata)


def _table_digest(table: pd.DataFrame | None) -> str | None:
    if table is None:
        return None
    return hashlib.sha256(pd.util.hash_pandas_object(table).to_numpy().tobytes()).hexdigest()[:16]


def _known_of(task: _Task, source: str) -> dict[str, Any]:
    """What the metadata says of a source, found by its path or its file name."""
    for name in (source, Path(source).name):
        if task.known is not None and name in task.known.index:
            row = task.known.loc[name]
            return {column: None if pd.isna(value) else value for column, value in row.items()}
    return {}


def _process(task: _Task, root: Path, unit: Unit) -> None:
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    sources: list[dict[str, Any]] = []
    for source in unit.sources:
        try:
            row, picture, reason = _one(task, source)
        except InputError as error:
            sources.append(refused_row(task.archive, source, error))
            continue
        if picture is not None:
            rows.append(row)
            pictures.append(picture)
        sources.append({**source_row(task.archive, source, 0 if picture is None else 1), "reason": reason})
    items = pd.DataFrame(rows) if rows else pd.DataFrame({"source": [], "place": []})
    write_unit(root, unit, np.stack(pictures)[..., None] if pictures else None, items, pd.DataFrame(sources))


def _one(task: _Task, source: str) -> tuple[dict[str, Any], np.ndarray | None, str | None]:
    """(manifest row, picture or None where it is left out, the reason for that)."""
    from preprocessing.nih import NORMAL
    from preprocessing.privacy import group_hash
    from preprocessing.radiographs import read_radiograph, region_in_square, small_square

    settings, known = task.settings, _known_of(task, source)
    wanted = settings.projection
    if wanted != "all" and known.get("view") not in (None, wanted):
        return {}, None, f"left out: view {known['view']}, {wanted} was asked for"
    image = read_radiograph(task.archive / source)
    view = known.get("view") or image.view
    if wanted not in ("all", view):
        return {}, None, f"left out: view {view or 'unknown'}, {wanted} was asked for"
    patient = known.get("patient") or image.patient
    finding = known.get("finding")
    row: dict[str, Any] = {
        "source": source, "place": "0", "split": known.get("split"), "view": view, "finding": finding,
        "label": None if finding is None else int(finding != NORMAL),
        "group": group_hash(task.key, str(patient)) if patient else None,
    }  # fmt: skip
    picture = small_square(image.pixels, settings.crop, settings.size, Path(source).name)
    region = None
    if known.get("region_x") is not None:
        box = tuple(float(known[name]) for name in REGION)
        region = region_in_square(box, image.pixels.shape, settings.crop, settings.size)  # type: ignore[arg-type]
    row.update(zip(REGION, region or [None] * 4, strict=True))
    return row, picture, None


if __name__ == "__main__":
    from pipeline.cli import main

    main(["radiographs", *sys.argv[1:]])
