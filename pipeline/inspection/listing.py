"""Which items or slides are shown, in which order: filtered, sorted and cut into pages here, so that a page holds a page only."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from esad.pipeline.inspection.marks import MARKS, Marks
from esad.pipeline.inspection.subject import FIGURES, SLIDE_FIGURES, Subject
from esad.pipeline.stage.errors import EsadError

MOST_ROWS = 500
"""Of a page."""
KEPT = 24
"""Orders that are kept: a person goes back and forth."""
UNMARKED = "none"


@dataclass(frozen=True)
class Query:
    """What a person asked for; empty texts and None do not filter. `run` is the number of the run whose figures count.

    `sort` is a column, `disagreement` (of label or mark, and percentile) or `runs` (largest difference of percentiles).
    """

    of: str = "item"
    run: int = 0
    sort: str = "score"
    descending: bool = True
    label: str = ""
    mark: str = ""
    part: str = ""
    group: str = ""
    view: str = ""
    slide: int | None = None
    least: float | None = None
    most: float | None = None
    text: str = ""

    @classmethod
    def read(cls, stated: Mapping[str, str]) -> Query:
        """From the parts of an address; ValueError, in words, for a value that cannot be."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            text = stated.get(field.name, "").strip()
            if not text:
                continue
            try:
                values[field.name] = _parsed(field.name, text)
            except ValueError as error:
                raise ValueError(f"{field.name} = {text[:40]!r}: {error}") from error
        return cls(**values)


def _parsed(name: str, text: str) -> Any:
    if name == "of":
        if text not in ("item", "slide"):
            raise ValueError("expected item or slide")
        return text
    if name == "descending":
        return text not in ("0", "false")
    if name in ("run", "slide"):
        if not text.isdigit():
            raise ValueError("expected a number from 0")
        return int(text)
    if name in ("least", "most"):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("expected a number")
        return value
    return text


