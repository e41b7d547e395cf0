"""`esad tables`: npz, mat, csv or parquet into a store of raw float32 rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.request import IngestRequest
from esad.pipeline.settings.config import TableSettings
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.options import Inputs, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(TableSettings, "label", "group", "split")
@fields_as_options(IngestRequest, "request")
def command(inputs: Inputs, request: IngestRequest, given: dict[str, Any]) -> Outcome:
    """Read tables from npz, mat, csv or parquet."""

    def stage() -> Outcome:
        settings = request.settings(TableSettings, "table", given)
        return tables(inputs, settings, request.options())

    return run_stage(stage, request.as_json)


def tables(inputs: Sequence[Path], settings: TableSettings, options: IngestOptions) -> Outcome:
    """Write the store of float32 (D,) rows, raw values of one or several tables with the same columns.

    A row is an item, its number (from 0) the place; names of the feature columns are JSON in `columns` of
    sources.parquet. See `esad.preprocessing.tables.read_table` for what is refused. Raises UsageError for a column
    that was named and is not there, EsadError for tables of different columns, and what `run_job` raises.
    """
    from functools import partial

    from esad.pipeline.conversion.columns import columns_of
    from esad.pipeline.conversion.tables import process_table, with_checked_columns
    from esad.pipeline.ingest.inputs import find_sources
    from esad.pipeline.ingest.job import Job
    from esad.pipeline.ingest.units import run_job
    from esad.preprocessing.tables import SUFFIXES

    archive, sources = find_sources(inputs, lambda path: path.suffix.lower() in SUFFIXES, options.out)
    process = partial(process_table, archive, columns_of(settings))
    job = Job(
        "tables", "table", archive, sources, settings.model_dump(), process, dtype="float32",
        finish=with_checked_columns,
    )  # fmt: skip
    return run_job(job, options)


if __name__ == "__main__":
    run_script(command)
