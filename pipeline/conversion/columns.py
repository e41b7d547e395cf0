"""What a person said of columns and values, and what it makes of the items of a whole store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from esad.pipeline.ingest.inputs import parse_kinds
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import ImageSettings, ItemSettings, TableSettings
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.progress import say
from esad.preprocessing.tables.columns import IGNORED, Columns, TableReading, split_names

if TYPE_CHECKING:
    import pandas as pd

MEANINGS = ("normal", "anomaly")

Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="What a class is: NAME=normal or anomaly, '*' for all others; repeatable."),
]


def parse_classes(pairs: Sequence[str]) -> dict[str, str]:
    """`["good=normal"]` -> {"good": "normal"}; UsageError for another form or another meaning."""
    return parse_kinds("--class", pairs, MEANINGS, "good=normal")


def columns_of(settings: TableSettings | ImageSettings, options: IngestOptions | None = None) -> Columns:
    """The columns that are no features; `none` is no column; others that differ from the defaults must exist.

    With `options` that are anonymous, sites become hashes.
    """
    from esad.preprocessing.privacy import read_key

    defaults, names, site = Columns(), getattr(settings, "id", None) or IGNORED, settings.site_column
    if site == defaults.site and site in split_names(getattr(settings, "columns", None) or (), ()):
        site = IGNORED  # named as a feature, as by runs that are older than sites
    named = {settings.label, settings.group, settings.split, names, site} - set(defaults.known)
    key = read_key(options.group_key) if options is not None and options.anonymous else None
    return Columns(settings.label, settings.group, settings.split, names, site, frozenset(named), key)


def reading_of(settings: TableSettings, options: IngestOptions | None = None) -> TableReading:
    """How the tables of a store are read; `options`: see `columns_of`."""
    return TableReading(
        columns=columns_of(settings, options),
        only=None if settings.columns is None else tuple(settings.columns),
        drop=tuple(settings.drop),
        categories=settings.categories,
        missing=settings.missing,
        delimiter=settings.delimiter,
        decimal=settings.decimal,
        thousands=settings.thousands,
        encoding=settings.encoding,
        sheet=settings.sheet,
    )


def with_labels(items: pd.DataFrame, settings: ItemSettings, classes: str = "class folders") -> pd.DataFrame:
    """`items` with `label`, or `class_name` where the values are classes, by the label column or `classes` (what has them).

    What was understood is said in a line; UsageError for values that are not (`two_values.read_values`).
    """
    from esad.preprocessing.splits.two_values import Stated, read_values
    from esad.preprocessing.tables.items import STATED

    stated = Stated.of(settings.normal_value, settings.anomaly_value, settings.classes)
    if STATED in items:
        words = items.pop(STATED)
        if "class_name" in items:  # pictures in folders beside npz files
            words = words.fillna(items["class_name"])
        reading = read_values(words, settings.label, stated)
        if reading.classes:
            items["class_name"] = reading.names
    elif "class_name" in items and items["class_name"].notna().any():
        reading = read_values(items["class_name"], None, stated, classes)
        items["class_name"] = reading.names
    elif stated.meanings:
        raise UsageError(
            f"{min(stated.meanings)!r} is said to be {stated.meanings[min(stated.meanings)]}, and there is neither a label "
            f"column {settings.label!r} nor a class folder; name the column with --label."
        )
    else:
        return items
    say(reading.told)
    if not reading.classes:
        items["label"] = reading.labels
    return items
