"""One file of vectors to its shard, a part at a time, with what is known of its rows and of its slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.conversion.columns import with_labels
from esad.pipeline.conversion.image_notes import count_notes
from esad.pipeline.embedding.slide_facts import Placed, open_slide, placed
from esad.pipeline.embedding.vector_sources import choice_of
from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.settings.embeddings import EmbeddingSettings
from esad.pipeline.stage.errors import EsadError, InputError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.preprocessing.embeddings.arrays import Head
from esad.preprocessing.embeddings.reading import as_stored, packed_size, places_of, read_head, read_vectors
from esad.preprocessing.gate.refusals import refusing
from esad.preprocessing.store.shards import ShardWriter
from esad.preprocessing.store.store import Unit, write_atomically, write_unit
from esad.preprocessing.tables.columns import IGNORED, Columns
from esad.preprocessing.tables.items import describe_items

KEPT = ("view", "finding", "class_name")
"""Columns of a file that are kept beside those that settings name: others may hold names of people."""
OF_SLIDES = (
    "width", "height", "slide_mpp", "mpp", "tile_side", "tile_step", "thumbnail", "thumbnail_downsample", "slide_mpp_x", "slide_mpp_y",
    "slide_offset_x", "slide_offset_y", "notes",
)  # fmt: skip
PNG_LEVEL = 1


@dataclass(frozen=True)
class VectorTask:
    """What every unit of a call shares; picklable. `folders` are the fingerprints of sources that are folders."""

    archive: Path
    settings: EmbeddingSettings
    slides: Mapping[str, Path] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    site_key: bytes | None = field(default=None, repr=False)
    """Where it is given, sites are kept as hashes with it."""

    @property
    def columns(self) -> Columns:
        """The columns that a file's rows are known by; those that a person named must be there."""
        own, usual = self.settings, EmbeddingSettings()
        names = [
            (own.label, usual.label),
            (own.group, usual.group),
            (own.split, usual.split),
            (own.site_column, usual.site_column),
        ]
        named = {name for name, default in [*names, (own.id, None)] if name is not None and name != default}
        return Columns(
            own.label,
            own.group,
            own.split,
            own.id or IGNORED,
            own.site_column,
            frozenset(named),
            self.site_key,
        )


def process_vectors(task: VectorTask, root: Path, unit: Unit) -> None:
    """Read one file into its shard of float16 or float32 rows; one that cannot be read is refused."""
    (source,) = unit.sources
    path = task.archive / source
    try:
        with refusing(path.name, "file of vectors"):
            head = read_head(path, choice_of(task.settings))
            where, thumbnail = _where(task, source, head)
            items = _items(task, source, head, where)
            _write_shard(root, unit.number, path, head, task.settings.precision)
            more = _described(root, unit.number, head, where, thumbnail)
    except InputError as error:
        empty = pd.DataFrame({"source": [], "place": []})
        row = {**refused_row(task.archive, source, error), **dict.fromkeys(OF_SLIDES)}
        write_unit(root, unit, None, empty, pd.DataFrame([row]))
        return
    write_unit(root, unit, None, items, pd.DataFrame([_source_row(task, source, len(items), more)]))


def _where(task: VectorTask, source: str, head: Head) -> tuple[Placed | None, np.ndarray | None]:
    """Where the tiles lie, and the slide's thumbnail; None where the file has no places, or no slide is at hand."""
    corners = places_of(head.items)
    if corners is None:
        return None, None
    slide = open_slide(task.slides[source], task.settings) if source in task.slides else None
    name = Path(source).name
    return placed(corners, head.facts, slide, task.settings, name), slide.thumbnail if slide else None


def _items(task: VectorTask, source: str, head: Head, where: Placed | None) -> pd.DataFrame:
    """The manifest rows of a file's vectors; a slide's are one group where the file names no other."""
    path, held = Path(source), head.items
    columns = task.columns
    columns = columns.found_in(list(held), [name for name in held if name not in KEPT], path)
    columns.check(list(held), path)
    known = [name for name in dict.fromkeys((*columns.known, *KEPT)) if name in held]
    items = describe_items(held[known], columns, path)
    items.insert(0, "source", source)
    items.insert(1, "place", [str(row) for row in range(head.count)])
    if where is not None:
        _check_one_slide(items, where.corners, path.name)
        if "group" not in items:
            items["group"] = path.with_suffix("").as_posix()
        items["x"], items["y"] = where.corners.T
        items["width"] = items["height"] = round(where.side)
        items["mpp"] = where.mpp
    return items


