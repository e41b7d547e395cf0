"""`esad radiographs`: PNG and DICOM chest radiographs to a store of small grey squares, by projection."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import refused_row, run_job, source_row
from esad.pipeline.ingest.zip_sources import Member, ZipReader, with_members
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.stage.errors import EsadError, InputError
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.radiographs.nih import NORMAL, REGION
from esad.preprocessing.store.store import Unit, read_sources, write_unit

if TYPE_CHECKING:
    from esad.preprocessing.radiographs.squares import Squaring

RADIOGRAPHS_PER_SHARD = 512
"""A few seconds of work: what a kill loses, and what several workers share out."""
LEFT_OUT = "left out: "
USUAL_ORIENTATION = "L\\F"
"""Rows run to the patient's left, columns to the foot: as a chest is shown (PS3.3 C.7.6.1.1.1)."""
BURNED_IN, TURNED = "burnt-in text", f"another orientation than {USUAL_ORIENTATION}"
"""Notes in sources.parquet on radiographs that are taken as they lie."""


@dataclass(frozen=True)
class _Task:
    """What every unit of a call shares; picklable. `known` is NIH's table, or regions by source, or None."""

    archive: Path
    settings: RadiographSettings
    key: bytes = field(repr=False)
    known: pd.DataFrame | None
    members: dict[str, Member] = field(default_factory=dict)


def radiographs(
    inputs: Sequence[Path],
    settings: RadiographSettings,
    options: IngestOptions,
    metadata: Path | None = None,
    subset_list: Path | None = None,
) -> Outcome:
    """Write the store of uint8 (size, size, 1) squares.

    `metadata` is NIH's file or folder, or a regions.csv (see `esad.preprocessing.radiographs.nih.read_metadata`). Members of a zip are
    sources, ZIP/MEMBER; of a DICOMDIR that is named, the images that it lists. Images of another or an unknown view than
    asked for, of another than a frontal view, of another modality and raw detector values are left out: their sources
    count as done, hold no item and say why in sources.parquet, which also notes stated burnt-in text and orientations
    other than the usual one. Nothing is turned round.

    With `settings.protocol` only the images of that set are read, found by file name anywhere in the archive, and get
    its split, labels and labelled anomalies; `subset_list` are the lists of nih-subset. Images of the set that the
    archive lacks are counted; of one that lies there twice the first path in order is read.

    Columns beside those of every store: view (PA, AP or null), finding, region_x, region_y, region_width and
    region_height in pixels of the square, cut to it, pixel_spacing in mm per pixel of the square (null where the file
    does not say; see `esad.preprocessing.radiographs.dicom` for what it measures) and orientation (PatientOrientation). Raises what
    `run_job` raises, and UsageError for metadata that is none.
    """
    from esad.preprocessing.privacy import key_name, read_key
    from esad.preprocessing.radiographs.nih import read_metadata
    from esad.preprocessing.radiographs.reading import is_radiograph, zip_radiographs

    archive, sources = find_sources(
        inputs, lambda path: path.suffix.lower() == ".zip" or is_radiograph(path), options.out
    )
    sources, warnings = _with_listed(archive, sources, named=not options.anonymous)
    sources, members = with_members(archive, sources, zip_radiographs)
    key = read_key(options.group_key)
    known = read_metadata(metadata) if metadata else None
    if settings.protocol is not None:
        known, sources, told = _of_protocol(
            settings, known, subset_list, sources, named=not options.anonymous
        )
        warnings += told
    resolved = {**settings.model_dump(), "group_key": key_name(key), "metadata": _table_digest(known)}
    task = _Task(archive, settings, key, known, members)
    versions = ("pydicom", "pillow", "imagecodecs", "pylibjpeg")
    fingerprints = {source: member.fingerprint for source, member in members.items()}
    job = Job(
        "radiographs", "radiographs", archive, sources, resolved, partial(_process, task), RADIOGRAPHS_PER_SHARD,
        versions=versions, warnings=warnings, fingerprints=fingerprints,
    )  # fmt: skip
    return _with_notes(_with_left_out(run_job(job, options)))


def _with_listed(archive: Path, sources: Sequence[str], named: bool) -> tuple[list[str], list[str]]:
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