class Listing:
    """Orders of a subject's items and slides under the marks that there are."""

    def __init__(self, subject: Subject, marks: Marks) -> None:
        self._subject, self._marks = subject, marks
        self._kept: OrderedDict[tuple[Query, str], np.ndarray] = OrderedDict()
        self._said: tuple[str, dict[str, np.ndarray]] = ("", {})
        self._lock = Lock()

    def order(self, query: Query) -> np.ndarray:
        """Rows (or numbers of slides) that `query` asks for, in its order; ValueError for a column or run that is not there."""
        if query.run >= len(self._subject.runs):
            raise ValueError(f"run = {query.run}: there are {len(self._subject.runs)}")
        key = (query, self._marks.version())
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._ordered(query)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def said(self, of: str) -> np.ndarray:
        """Place in MARKS of each item's (slide's) mark, -1 for none: int8 (N,)."""
        version = self._marks.version()
        with self._lock:
            known, found = self._said
            if known == version and of in found:
                return found[of]
        names = pd.Index(self._table(of)["item_id" if of == "item" else "source"].astype(str))
        said = np.full(len(names), -1, np.int8)
        current = [entry for entry in self._marks.current(of).values() if entry.mark is not None]
        places = names.get_indexer([entry.name for entry in current]) if current else np.empty(0, int)
        for place, entry in zip(places, current, strict=True):
            if entry.mark not in MARKS:
                raise EsadError(
                    f"{self._marks.path}: has the mark {entry.mark!r}; expected {', '.join(MARKS)}. Name another file with --marks FILE."
                )
            if place >= 0:
                said[place] = MARKS.index(entry.mark)
        with self._lock:
            before = self._said[1] if self._said[0] == version else {}
            self._said = (version, {**before, of: said})
        return said

    def _table(self, of: str) -> pd.DataFrame:
        return self._subject.items if of == "item" else self._subject.slides

    def _ordered(self, query: Query) -> np.ndarray:
        keep = self._filtered(query)
        rows = np.flatnonzero(keep)
        values = self._keys(query)[rows]
        missing = np.isnan(values)
        ranked = np.where(missing, 0, -values if query.descending else values)
        return rows[np.lexsort((rows, ranked, missing))]  # what has no value is last, whichever way

    def _keys(self, query: Query) -> np.ndarray:
        """Numbers that sort as the column does, float64 (N,); NaN where there is none."""
        made = self._slide_keys(query) if query.of == "slide" else self._item_keys(query)
        if made is None and query.sort == "mark":
            said = self.said(query.of)
            made = np.where(said >= 0, said, np.nan)
        return column_keys(self._table(query.of), query.sort) if made is None else made

    def _slide_keys(self, query: Query) -> np.ndarray | None:
        if query.sort == "reviewed":
            return self.reviewed()
        if query.sort in SLIDE_FIGURES:
            return self._subject.slide_figures[query.run][query.sort].to_numpy(dtype=float)
        return None

    def _item_keys(self, query: Query) -> np.ndarray | None:
        figures = self._subject.runs[query.run].figures
        if query.sort in figures:
            return figures[query.sort].to_numpy(dtype=float)
        if query.sort == "disagreement":
            return disagreement(self._labels(), figures["percentile"].to_numpy())
        if query.sort == "runs":
            ranks = np.stack([run.figures["percentile"].to_numpy() for run in self._subject.runs])
            return ranks.max(0) - ranks.min(0)
        return None

    def _labels(self) -> np.ndarray:
        """0, 1 or NaN of each item: the mark where there is one, else the label."""
        labels = self._subject.items["label"].to_numpy(dtype=float, na_value=np.nan)
        said = self.said("item")
        return np.where(said >= 0, np.array([0.0, 1.0, np.nan])[said], labels)

    def reviewed(self) -> np.ndarray:
        """How many tiles of each slide are marked, float64."""
        of = self._subject.slide_of_row[self.said("item") >= 0]
        return np.bincount(of[of >= 0], minlength=len(self._subject.slides)).astype(float)

    def _filtered(self, query: Query) -> np.ndarray:
        table = self._table(query.of)
        keep = np.ones(len(table), bool)
        if query.label:
            labels = table["label"].to_numpy(dtype=float, na_value=np.nan)
            keep &= (
                np.isnan(labels)
                if query.label == UNMARKED
                else labels == {"normal": 0, "anomaly": 1}.get(query.label, 9)
            )
        if query.mark:
            said = self.said(query.of)
            wanted = [place for place, mark in enumerate(MARKS) if mark in query.mark.split("|")]
            keep &= (
                (said < 0)
                if query.mark == UNMARKED
                else (said >= 0)
                if query.mark == "any"
                else np.isin(said, wanted)
            )
        for name in ("part", "group", "view"):
            wanted_text = getattr(query, name)
            if wanted_text and name in table:
                column = table[name].astype("string")
                keep &= (
                    (column.isna() if wanted_text == UNMARKED else column == wanted_text)
                    .fillna(False)
                    .to_numpy(bool)
                )
            elif wanted_text:
                keep[:] = False
        if query.of == "item" and query.slide is not None:
            keep &= self._subject.slide_of_row == query.slide
        if query.of == "item" and (query.least is not None or query.most is not None):
            percentile = self._subject.runs[query.run].figures["percentile"].to_numpy()
            keep &= (percentile >= (query.least or 0)) & (
                percentile <= (1 if query.most is None else query.most)
            )
        if query.text:
            keep &= _holding(table, query.text)
        return keep

    def page(self, query: Query, offset: int, limit: int) -> dict[str, Any]:
        """`total`, and `rows` from `offset` on, at most MOST_ROWS: what a list or a gallery shows of each."""
        order = self.order(query)
        rows = order[max(offset, 0) : max(offset, 0) + min(max(limit, 0), MOST_ROWS)]
        found = self.slide_rows(rows, query.run) if query.of == "slide" else self.item_rows(rows, query.run)
        return {"total": len(order), "offset": max(offset, 0), "rows": found}

    def around(self, query: Query, row: int) -> dict[str, Any]:
        """Where a row stands in the order: its place, the rows before and after it, and the next without a mark; null for none.

        A row that is not in the order has the first ones as next.
        """
        order = self.order(query)
        found = np.flatnonzero(order == row)
        place = int(found[0]) if len(found) else -1
        said = self.said(query.of)
        open_ones = np.flatnonzero(said[order] < 0)
        after = open_ones[open_ones > place]
        following = (
            after if len(after) else open_ones[open_ones != place]
        )  # from the end it goes on at the beginning
        return {
            "place": None if place < 0 else place, "total": len(order),
            "previous": int(order[place - 1]) if place > 0 else None,
            "next": int(order[place + 1]) if place + 1 < len(order) else None,
            "unreviewed": int(order[following[0]]) if len(following) else None,
            "open": len(open_ones),
        }  # fmt: skip

    def item_rows(self, rows: np.ndarray, run: int) -> list[dict[str, Any]]:
        """What is known of the items at `rows`, with the figures of a run and the mark."""
        items = self._subject.items.iloc[rows]
        figures = self._subject.runs[run].figures.iloc[rows]
        table = pd.concat([items, figures[[name for name in FIGURES if name in figures]]], axis=1)
        table.insert(0, "row", rows)
        said = self.said("item")[rows]
        slides = self._subject.slide_of_row[rows] if self._subject.of_slides else [None] * len(rows)
        return [
            {
                **record,
                "mark": MARKS[mark] if mark >= 0 else None,
                "slide": None if slide is None else int(slide),
            }
            for record, mark, slide in zip(records(table), said, slides, strict=True)
        ]

    def slide_rows(self, rows: np.ndarray, run: int) -> list[dict[str, Any]]:
        """What is known of the slides `rows`, with the figures of a run, the mark and how many tiles are marked."""
        table = self._subject.slide_figures[run].iloc[rows].copy()
        table.insert(0, "row", rows)
        table["reviewed"] = self.reviewed()[rows].astype(int)
        said = self.said("slide")[rows]
        return [
            {**record, "mark": MARKS[mark] if mark >= 0 else None}
            for record, mark in zip(records(table), said, strict=True)
        ]