def _check_one_slide(items: pd.DataFrame, corners: np.ndarray, name: str) -> None:
    """InputError where vectors with places are of several groups, or two lie at one place: they are of several slides, which would be
    laid over each other. `corners` (N, 2)."""
    groups = items["group"].dropna().unique() if "group" in items else []
    taken = pd.DataFrame(corners).duplicated()
    if len(groups) < 2 and not taken.any():
        return
    why = (
        f"{len(groups)} groups"
        if len(groups) > 1
        else f"two vectors at {tuple(corners[taken.to_numpy()][0].tolist())}"
    )
    raise InputError(
        f"{name}: holds {why}, and vectors with places in one file are one slide. Write a file a slide, or leave the places out with "
        "--coords none."
    )


def _write_shard(root: Path, number: int, path: Path, head: Head, precision: str) -> None:
    with ShardWriter(root, number, head.count, (head.width,), precision) as shard:
        done = 0
        for rows in read_vectors(path, head):
            shard.write(np.arange(done, done + len(rows)), as_stored(rows, precision, path, done))
            done += len(rows)
        shard.commit(np.ones(head.count, dtype=bool))


def _described(
    root: Path, number: int, head: Head, where: Placed | None, thumbnail: np.ndarray | None
) -> dict[str, Any]:
    """OF_SLIDES; the thumbnail is written."""
    from PIL import Image

    columns = dict.fromkeys(OF_SLIDES) | (where.columns if where else {})
    notes = [*head.notes, *(where.notes if where else ())]
    if notes:
        columns["notes"] = "; ".join(notes)
    if where is not None and thumbnail is not None:
        name = f"thumbnails/{number:05d}.png"
        write_atomically(root / name, partial(Image.fromarray(thumbnail).save, compress_level=PNG_LEVEL))
        columns |= {"thumbnail": name, "thumbnail_downsample": where.columns["width"] / thumbnail.shape[1]}
    return columns


def _source_row(task: VectorTask, source: str, count: int, more: dict[str, Any]) -> dict[str, Any]:
    """A folder has a size and a fingerprint, too: of all its files."""
    path = task.archive / source
    if source not in task.folders:
        return source_row(task.archive, source, count, **more)
    return {
        "source": source, "state": "done", "reason": None, "attempts": 1, "items": count, "bytes": packed_size(path),
        "fingerprint": task.folders[source], **more,
    }  # fmt: skip


def finish_vectors(settings: EmbeddingSettings, items: pd.DataFrame, sources: pd.DataFrame) -> pd.DataFrame:
    """Labels of the whole store, places of all its items or of none, and a group for each file where there are several.

    EsadError naming two files where one has places and the other none.
    """
    items = with_labels(items, settings)
    if "x" in items and items["x"].isna().any():
        lacking = items["x"].isna()
        with_places, without = items.loc[~lacking, "source"].iloc[0], items.loc[lacking, "source"].iloc[0]
        raise EsadError(
            f"{with_places} says where its tiles lie, {without} does not: make separate stores, or leave the places out with "
            "--coords none."
        )
    for name in ("x", "y", "width", "height"):
        if name in items:
            items[name] = items[name].astype("int64")
    if items["group"].isna().all() and items["source"].nunique() > 1:
        items["group"] = [Path(source).with_suffix("").as_posix() for source in items["source"]]
        say(
            f"Each of {items['source'].nunique()} files is a group (a slide, a patient): it stays on one side of a split."
        )
    elif items["group"].isna().all() and settings.group != IGNORED:
        say(
            "The vectors have no group: name a column of patients or slides with --group, else training may tell them apart."
        )
    return items


def with_vector_notes(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells what was assumed of the slides, and of how many files."""
    counts = count_notes(outcome)
    if not counts:
        return outcome
    told = "; ".join(f"{note} ({count} files)" for note, count in counts.items())
    return replace(outcome, message=f"{outcome.message} Notes: {told}.")
