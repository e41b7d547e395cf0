"""`esad tables`: tables of every usual format into a store of raw float32 rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esad.pipeline.conversion.columns import Classes, parse_classes
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.request import IngestRequest
from esad.pipeline.settings.config import TableSettings
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.options import Inputs, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(
    TableSettings, "label", "normal_value", "anomaly_value", "group", "split", "site_column", "id", "columns", "drop",
    "categorical", "missing", "delimiter", "decimal", "thousands", "encoding", "sheet",
)  # fmt: skip
@fields_as_options(IngestRequest, "request")
def command(inputs: Inputs, request: IngestRequest, given: dict[str, Any], class_: Classes = None) -> Outcome:
    """Read tables from npz, mat, csv, tsv, parquet, feather or xlsx."""

    def stage() -> Outcome:
        if class_:
            given["classes"] = parse_classes(class_)
        settings = request.settings(TableSettings, "table", given)
        return tables(inputs, settings, request.options())

    return run_stage(stage, request.as_json)


def tables(inputs: Sequence[Path], settings: TableSettings, options: IngestOptions) -> Outcome:
    """Write the store of float32 (D,) rows, raw values of one or several tables with the same columns.

    A row is an item, its number in the file (from 0) the place; names of the feature columns are JSON in `columns` of
    sources.parquet, what was found out of a file or left out of it is in `notes`. A table without a column of parts is of the part
    that its name says (`parts_by_name`). Missing values that training is to fill are NaN. See
    `esad.preprocessing.tables.reading.read_table` for what is refused. Raises UsageError for a column
    that was named and is not there and for labels that are not understood, EsadError for tables of different columns, and
    what `run_job` raises.
    """
    from dataclasses import replace
    from functools import partial

    from esad.pipeline.conversion.columns import reading_of
    from esad.pipeline.conversion.table_parts import parts_by_name, told_of_names
    from esad.pipeline.conversion.tables import (
        finish_tables,
        first_order,
        process_table,
        with_categories,
        with_table_notes,
    )
    from esad.pipeline.ingest.inputs import find_sources
    from esad.pipeline.ingest.job import Job
    from esad.pipeline.ingest.units import run_job
    from esad.preprocessing.tables.columns import IGNORED
    from esad.preprocessing.tables.reading import is_table

    archive, sources = find_sources(inputs, is_table, options.out, named=not options.anonymous)
    settings = with_categories(archive, sources, settings)
    reading = replace(reading_of(settings, options), order=first_order(archive, sources, settings))
    parts = {} if settings.split == IGNORED else parts_by_name(sources)
    job = Job(
        "tables", "table", archive, sources, settings.model_dump(), partial(process_table, archive, reading, parts),
        dtype="float32", finish=partial(finish_tables, settings, parts),
        warnings=() if settings.split == IGNORED else told_of_names(sources, parts, named=not options.anonymous),
    )  # fmt: skip
    return with_table_notes(run_job(job, options))


if __name__ == "__main__":
    run_script(command)
