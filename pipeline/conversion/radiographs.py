"""A unit of radiographs to a shard: read, squared, left out or refused one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.ingest.zip_sources import Member, ZipReader
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.stage.errors import InputError
from esad.preprocessing.radiographs.nih import NIH_SIDE, NORMAL, REGION, box_in_source
from esad.preprocessing.store.store import Unit, write_unit

if TYPE_CHECKING:
    from esad.preprocessing.radiographs.squares import Squaring


PACKAGES = ("pydicom", "pillow", "imagecodecs")
"""What radiographs' pixels depend on."""
RADIOGRAPHS_PER_SHARD = 512
"""A few seconds of work: what a kill loses, and what several workers share out."""
LEFT_OUT = "left out: "
USUAL_ORIENTATION = "L\\F"
"""Rows run to the patient's left, columns to the foot: as a chest is shown (PS3.3 C.7.6.1.1.1)."""


BURNED_IN, TURNED = "burnt-in text", f"another orientation than {USUAL_ORIENTATION}"
"""Notes in sources.parquet on radiographs that are taken as they lie."""


@dataclass(frozen=True)
class RadiographTask:
    """What every unit of a call shares; picklable. `known` is NIH's table, or regions by source, or None."""

    archive: Path
    settings: RadiographSettings
    key: bytes = field(repr=False)
    known: pd.DataFrame | None
    members: dict[str, Member] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    """Sources whose row in `known` has another name than theirs -> that name."""


def table_digest(table: pd.DataFrame | None) -> str | None:
    """16 hex digits over the columns and values of a metadata table; None for none."""
    if table is None:
        return None
    table = table.drop(columns=NIH_SIDE, errors="ignore")  # the same wherever there is a box of NIH's
    names = ",".join(table.columns).encode()
    return hashlib.sha256(names + pd.util.hash_pandas_object(table).to_numpy().tobytes()).hexdigest()[:16]


def _known_of(
    table: pd.DataFrame | None, sources: Sequence[str], named: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """What the metadata says of each source that it has, found by its path, its file name, or the row `named`; unknown values left out."""
    if table is None:
        return {}
    places = table.index.get_indexer([named.get(source, source) for source in sources])
    places = np.where(places < 0, table.index.get_indexer([Path(source).name for source in sources]), places)
    here = np.flatnonzero(places >= 0)
    rows = table.iloc[places[here]].to_dict("records")
    return {
        sources[int(place)]: {str(name): value for name, value in row.items() if pd.notna(value)}
        for place, row in zip(here, rows, strict=True)
    }


def process_radiographs(task: RadiographTask, root: Path, unit: Unit) -> None:
    """Read the unit's radiographs into its shard: each is kept, left out with a reason, or refused alone."""
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    sources: list[dict[str, Any]] = []
    known = _known_of(task.known, unit.sources, task.rows)
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


def _one(task: RadiographTask, source: str, known: dict[str, Any], zips: ZipReader) -> _Taken:
    """Read one source; pixels are decoded only where its own words and the metadata let it in."""
    from esad.preprocessing.privacy import group_hash
    from esad.preprocessing.radiographs.apart import square_apart
    from esad.preprocessing.radiographs.reading import read_radiograph
    from esad.preprocessing.radiographs.squares import Squaring, covered_square

    settings = task.settings
    reason = _why_left_out(settings.projection, known["view"]) if known.get("view") else None
    if reason:
        return _Taken(reason=reason)
    path = task.archive / source
    content = zips.read(source) if source in task.members else _content(path)
    image = read_radiograph(content, Path(source).name)
    own = _why_left_out("all", image.view)
    if own:  # whatever the metadata say
        return _Taken(reason=own)
    view = known.get("view") or image.view
    if image.unfit:
        return _Taken(reason=f"{LEFT_OUT}{image.unfit}")
    reason = _why_left_out(settings.projection, view)
    if reason:
        return _Taken(reason=reason)
    how = Squaring(settings.resizing, settings.crop, settings.size, settings.equalise)
    picture, shape, said = square_apart(content if source in task.members else path, path.name, how)
    patient, finding = known.get("patient") or image.patient, known.get("finding")
    region, told = _region(known, shape, how)
    shrunk = covered_square(shape, how)[2] / how.size
    row: dict[str, Any] = {
        "source": source, "place": "0", "split": known.get("split"), "view": view, "finding": finding,
        "label": known.get("label", None if finding is None else int(finding != NORMAL)),
        "semi_label": known.get("semi_label"),
        "group": group_hash(task.key, str(patient)) if patient else None,
        "pixel_spacing": image.spacing * shrunk if image.spacing else np.nan, "orientation": image.orientation,
        **region,
    }  # fmt: skip
    turned = image.orientation not in (None, USUAL_ORIENTATION)
    notes = [note for note, stated in ((BURNED_IN, image.burned_in), (TURNED, turned)) if stated]
    return _Taken(row, picture, notes="; ".join([*notes, *image.doubts, *said, *told]) or None)


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


def _region(
    known: dict[str, Any], shape: tuple[int, ...], how: Squaring
) -> tuple[dict[str, float | None], list[str]]:
    """(REGION in pixels of the square, null where none is known or it lies outside; what a person should know of it)."""
    from esad.preprocessing.radiographs.squares import region_in_square

    box, notes = box_in_source(known, shape)
    region = region_in_square(box, shape, how) if box else None
    return dict(zip(REGION, region or [None] * 4, strict=True)), notes