def disagreement(labels: np.ndarray, percentile: np.ndarray) -> np.ndarray:
    """How far a percentile lies from what the label expects, 0 to 1; NaN without label."""
    return np.abs(labels - percentile)


def column_keys(table: pd.DataFrame, name: str) -> np.ndarray:
    """Numbers that sort as a column does, float64 (N,), NaN where it has no value; ValueError where there is no such column."""
    if name not in table:
        raise ValueError(f"sort = {name[:40]!r}: there is no such column")
    column = table[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        names = column.cat.categories.astype(str).to_numpy(dtype=object)
        rank, codes = np.argsort(np.argsort(names, kind="stable")), column.cat.codes.to_numpy()
        return np.where(codes >= 0, rank[np.maximum(codes, 0)] if len(rank) else 0, np.nan)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    codes, _ = pd.factorize(column.astype("string"), sort=True)
    return np.where(codes >= 0, codes, np.nan)


def _holding(table: pd.DataFrame, text: str) -> np.ndarray:
    """Rows with `text`, whatever its case, in a name."""
    keep = np.zeros(len(table), bool)
    for name in ("item_id", "source", "group", "finding", "class_name"):
        if name not in table:
            continue
        column = table[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            hits = column.cat.categories.astype("string").str.contains(text, case=False, regex=False)
            codes = column.cat.codes.to_numpy()
            keep |= (codes >= 0) & np.asarray(hits, bool)[codes] if len(hits) else False
        else:
            keep |= (
                column.astype("string")
                .str.contains(text, case=False, regex=False)
                .fillna(False)
                .to_numpy(bool)
            )
    return keep


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as objects that JSON holds: what is missing or no number is null."""
    columns = {}
    for name in table.columns:
        values = table[name].astype(object).tolist()
        columns[str(name)] = [_plain(value) for value in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
