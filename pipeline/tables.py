"""`esad tables`: npz, mat, csv or parquet into a store of raw float32 rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from esad.pipeline.ingest.inputs import find_sources
from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import refused_row, run_job, source_row
from esad.pipeline.settings.config import ImageSettings, TableSettings
from esad.pipeline.stage.errors import EsadError, InputError
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.store.store import Unit, write_unit
from esad.preprocessing.tables import SUFFIXES, Columns, read_table

if TYPE_CHECKING:
    import numpy as np


def columns_of(settings: TableSettings | ImageSettings) -> Columns:
    """The columns that are no features; `none` is no column; others that differ from the defaults must exist."""
    defaults = Columns()
    named = {settings.label, settings.group, settings.split} - {
        defaults.label,
        defaults.group,
        defaults.split,
    }
    return Columns(settings.label, settings.group, settings.split, frozenset(named))


def _process(archive: Path, columns: Columns, root: Path, unit: Unit) -> None:
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


def _with_checked_columns(items: pd.DataFrame, sources: pd.DataFrame) -> pd.DataFrame:
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


def tables(inputs: Sequence[Path], settings: TableSettings, options: IngestOptions) -> Outcome:
    """Write the store of float32 (D,) rows, raw values of one or several tables with the same columns.

    A row is an item, its number (from 0) the place; names of the feature columns are JSON in `columns` of
    sources.parquet. See `esad.preprocessing.tables.read_table` for what is refused. Raises UsageError for a column
    that was named and is not there, EsadError for tables of different columns, and what `run_job` raises.
    """
    archive, sources = find_sources(inputs, lambda path: path.suffix.lower() in SUFFIXES, options.out)
    process = partial(_process, archive, columns_of(settings))
    job = Job(
        "tables", "table", archive, sources, settings.model_dump(), process, dtype="float32",
        finish=_with_checked_columns,
    )  # fmt: skip
    return run_job(job, options)


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["tables", *sys.argv[1:]])
