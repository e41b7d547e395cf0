"""One table to a shard of raw rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.stage.errors import EsadError, InputError
from esad.preprocessing.store.store import Unit, write_unit
from esad.preprocessing.tables import Columns, read_table

if TYPE_CHECKING:
    import numpy as np


def process_table(archive: Path, columns: Columns, root: Path, unit: Unit) -> None:
    """Read one table into its shard of float32 rows (N, D); one that cannot be read is refused."""
    (source,) = unit.sources
    array: np.ndarray | None = None
    try:
        array, items, names = read_table(archive / source, columns)
    except InputError as error:
        write_unit(
            root,
            unit,
            None,
            pd.DataFrame({"source": [], "place": []}),
            pd.DataFrame([refused_row(archive, source, error)]),
        )
        return
    items.insert(0, "source", source)
    items.insert(1, "place", [str(row) for row in range(len(items))])
    write_unit(
        root,
        unit,
        array,
        items,
        pd.DataFrame([source_row(archive, source, len(items), columns=json.dumps(names))]),
    )


def with_checked_columns(items: pd.DataFrame, sources: pd.DataFrame) -> pd.DataFrame:
    """`items`; EsadError naming two tables whose columns differ, in name or in order, and the first difference."""
    sources = sources[sources["state"] == "done"]
    for source, stated in sources[["source", "columns"]].itertuples(index=False):
        first, names = json.loads(sources["columns"].iloc[0]), json.loads(stated)
        if names == first:
            continue
        place = next(
            (n for n, pair in enumerate(zip(first, names, strict=False)) if len(set(pair)) > 1), None
        )
        told = (
            f"has {len(first)} columns, {source} has {len(names)}"
            if place is None
            else f"has column {first[place]!r} where {source} has {names[place]!r}"
        )
        raise EsadError(f"{sources['source'].iloc[0]} {told}: tables of one store have the same columns.")
    return items
