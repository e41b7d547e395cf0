"""SCORES folders held open for a page: one table of items, and beside it the figures of each run, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_files import read_normals
from esad.pipeline.scoring.open_scores import (
    NEEDED,
    SCORE_AGAIN,
    Scores,
    label_settings,
    of_slides,
    read_explanation,
    read_marker,
    read_scores_table,
    scores_folder,
)
from esad.pipeline.scoring.scores import MEMBERS
from esad.pipeline.scoring.slides.slide_scores import slide_scores, suspicious
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.preprocessing.slides.outlines.frame import COLUMNS as FRAME
from esad.preprocessing.store.kinds import ROWS
from esad.preprocessing.store.reading import read_table
from esad.preprocessing.store.store import Store

FIGURES = (
    "score", "percentile", "p_value", "threshold", "reconstruction", "norm", "eq9", "standardised", *MEMBERS,
)  # fmt: skip
"""What a run says of an item."""
TEXTS = ("source", "group", "view", "finding", "class_name", "part")
PLACES = ("x", "y", "width", "height")
REGION = ("region_x", "region_y", "region_width", "region_height")
KNOWN = ("item_id", *TEXTS, "label", *PLACES, "tumour_fraction", *REGION, "hot_x", "hot_y")
"""What the store says of it, as the scores table repeats it."""
SLIDE_PLACE = ("map_tile", "map_step", "width", "height", "slide_mpp", *FRAME)
SLIDE_FIGURES = ("max", "top_mean", "p99", "suspicious")


@dataclass(frozen=True)
class RunScores:
    """One SCORES folder: its marker, its run, and `figures` (FIGURES that it has) in the rows of the page's items."""

    scores: Scores
    figures: pd.DataFrame
    name: str
    """The run's name, with its folder's where two have one name; never a whole path, since a page may be shown to others."""

    @property
    def root(self) -> Path:
        """The SCORES folder."""
        return self.scores.root

    @cached_property
    def references(self) -> pd.DataFrame | None:
        """normals.parquet of the run; None where that is gone or damaged."""
        try:
            return read_normals(self.scores.run)
        except EsadError:
            return None

    @cached_property
    def normals(self) -> np.ndarray:
        """Ascending scores of the held-out normals, float64 (n,); none without `references`."""
        if self.references is None:
            return np.empty(0)
        values = self.references["score"].to_numpy(dtype=float)
        return np.sort(values[np.isfinite(values)])

    @cached_property
    def stands_out(self) -> np.ndarray:
        """Which items lie above their threshold, bool (N,); the map has no colour on the others."""
        return suspicious(self.figures)

    @cached_property
    def explanation(self) -> dict[str, Any]:
        """What the panels of drawn overlays are; empty where none is drawn, or the file is damaged."""
        try:
            return read_explanation(self.root) or {}
        except EsadError:
            return {}

    @cached_property
    def candidates(self) -> pd.DataFrame | None:
        """candidates.parquet; None where there is none that can be read."""
        try:
            return read_table(
                self.root / "candidates.parquet", SCORE_AGAIN, ("source", "left", "top", "right", "bottom")
            )
        except EsadError:
            return None