def _of_protocol(
    settings: RadiographSettings,
    known: pd.DataFrame | None,
    lists: Path | None,
    sources: Sequence[str],
    named: bool,
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """(what is known with the protocol's columns, the sources that belong to it, what to say)."""
    from esad.preprocessing.splits.published_lists import nih_protocol

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
        first = f" (first: {twice[0][0]}, {twice[0][1]})" if named else ""
        told.append(
            f"{name}: {len(twice)} images lie in the archive more than once{first}; of each the first path is read."
        )
    return table, chosen, told


def _with_left_out(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells how many radiographs were left out, and why."""
    table = read_sources(outcome.out)
    reasons = table.loc[(table["state"] == "done") & (table["items"] == 0), "reason"]
    if reasons.empty:
        return replace(outcome, summary={**outcome.summary, "left_out": 0})
    told = "; ".join(
        f"{count} {str(reason).removeprefix(LEFT_OUT)}"
        for reason, count in reasons.value_counts().sort_index().items()
    )
    message = f"{outcome.message} {len(reasons)} left out ({told})."
    return replace(outcome, message=message, summary={**outcome.summary, "left_out": len(reasons)})


def _with_notes(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells how many radiographs state burnt-in text or another orientation."""
    notes = read_sources(outcome.out)["notes"].fillna("")
    counts = {
        name: int(notes.str.contains(note, regex=False).sum())
        for name, note in (("burned_in", BURNED_IN), ("turned", TURNED))
    }
    message = outcome.message
    if counts["burned_in"]:
        message += f" {counts['burned_in']} state {BURNED_IN}."
    if counts["turned"]:
        message += f" {counts['turned']} state {TURNED}; they are taken as they lie."
    return replace(outcome, message=message, summary={**outcome.summary, **counts})


def _table_digest(table: pd.DataFrame | None) -> str | None:
    if table is None:
        return None
    names = ",".join(table.columns).encode()
    return hashlib.sha256(names + pd.util.hash_pandas_object(table).to_numpy().tobytes()).hexdigest()[:16]


def _known_of(table: pd.DataFrame | None, sources: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the metadata says of each source that it has, found by its path or its file name; unknown values left out."""
    if table is None:
        return {}
    places = table.index.get_indexer(list(sources))
    places = np.where(places < 0, table.index.get_indexer([Path(source).name for source in sources]), places)
    here = np.flatnonzero(places >= 0)
    rows = table.iloc[places[here]].to_dict("records")
    return {
        sources[int(place)]: {str(name): value for name, value in row.items() if pd.notna(value)}
        for place, row in zip(here, rows, strict=True)
    }


def _process(task: _Task, root: Path, unit: Unit) -> None:
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    sources: list[dict[str, Any]] = []
    known = _known_of(task.known, unit.sources)
    with ZipReader(task.archive, task.members) as zips:
        for source in unit.sources:
            try:
                taken = _one(task, source, known.get(source, {}), zips)
            except InputError as error:
                sources.append({**refused_row(task.archive, source, error), "notes": None})
                continue
            if taken.picture is not None:
                rows.append(taken.row)
                pictures.append(taken.picture)
            done = 0 if taken.picture is None else 1
            row = zips.row(source, done) if source in task.members else source_row(task.archive, source, done)
            sources.append({**row, "reason": taken.reason, "notes": taken.notes})
    items = pd.DataFrame(rows) if rows else pd.DataFrame({"source": [], "place": []})
    write_unit(root, unit, np.stack(pictures)[..., None] if pictures else None, items, pd.DataFrame(sources))


@dataclass(frozen=True)
class _Taken:
    """What became of a source: a picture and its manifest row, or the reason why it is left out."""

    row: dict[str, Any] = field(default_factory=dict)
    picture: np.ndarray | None = None
    reason: str | None = None
    notes: str | None = None


def _one(task: _Task, source: str, known: dict[str, Any], zips: ZipReader) -> _Taken:
    """Read one source; pixels are decoded only where its own words and the metadata let it in."""
    from esad.preprocessing.privacy import group_hash
    from esad.preprocessing.radiographs.reading import read_radiograph
    from esad.preprocessing.radiographs.squares import Squaring, covered_square, small_square

    settings = task.settings
    reason = _why_left_out(settings.projection, known["view"]) if known.get("view") else None
    if reason:
        return _Taken(reason=reason)
    content = zips.read(source) if source in task.members else _content(task.archive / source)
    image = read_radiograph(content, Path(source).name)
    view = known.get("view") or image.view
    if image.unfit:
        return _Taken(reason=f"{LEFT_OUT}{image.unfit}")
    reason = _why_left_out(settings.projection, view)
    if reason:
        return _Taken(reason=reason)
    pixels = image.pixels()
    how = Squaring(settings.resizing, settings.crop, settings.size, settings.equalise)
    picture = small_square(pixels, how, Path(source).name)
    patient, finding = known.get("patient") or image.patient, known.get("finding")
    shrunk = covered_square(pixels.shape, how)[2] / how.size
    row: dict[str, Any] = {
        "source": source, "place": "0", "split": known.get("split"), "view": view, "finding": finding,
        "label": known.get("label", None if finding is None else int(finding != NORMAL)),
        "semi_label": known.get("semi_label"),
        "group": group_hash(task.key, str(patient)) if patient else None,
        "pixel_spacing": image.spacing * shrunk if image.spacing else np.nan, "orientation": image.orientation,
        **_region(known, pixels.shape, how),
    }  # fmt: skip
    turned = image.orientation not in (None, USUAL_ORIENTATION)
    notes = [note for note, stated in ((BURNED_IN, image.burned_in), (TURNED, turned)) if stated]
    return _Taken(row, picture, notes="; ".join(notes) or None)


def _why_left_out(projection: str, view: str | None) -> str | None:
    """Why a radiograph of `view` is left out where `projection` was asked for, or None."""
    from esad.preprocessing.radiographs.dicom_views import FRONTAL

    if projection != "all":
        told = f"{LEFT_OUT}view {view or 'unknown'}, {projection} was asked for"
        return None if view == projection else told
    return None if view is None or view in FRONTAL else f"{LEFT_OUT}view {view}, not a frontal one"


def _content(path: Path) -> bytes:
    """A file's bytes; a zip or DICOMDIR stands for itself only where it is refused as a whole, and this says why."""
    from esad.preprocessing.radiographs.dicomdir import DICOMDIR, listed_images
    from esad.preprocessing.radiographs.reading import zip_radiographs

    if path.suffix.lower() == ".zip":
        zip_radiographs(path)
    elif path.name.upper() == DICOMDIR:
        raise InputError(
            f"{path.name}: none of the {len(listed_images(path)[1])} images that it lists is there."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}).") from error


def _region(known: dict[str, Any], shape: tuple[int, ...], how: Squaring) -> dict[str, float | None]:
    """REGION in pixels of the square, null where none is known or it lies outside."""
    from esad.preprocessing.radiographs.squares import region_in_square

    region = None
    if known.get(REGION[0]) is not None:
        box = tuple(float(known[name]) for name in REGION)
        region = region_in_square(box, shape, how)  # type: ignore[arg-type]
    return dict(zip(REGION, region or [None] * 4, strict=True))


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["radiographs", *sys.argv[1:]])
