"""What is written of explained rows: columns of scores.parquet, contributions.parquet, the heat map and its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.scoring.columns.contributions import ColumnShares
from esad.pipeline.scoring.columns.heat_map import HeatMap, colour_end, write_heat_map
from esad.pipeline.scoring.explanation import EXPLANATION, OVERLAYS, put_columns, run_scale
from esad.pipeline.scoring.heat import KINDS
from esad.pipeline.scoring.work import Opened, Pieces
from esad.preprocessing.store.writing import write_atomically, write_csv, write_json

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 100
"""Rows of the heat map, the highest scores first."""
MOST_IN_SCORES = 64
"""A table of more columns than these has no column for each of them in scores.parquet."""
TOP = 3
NUMBERS, PICTURE, SHEET = "contributions.parquet", "heat-map.png", "heat-map.csv"


@dataclass(frozen=True)
class Explained:
    """Contributions that were computed, in pieces: `table` are the scores, `pieces.arguments` positions in it."""

    opened: Opened
    shares: ColumnShares
    table: pd.DataFrame
    pieces: Pieces

    @cached_property
    def names(self) -> list[str]:
        """Of the columns: numbers where a store has no names."""
        return column_names(self.opened)

    @cached_property
    def how(self) -> str:
        """How the method's scores are shared out, in words."""
        from esad.models.attribution.explain import told

        return told(self.shares.method)

    @cached_property
    def positions(self) -> np.ndarray:
        """Of all explained rows, ascending."""
        return np.concatenate([*self.pieces.arguments.values(), np.empty(0, np.int64)]).astype(np.int64)

    @cached_property
    def medians(self) -> np.ndarray:
        """Of the training rows' columns: float64 (D,)."""
        from esad.models.attribution.explain import medians

        return medians(self.shares.method)[0, 0].double().cpu().numpy()

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions and contributions (n, D), piece by piece."""
        for name, positions in self.pieces.arguments.items():
            yield positions, self.pieces.read(name)

    def worst(self) -> np.ndarray:
        """Positions of the rows to draw, the highest score first; of equal ones the first in the store."""
        scores = self.table["score"].to_numpy()[self.positions]
        return self.positions[np.argsort(-scores, kind="stable")[:MOST_ROWS]]


def column_names(opened: Opened) -> list[str]:
    """Names of the feature columns: the run's, else the store's, else numbers."""
    names = opened.run.store.get("columns") or opened.store.columns
    return [str(name) for name in names] or [str(number) for number in range(opened.store.shape[0])]


def write_explained(found: Explained) -> None:
    """All that scores say of contributions; of no row at all, only that there are none."""
    folder = found.opened.folder
    columns, sums = _in_scores(found)
    put_columns(folder / "scores.parquet", columns)
    if not len(found.positions):
        return
    write_atomically(folder / OVERLAYS / NUMBERS, lambda path: _write_numbers(path, found))
    shown = _drawn(found)
    write_heat_map(folder / OVERLAYS / PICTURE, shown)
    write_csv(folder / OVERLAYS / SHEET, _sheet(found, shown))
    write_json(folder / OVERLAYS / EXPLANATION, _said(found, shown, sums))


def _in_scores(found: Explained) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Columns of scores.parquet by name, empty for rows that were not explained; and the sums of contributions, (n,)."""
    import pyarrow as pa

    count, names = len(found.table), found.names
    few = names if len(names) <= MOST_IN_SCORES else []
    top, size = np.full((count, TOP), -1), np.full((count, TOP), np.nan, np.float32)
    each, sums = np.full((len(few), count), np.nan, np.float32), []
    for positions, shares in found.parts():
        highest = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
        top[positions, : highest.shape[1]] = highest
        size[positions, : highest.shape[1]] = np.take_along_axis(shares, highest, 1)
        sums.append(shares.sum(1, dtype=np.float64))
        each[:, positions] = shares.T[: len(few)]
    words = pa.array(names)
    columns: dict[str, pa.Array] = {}
    for rank in range(TOP):
        places = pa.array(np.maximum(top[:, rank], 0), mask=top[:, rank] < 0)
        columns[f"top_column_{rank + 1}"] = words.take(places)
        columns[f"top_contribution_{rank + 1}"] = pa.array(size[:, rank], from_pandas=True)
    columns |= {
        f"contribution_{name}": pa.array(row, from_pandas=True) for name, row in zip(few, each, strict=True)
    }
    return columns, np.concatenate([*sums, np.empty(0)])


def _write_numbers(path: Path, found: Explained) -> None:
    """All explained rows, a row group for each piece: item_id, and for each column its contribution and its value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    items, names = found.table["item_id"].to_numpy(), found.names
    fields = [pa.field("item_id", pa.string())]
    fields += [
        pa.field(f"{kind}_{name}", pa.float32()) for kind in ("contribution", "value") for name in names
    ]
    schema = pa.schema(fields)
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for positions, shares in found.parts():
            values = found.opened.store.read(positions)
            arrays = [pa.array(items[positions], pa.string())]
            arrays += [
                pa.array(column, pa.float32(), from_pandas=True)
                for part in (shares, values)
                for column in part.T
            ]
            writer.write_table(pa.table(arrays, schema=schema))


def _drawn(found: Explained) -> HeatMap:
    """The heat map of the worst rows."""
    rows, opened = found.worst(), found.opened
    shares = np.empty((len(rows), len(found.names)), np.float32)
    for positions, part in found.parts():
        here = np.isin(rows, positions)
        shares[here] = part[np.searchsorted(positions, rows[here])]
    table, normal = found.table.iloc[rows], run_scale(opened.run, KINDS[0])
    return HeatMap(
        f"{opened.run.settings.method} on {opened.store.root.name}: {len(rows)} of {len(found.table)} rows, highest scores first",
        found.names, table.reset_index(drop=True), shares, colour_end(normal, shares), normal is not None,
        found.how,
    )  # fmt: skip


def _sheet(found: Explained, shown: HeatMap) -> pd.DataFrame:
    """The numbers of the heat map, a line for each cell, row by row."""
    chosen = shown.chosen()
    rows, columns = len(shown.rows), len(chosen)
    values = found.opened.store.read(found.worst())[:, chosen]
    lines = {
        name: np.repeat(shown.rows[name].to_numpy(), columns)
        for name in ("item_id", "score", "percentile", "label")
    }
    return pd.DataFrame(
        {
            **lines,
            "column": np.tile(np.array(found.names, dtype=object)[chosen], rows),
            "value": values.ravel(),
            "median": np.tile(found.medians[chosen].astype(np.float32), rows),
            "contribution": shown.shares[:, chosen].ravel(),
        }
    )


def _said(found: Explained, shown: HeatMap, sums: np.ndarray) -> dict[str, Any]:
    """explanation.json: how, from what score on, and how far start and contributions together are from a score at most."""
    start = found.shares.start()
    gaps = np.abs(start + sums - found.table["score"].to_numpy(dtype=float)[found.positions])
    return {
        "explained_by": found.shares.method.explained_by, "contributions": found.how, "start": start,
        "largest_gap": float(gaps.max()), "rows": len(found.positions), "drawn": len(shown.rows),
        "columns": found.names, "columns_drawn": len(shown.chosen()), "medians": [float(value) for value in found.medians],
    }  # fmt: skip
