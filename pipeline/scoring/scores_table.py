"""The scores table: final scores and what store and run know of the items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.items import places_among
from esad.pipeline.runs.run_files import read_assignments
from esad.pipeline.runs.run_folder import Run
from esad.pipeline.scoring.grown import keep_scored
from esad.pipeline.scoring.heat import HOT
from esad.pipeline.scoring.scores import TERMS, final_scores, raw_terms
from esad.pipeline.scoring.seen_before import with_seen
from esad.pipeline.scoring.work import WORK, Advance, Crew, Opened, Pieces, described_work
from esad.pipeline.stage.outcome import items_of
from esad.pipeline.stage.progress import say
from esad.pipeline.thresholds.reference_sets import ReferenceSets
from esad.preprocessing.splits.semisupervised import labels_from_classes
from esad.preprocessing.store.store import item_id

if TYPE_CHECKING:
    from pandas.api.extensions import ExtensionArray

    from esad.preprocessing.store.store import Store


CARRIED = (
    "id", "source", "group", "view", "site", "finding", "class_name", "x", "y", "width", "height", "tumour_fraction",
    "region_x", "region_y", "region_width", "region_height", "pixel_spacing",
)  # fmt: skip
"""Manifest columns that the scores table repeats, so that it can be read alone."""
PART = 2**16
"""Rows of the scores table that are in memory at a time, and of a row group of its file."""


def score_shard(opened: Opened, number: int, advance: Advance) -> np.ndarray:
    """Score terms (TERMS) of the items of a shard, in the manifest's order: float32 (N, 3)."""
    positions = np.flatnonzero(opened.store.manifest["shard"].to_numpy() == number)
    found = raw_terms(opened.method, opened.items, positions, opened.device, opened.run.augmentation, advance)
    opened.store.release()
    return found


def score_shards(opened: Opened, crew: Crew) -> Pieces:
    """Score all items, shard by shard; what was scored before is kept, also of a store that has grown since."""
    numbers, counts = np.unique(opened.store.manifest["shard"].to_numpy(), return_counts=True)
    names = [f"{number:05d}" for number in numbers]
    pieces = Pieces(
        opened.folder / WORK,
        dict(zip(names, map(int, numbers), strict=True)),
        dict(zip(names, map(int, counts), strict=True)),
    )
    of = described_work(opened, crew.device)
    if crew.first:
        pieces.begin(of)
        kept = keep_scored(opened.folder, opened.store, pieces)
        if kept:
            say(
                f"{kept} of {len(opened.store)} {items_of(opened.store.kind)} have their scores; the others are scored."
            )
    crew.meet()
    crew.work(opened, score_shard, pieces, f"score {opened.store.root.name}")
    return pieces


def scores_table(opened: Opened, pieces: Pieces, sets: ReferenceSets) -> Iterator[pd.DataFrame]:
    """The scores table, with empty HOT for pictures, of the shards that `score_shards` scored, PART rows at a time.

    p-values and thresholds are those by `sets`.
    """
    store, run = opened.store, opened.run
    shards = store.manifest["shard"].to_numpy()
    raw = np.empty((len(store), len(TERMS)), np.float32)
    for name, number in pieces.arguments.items():
        raw[shards == number] = pieces.read(name)
    names, known = _held(store.manifest["item_id"]), known_of_items(run, store)
    for start in range(0, len(store), PART):
        rows = slice(start, start + PART)
        table = pd.DataFrame(raw[rows], columns=list(TERMS))
        table.insert(0, "item_id", names[rows])
        table = final_scores(table, run.normals, run.settings.score.kind)
        put_p_values(table, sets, store.manifest.iloc[rows])
        for name, column in known.items():
            table[name] = column[rows]
        if store.pictures:
            table[list(HOT)] = np.float32(np.nan)
        yield table


def put_p_values(table: pd.DataFrame, sets: ReferenceSets, manifest: pd.DataFrame) -> None:
    """Put `p_value` and `threshold` behind the percentile; `manifest` has the same rows."""
    by = sets.rule.by
    p, at = sets.compare(
        table["score"].to_numpy(dtype=float), manifest[by] if by and by in manifest else None
    )
    for name, values in (("threshold", at), ("p_value", p)):
        if name in table:
            table[name] = values
        else:
            table.insert(table.columns.get_loc("percentile") + 1, name, values)  # type: ignore[arg-type]


def known_of_items(run: Run, store: Store) -> dict[str, ExtensionArray]:
    """What the store and the run know of the items, by column of the scores table: CARRIED, label, part."""
    manifest = store.manifest
    known = {name: _held(manifest[name]) for name in CARRIED if name in manifest}
    known["label"] = labels_from_classes(manifest, run.settings.data.normal_classes, trained_on=False).array
    known["part"] = parts_of(run, store)
    return known


def described(table: pd.DataFrame, run: Run, store: Store, sets: ReferenceSets) -> pd.DataFrame:
    """`table`, of all items of the store, with what the store and the run know of them, and p-values by `sets`."""
    put_p_values(table, sets, store.manifest)
    for name, column in known_of_items(run, store).items():
        table[name] = column
    return table


def _held(column: pd.Series) -> ExtensionArray:
    """A column's values as they are: texts as objects of Python would take ten times the memory."""
    return column.astype("str").array if isinstance(column.dtype, pd.StringDtype) else column.array


SPARSE = 2
"""Rows of a table of which some were left out have numbers up to so many times their count, or are taken as new."""


def parts_of(run: Run, store: Store) -> ExtensionArray:
    """What the run used each item of `store` for: train, validation or test, or null, (N,) text.

    In another store than the run's own, only what it trained on or took as a reference is told: items at the same place of the very
    same input file, whatever it is called now (two archives may both hold an `a.npz`, so the fingerprint must agree), items of the
    same groups, and copies (`with_seen`).
    """
    used, manifest = read_assignments(run.root), store.manifest  # not the run's own, which stays in memory
    if not run.is_own(store):
        used = used[used["part"].isin(("train", "validation"))]
    part = used["part"].astype("string").array
    found = pd.Series(part.take(places_among(manifest["item_id"], used["item_id"]), allow_fill=True))
    known = run.sources[run.sources["fingerprint"].fillna("") != ""]
    files = store.sources.merge(known, on="fingerprint", suffixes=("", "_before"))
    same = set(files.loc[files["source"] == files["source_before"], "source"])
    if not run.is_own(store):
        found[~manifest["source"].isin(same)] = pd.NA
    moved = files[~files["source"].isin(same)].drop_duplicates("source")
    if len(moved):
        names = manifest["item_id"].map(_names_before(moved, manifest)).dropna().astype("string")
        found[names.index] = part.take(places_among(names, used["item_id"]), allow_fill=True)
    return (found if run.is_own(store) else with_seen(run, store, found)).array


def _names_before(moved: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, str]:
    """item_id -> what it was called when its file was `source_before`; `moved` has a row for each file of another name.

    A manifest does not keep places: they are numbers of rows, or corners of tiles, and an item_id that one of them gives is that item's.
    """
    found: dict[str, str] = {}
    rows = manifest.groupby("source").indices
    for source, before in moved[["source", "source_before"]].itertuples(index=False):
        here = rows.get(source, [])
        places = [str(number) for number in range(SPARSE * len(here) + 1)]
        if "x" in manifest and len(here):
            corners = manifest[["x", "y"]].iloc[here].dropna().astype("int64")
            places += [f"{x},{y}" for x, y in corners.itertuples(index=False)]
        found |= {item_id(source, place): item_id(before, place) for place in places}
    return found
