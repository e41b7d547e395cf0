"""`esad embeddings`: feature vectors that people already have (CLAM, TRIDENT, npy, npz, Parquet, Zarr) into a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.conversion.columns import Classes, parse_classes
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.request import IngestRequest
from esad.pipeline.settings.embeddings import EmbeddingSettings
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.options import Inputs, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(
    EmbeddingSettings, "features", "coords", "label", "normal_value", "anomaly_value", "group", "split", "site_column", "id", "precision",
    "tile_side", "tile_step", "slide_mpp", "encoder",
)  # fmt: skip
@fields_as_options(IngestRequest, "request")
def command(
    inputs: Inputs,
    request: IngestRequest,
    given: dict[str, Any],
    class_: Classes = None,
    archive: Annotated[
        Path | None, typer.Option(help="Folder of the slides that the vectors are of, found by their names.")
    ] = None,
) -> Outcome:
    """Read feature vectors from HDF5 (CLAM, TRIDENT), npy, npz, Parquet or Zarr."""

    def stage() -> Outcome:
        if class_:
            given["classes"] = parse_classes(class_)
        settings = request.settings(EmbeddingSettings, "embeddings", given)
        return embeddings(inputs, settings, request.options(), archive)

    return run_stage(stage, request.as_json)


def embeddings(
    inputs: Sequence[Path], settings: EmbeddingSettings, options: IngestOptions, archive: Path | None = None
) -> Outcome:
    """Write the store of float16 or float32 (D,) vectors as they stand in the files, a shard a file, some rows at a time.

    A row is an item, its number in the file (from 0) the place. Where a file says where its tiles lie, the manifest has `x`, `y`,
    `width` and `height` in level-0 pixels, and sources.parquet the slide's size and scale, by the file's own attributes or by the
    slide of the same name in `archive`, which gives thumbnails, too. A file with a number that is missing or infinite is refused,
    and so is one whose tiles' size nobody says. Raises UsageError for an archive that is missing and for labels that are not
    understood, EsadError where some files have places and others none, and what `run_job` raises.
    """
    from functools import partial

    from esad.pipeline.embedding.converting import (
        VectorTask,
        finish_vectors,
        process_vectors,
        with_vector_notes,
    )
    from esad.pipeline.embedding.vector_sources import list_vectors
    from esad.pipeline.ingest.job import Job
    from esad.pipeline.ingest.units import run_job
    from esad.preprocessing.privacy import read_key

    listed = list_vectors(inputs, settings, options.out, archive, not options.anonymous)
    key = read_key(options.group_key) if options.anonymous else None
    task = VectorTask(listed.archive, listed.settings, listed.slides, listed.folders, key)
    resolved = {**listed.settings.model_dump(), "slides": listed.slides_digest()}
    job = Job(
        "embeddings", "embeddings", listed.archive, listed.sources, resolved, partial(process_vectors, task),
        dtype=listed.settings.precision, warnings=listed.warnings, fingerprints=listed.folders,
        finish=partial(finish_vectors, listed.settings),
    )  # fmt: skip
    return with_vector_notes(run_job(job, options))


if __name__ == "__main__":
    run_script(command)
