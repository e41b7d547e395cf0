"""One table to a shard of raw rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from esad.pipeline.conversion.columns import reading_of, with_labels
from esad.pipeline.conversion.image_notes import count_notes
from esad.pipeline.conversion.table_parts import CONTRADICTS
from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.settings.config import TableSettings
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.store.store import Unit, read_sources, write_unit
from esad.preprocessing.tables.columns import TableReading, split_names
from esad.preprocessing.tables.reading import categories_of, feature_columns, read_table

if TYPE_CHECKING:
    import numpy as np

MOST_CATEGORIES = 1000
"""Of one column: what has more is a name, not a category."""


def process_table(
    archive: Path, reading: TableReading, parts: Mapping[str, str], root: Path, unit: Unit
) -> None:
    """Read one table into its shard of float32 rows (N, D); one that cannot be read is refused. Its `parts` by name count where it has
    no column that states them."""
    (source,) = unit.sources
    array: np.ndarray | None = None
    try:
        part = _part_of(source, parts)
        table = read_table(archive / source, reading)
    except InputError as error:
        empty = pd.DataFrame({"source": [], "place": []})
        refused = {**refused_row(archive, source, error), "columns": None, "notes": None}
        write_unit(root, unit, None, empty, pd.DataFrame([refused]))
        return
    array, items, notes = table.values, table.items, list(table.notes)
    if part is not None and "split" not in items:
        items["split"] = pd.Series(part, items.index, "string")
        notes.append(f"read as the part {part!r}, by its name (--split none: training draws the parts)")
    items.insert(0, "source", source)
    items.insert(1, "place", [str(row) for row in table.rows])
    more = {"columns": json.dumps(table.names), "notes": "; ".join(notes) or None, "part": part}
    write_unit(root, unit, array, items, pd.DataFrame([source_row(archive, source, len(items), **more)]))


def _part_of(source: str, parts: Mapping[str, str]) -> str | None:
    part = parts.get(source)
    if part == CONTRADICTS:
        raise InputError(
            f"{source.rsplit('/', 1)[-1]}: lies in a folder of one part and is called as another (train, validation, test): rename one, or "
            "say --split none."
        )
    return part


def with_categories(archive: Path, sources: Sequence[str], settings: TableSettings) -> TableSettings:
    """`settings` with the values that the categorical columns have in all tables; those of a run stay as they are.

    UsageError for a column that no table has, or that has more than MOST_CATEGORIES values.
    """
    wanted = [name for name in split_names(settings.categorical, ()) if name not in settings.categories]
    if not wanted:
        return settings
    found: dict[str, set[str]] = {}
    reading = replace(reading_of(settings), categories={name: [] for name in wanted})
    for source in sources:
        try:
            for name, values in categories_of(archive / source, tuple(wanted), reading).items():
                found.setdefault(name, set()).update(values)
        except InputError:  # it is refused where it is read
            continue
    for name in wanted:
        if name not in found:
            raise UsageError(f"--categorical {name}: no table has such a column.")
        if len(found[name]) > MOST_CATEGORIES:
            raise UsageError(
                f"--categorical {name}: it has {len(found[name])} values; at most {MOST_CATEGORIES} make sense. Leave it out "
                f"with --drop {name}, or keep it as names of rows with --id {name}."
            )
    categories = {**settings.categories, **{name: sorted(found[name]) for name in wanted}}
    return settings.model_copy(update={"categories": categories, "categorical": sorted(categories)})


def first_order(archive: Path, sources: Sequence[str], settings: TableSettings) -> tuple[str, ...] | None:
    """The feature columns of the first table that can be read, which gives their order to others of the same names."""
    for source in sources if len(sources) > 1 and settings.columns is None else ():
        with contextlib.suppress(InputError, UsageError):  # told where it is read
            return feature_columns(archive / source, reading_of(settings))
    return None


def finish_tables(
    settings: TableSettings, parts: Mapping[str, str], items: pd.DataFrame, sources: pd.DataFrame
) -> pd.DataFrame:
    """Labels of the whole store, whose tables are of the same columns, and of the `parts` that their names say today."""
    check_columns(sources)
    _check_parts(parts, sources)
    return with_labels(items, settings)


def _check_parts(parts: Mapping[str, str], sources: pd.DataFrame) -> None:
    """EsadError where tables of an earlier call were read as of no part, and names that have come since say one. Sources may be hashed, so
    that they are counted."""
    done = sources[sources["state"] == "done"]
    unsaid = int(done["part"].isna().sum()) if "part" in done else len(done)
    if parts and unsaid > len(sources) - len(parts):
        raise EsadError(
            f"{unsaid - len(sources) + len(parts)} tables of an earlier call were read as of no part, and are called after one now that "
            "there are others: read all again with --force, or say --split none with it."
        )


def check_columns(sources: pd.DataFrame) -> None:
    """EsadError naming two tables whose columns differ, in name or in order, and the first difference."""
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
        raise EsadError(
            f"{sources['source'].iloc[0]} {told}: tables of one store have the same columns. Choose them with --columns."
        )


def with_table_notes(outcome: Outcome) -> Outcome:
    """`outcome`, which also tells what was found out or left out of the tables, and of how many."""
    counts = count_notes(outcome)
    if not counts:
        return outcome
    files = int(read_sources(outcome.out)["notes"].notna().sum())
    if len(counts) > 6:
        told = f"{files} tables have notes, see sources.parquet"
    else:
        told = "; ".join(note if files == 1 else f"{note} ({count} files)" for note, count in counts.items())
    return replace(
        outcome, message=f"{outcome.message} Notes: {told}.", summary={**outcome.summary, "notes": counts}
    )
