"""`esad radiographs`: PNG and DICOM chest radiographs to a store of small grey squares, by projection."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import RadiographSettings
from pipeline.errors import EsadError, InputError
from pipeline.ingest import IngestOptions, Job, refused_row, run_job, source_row
from pipeline.inputs import find_sources
from pipeline.outcome import Outcome
from preprocessing.store import Unit, joined_sources, write_unit

RADIOGRAPHS_PER_SHARD = 4096
LEFT_OUT = "left out: "


@dataclass(frozen=True)
class _Task:
    """What every unit of a call shares; picklable. `known` is NIH's table, or regions by source, or None."""

    archive: Path
    settings: RadiographSettings
    key: bytes = field(repr=False)
    known: pd.DataFrame | None


def radiographs(
    inputs: Sequence[Path],
    settings: RadiographSettings,
    options: IngestOptions,
    metadata: Path | None = None,
    group_key: Path | None = None,
    subset_list: Path | None = None,
) -> Outcome:
    """Write the store of uint8 (size, size, 1) squares.

    `metadata` is NIH's file or folder, or a regions.csv (see `preprocessing.nih.read_metadata`); `group_key` the
    key of the patient hashes. Images of another or an unknown view than asked for are left out: their sources
    count as done, hold no item and say why in sources.parquet.

    With `settings.protocol` only the images of that set are read, found by file name anywhere in the archive, and get
    its split, labels and labelled anomalies; `subset_list` are the lists of nih-subset. Images of the set that the
    archive lacks are counted; of one that lies there twice the first path in order is read.

    Columns beside those of every store: view (PA, AP, lateral or null), finding, and region_x, region_y,
    region_width, region_height in pixels of the square, cut to it. Raises what `run_job` raises, and UsageError
    for metadata that is none.
    """
    from preprocessing.nih import read_metadata
    from preprocessing.privacy import key_name, read_key
    from preprocessing.radiographs import is_radiograph

    archive, sources = find_sources(inputs, is_radiograph, options.out)
    key = read_key(group_key)
    known = read_metadata(metadata) if metadata else None
    warnings: list[str] = []
    if settings.protocol is not None:
        known, sources, warnings = _of_protocol(settings, known, subset_list, sources)
    resolved = {**settings.model_dump(), "group_key": key_name(key), "metadata": _table_digest(known)}
    task = _Task(archive, settings, key, known)
    versions = ("pydicom", "pillow", "pylibjpeg")
    job = Job(
        "radiographs", "radiographs", archive, sources, resolved, partial(_process, task), RADIOGRAPHS_PER_SHARD,
        versions=versions, warnings=warnings,
    )  # fmt: skip
    return _with_left_out(run_job(job, options), sources)


def _of_protocol(
    settings: RadiographSettings,
    known: pd.DataFrame | None,
    lists: Path | None,
    sources: Sequence[str],
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """(what is known with the protocol's columns, the sources that belong to it, what to say)."""
    from preprocessing.published_lists import nih_protocol

    name = str(settings.protocol)
    table = nih_protocol(name, known, lists, settings.protocol_seed).set_index("image")
    if known is not None:
        others = known.drop(columns=[column for column in table if column in known])
        table = table.join(others)
    by_name: dict[str, list[str]] = {}
    for source in sources:
        if Path(source).name in table.index:
            by_name.setdefault(Path(source).name, []).append(source)
    chosen = sorted(places[0] for places in by_name.values())
    if not chosen:
        raise EsadError(
            f"--protocol {name}: none of the {len(sources)} radiographs is of this set (by file name)."
        )
    told = []
    if len(chosen) < len(table):
        missing = len(table) - len(chosen)
        told.append(f"{name}: {len(chosen)} of the set's {len(table)} images are here, {missing} are not.")
    twice = [places for places in by_name.values() if len(places) > 1]
    if twice:
        told.append(
            f"{name}: {len(twice)} images lie in the archive more than once (first: {twice[0][0]}, {twice[0][1]}); "
            "of each the first path is read."
        )
    return table, chosen, told


def _with_left_out(outcome: Outcome, sources: Sequence[str]) -> Outcome:
    """`outcome`, which also tells how many radiographs were left out for their view."""
    table = joined_sources(outcome.out)
    reasons = table.loc[
        table["source"].isin(sources) & (table["state"] == "done") & (table["items"] == 0), "reason"
    ]
    if reasons.empty:
        return replace(outcome, summary={**outcome.summary, "left_out": 0})
    told = "; ".join(
        f"{count} {str(reason).removeprefix(LEFT_OUT)}"
        for reason, count in reasons.value_counts().sort_index().items()
    )
    message = f"{outcome.message} {len(reasons)} left out ({told})."
    return replace(outcome, message=message, summary={**outcome.summary, "left_out": len(reasons)})


def _table_digest(table: pd.DataFrame | None) -> str | None:
    if table is None:
        return None
    names = ",".join(table.columns).encode()
    return hashlib.sha256(names + pd.util.hash_pandas_object(table).to_numpy().tobytes()).hexdigest()[:16]


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
    from preprocessing.nih import NORMAL, REGION
    from preprocessing.privacy import group_hash
    from preprocessing.radiograph_squares import Squaring, region_in_square, small_square
    from preprocessing.radiographs import read_radiograph

    settings, known = task.settings, _known_of(task, source)
    how = Squaring(settings.resizing, settings.crop, settings.size, settings.equalise)
    wanted = settings.projection
    if wanted != "all" and known.get("view") not in (None, wanted):
        return {}, None, f"{LEFT_OUT}view {known['view']}, {wanted} was asked for"
    image = read_radiograph(task.archive / source)
    view = known.get("view") or image.view
    if wanted not in ("all", view):
        return {}, None, f"{LEFT_OUT}view {view or 'unknown'}, {wanted} was asked for"
    patient = known.get("patient") or image.patient
    finding = known.get("finding")
    row: dict[str, Any] = {
        "source": source, "place": "0", "split": known.get("split"), "view": view, "finding": finding,
        "label": known.get("label", None if finding is None else int(finding != NORMAL)),
        "semi_label": known.get("semi_label"),
        "group": group_hash(task.key, str(patient)) if patient else None,
    }  # fmt: skip
    picture = small_square(image.pixels, how, Path(source).name)
    region = None
    if known.get("region_x") is not None:
        box = tuple(float(known[name]) for name in REGION)
        region = region_in_square(box, image.pixels.shape, how)  # type: ignore[arg-type]
    row.update(zip(REGION, region or [None] * 4, strict=True))
    return row, picture, None


if __name__ == "__main__":
    from pipeline.cli import main

    main(["radiographs", *sys.argv[1:]])