class Subject:
    """All that a page is about. A row number is a place in `items`; a slide's number a place in `slides`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open the scores at `paths`, RUN or SCORES folders; EsadError where one cannot be read, or has no item of the first."""
        opened = [_opened(path) for path in paths]
        first = opened[0]
        self.kind = str(first.marker["kind"])
        self.of_slides, self.pictures = of_slides(first.marker), self.kind not in ROWS
        self.items = _items(first.table)
        names = _names(opened)
        self.runs = tuple(
            RunScores(each, _figures(each, first, self.items), name)
            for each, name in zip(opened, names, strict=True)
        )
        self.store_root = Path(first.marker["store"])
        self._rows = pd.Index(self.items["item_id"])

    def __len__(self) -> int:
        return len(self.items)

    def row_of(self, item_id: str) -> int:
        """Row of an item, or -1."""
        return int(self._rows.get_indexer([item_id])[0])

    def rows_of(self, names: Sequence[str]) -> np.ndarray:
        """Rows of items, -1 for names that are not there."""
        return self._rows.get_indexer(list(names))

    @cached_property
    def label_settings(self) -> dict[str, Any]:
        """By which outlines are read, as the scored store read them; empty where it and its run are gone."""
        try:
            return label_settings(self.runs[0].scores)
        except EsadError:
            return {}

    @cached_property
    def _store(self) -> tuple[Store | None, str]:
        try:
            store = Store(self.store_root)
        except EsadError as error:
            return None, str(error)
        manifest = store.manifest["item_id"]
        if (
            len(manifest) == len(self.items)
            and (manifest.to_numpy() == self.items["item_id"].to_numpy()).all()
        ):
            return store, ""
        return None, f"{self.store_root}: holds other items than the scores; score it again."

    @property
    def store(self) -> Store | None:
        """The store of the items, row by row the same; None where it is gone or another one."""
        return self._store[0]

    @property
    def store_told(self) -> str:
        """Why there is no store."""
        return self._store[1]

    @cached_property
    def sources(self) -> pd.DataFrame | None:
        """sources.parquet of the store by source."""
        return None if self.store is None else self.store.sources.set_index("source", drop=False)

    @cached_property
    def slides(self) -> pd.DataFrame:
        """A row per slide, in the order of their names: source, tiles, label, group, SLIDE_PLACE; none but of tiles."""
        if not self.of_slides:
            return pd.DataFrame({"source": []})
        return self.slide_figures[0]

    @cached_property
    def slide_figures(self) -> tuple[pd.DataFrame, ...]:
        """`slides` with SLIDE_FIGURES of each run."""
        named = self.items["source"].astype(str)
        group = self.items.groupby(named, sort=True)["group"].first() if "group" in self.items else None
        found, order = [], None
        for run in self.runs:
            figures = {"score": run.figures["score"], "threshold": run.figures["threshold"]}
            table = slide_scores(self.items.assign(source=named, **figures))
            places = _places(run.root)
            table = table.merge(places, on="source", how="left") if places is not None else table
            table["group"] = table["source"].map(group).astype("string") if group is not None else None
            order = table["source"] if order is None else order
            found.append(table.set_index("source").reindex(order).reset_index())
        return tuple(found)

    @cached_property
    def slide_of_row(self) -> np.ndarray:
        """Number of each row's slide."""
        return pd.Index(self.slides["source"]).get_indexer(self.items["source"].astype(str))

    @cached_property
    def _rows_by_slide(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.slide_of_row, kind="stable")
        return order, np.searchsorted(self.slide_of_row[order], np.arange(len(self.slides) + 1))

    def rows_of_slide(self, slide: int) -> np.ndarray:
        """Rows of a slide's tiles, ascending."""
        order, begins = self._rows_by_slide
        return order[begins[slide] : begins[slide + 1]]

    def boxes(self, slide: int) -> np.ndarray:
        """x, y, width, height in level-0 pixels of a slide's tiles, float64 (n, 4): sides are not rounded where known."""
        rows = self.items.iloc[self.rows_of_slide(slide)]
        boxes = rows[list(PLACES)].to_numpy(dtype=float, copy=True)
        side = self.slides["map_tile"].iloc[slide] if "map_tile" in self.slides else np.nan
        if np.isfinite(side):
            boxes[:, 2:] = side
        return boxes

    def size(self, slide: int) -> tuple[int, int]:
        """Width and height of a slide in level-0 pixels; of one that does not say so, what its tiles cover."""
        row = self.slides.iloc[slide]
        stated = [row.get("width"), row.get("height")]
        if all(value is not None and np.isfinite(value) for value in stated):
            return int(stated[0]), int(stated[1])
        boxes = self.boxes(slide)
        right, bottom = np.ceil((boxes[:, :2] + boxes[:, 2:]).max(0))
        return int(right), int(bottom)


def _opened(path: Path) -> Scores:
    root = scores_folder(path)
    also = [name for name in (*KNOWN, *FIGURES) if name not in NEEDED]
    scores = Scores(root, read_marker(root), read_scores_table(root, also))
    if not len(scores.table):
        raise EsadError(f"{root}: holds no scores.")
    return scores


def _names(opened: Sequence[Scores]) -> list[str]:
    names = [each.run.name for each in opened]
    if len(set(names)) == len(names):
        return names
    longer = [f"{each.run.parent.name}/{each.run.name}" for each in opened]
    return (
        longer
        if len(set(longer)) == len(longer)
        else [f"{name} ({number + 1})" for number, name in enumerate(names)]
    )


def _items(table: pd.DataFrame) -> pd.DataFrame:
    items = table[[name for name in KNOWN if name in table]].reset_index(drop=True)
    for name in TEXTS:
        if name in items:
            items[name] = items[name].astype("string").astype("category")
    return items


def _figures(each: Scores, first: Scores, items: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in FIGURES if name in each.table]
    table = each.table[names].astype(float)
    if each is first:
        return table.reset_index(drop=True)
    if each.marker["kind"] != first.marker["kind"]:
        raise UsageError(
            f"{each.root}: scores of {each.marker['kind']}; {first.root} has {first.marker['kind']}."
        )
    compared = ("inputs",) if first.marker["kind"] in ROWS else ("inputs", "store")
    if any(each.marker.get(name) != first.marker.get(name) for name in compared):
        raise UsageError(
            f"{each.root}: scores of another store than {first.root}, or of what it held before: their pictures are not the same ones. "
            "Score one store with each run (what has grown is scored on), or view this one alone."
        )
    places = pd.Index(each.table["item_id"]).get_indexer(items["item_id"])
    if (places < 0).all():
        raise UsageError(
            f"{each.root}: has no item of {first.root}. Runs are shown side by side on the same store; view this one alone."
        )
    taken = table.take(np.maximum(places, 0)).reset_index(drop=True)
    taken[places < 0] = np.nan
    return taken


def _places(root: Path) -> pd.DataFrame | None:
    try:
        table = read_table(root / "slides.parquet", SCORE_AGAIN, ("source",), SLIDE_PLACE)
    except EsadError:
        return None
    return table.drop_duplicates("source").astype({"source": "string"})
