"""Which items and slides count in figures: those that the run has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.runs.run_files import read_assignments, read_config
from esad.pipeline.scoring.open_scores import Scores
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.splits.label_names import meant_sources

if TYPE_CHECKING:
    import pandas as pd


SEEN = ("train", "validation")


def unseen(scores: Scores) -> pd.Series:
    """Bool per row of the table: the run neither trained on the item nor took it as a reference (`part` says so)."""
    return ~scores.table["part"].isin(SEEN).fillna(False).astype(bool)


def evaluated_items(scores: Scores) -> tuple[pd.DataFrame, str]:
    """The labelled rows that count, and which they are: `test part`, or `all labelled` of a store new to the run."""
    table = scores.table
    labelled = table["label"].notna()
    test = (table["part"] == "test").fillna(False).astype(bool)
    if test.any():
        return table[labelled & test], "test part"
    return table[labelled & unseen(scores)], "all labelled"


OF_TILES = ("item_id", "source", "group", "score", "threshold", "label", "tumour_fraction")


def counted_tiles(scores: Scores) -> pd.DataFrame:
    """All tiles, labelled or not, of the slides that count: none of a slide's tiles was seen by the run. Columns OF_TILES.

    Where there is a test part, a slide has a tile in it.
    """
    table = scores.table
    slides = table["source"]
    counted = ~slides.isin(slides[~unseen(scores)].unique())
    test = (table["part"] == "test").fillna(False).astype(bool)
    if test.any():
        counted &= slides.isin(slides[test].unique())
    return table.loc[counted, [name for name in OF_TILES if name in table]]


def unlabelled(scores: Scores, labels: pd.DataFrame | None = None) -> pd.DataFrame:
    """The rows that a label would teach something: without one, in the scores or in `labels` (as `read_labels` has them).

    What trained unlabelled is among them; the test part is not, which stays to measure by.
    """
    table = scores.table
    held = table["part"].isin(("validation", "test")).fillna(False).astype(bool)
    open_ = table["label"].isna() & ~held
    if "group" in table:  # a group is never divided, so a mark on one that measures would not be used
        open_ &= ~table["group"].isin(set(table.loc[held, "group"].dropna())).fillna(False).astype(bool)
    if labels is not None:
        open_ &= ~_named(table, labels)
    return table[open_].reset_index(drop=True)


def _named(table: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Bool per row of `table`: `labels` name the item, or its source as `apply_labels` understands it."""
    key = "item_id" if "item_id" in labels else "source"
    names, stated = table[key].astype(str), labels[key].astype(str).tolist()
    if key == "source":
        meant = meant_sources(stated, names.unique().tolist())
        stated = [meant.get(name, name) for name in stated]
    return names.isin(stated)


def made_from_now(scores: Scores, names: pd.Series) -> list[str] | None:
    """What the items `names` are made from (`contents.made_from`); None where the store is gone, or another one than was scored."""
    from esad.preprocessing.store.contents import made_from
    from esad.preprocessing.store.store import Store

    try:
        store = Store(Path(scores.marker["store"]))
    except EsadError:
        return None
    items = store.manifest[store.manifest["item_id"].isin(names)]
    if scores.marker.get("inputs") != store.description["inputs"] or len(items) != len(names):
        return None
    items = items.set_index("item_id", drop=False).loc[names]
    return made_from(items, store.sources, store.shard)


def labelled_in_training(scores: Scores) -> list[str]:
    """The items whose label the run was trained with, as marks given to it are; none where the scores are of another store, or
    the run is gone."""
    try:
        trained_on, used = read_config(scores.run)["store"], read_assignments(scores.run)
    except EsadError:
        return []
    if scores.marker.get("inputs") != trained_on["inputs"]:
        return []
    return used.loc[used["semi_label"].isin([-1, 1]), "item_id"].astype(str).tolist()
