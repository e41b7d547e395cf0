"""`esad tile`: slides to a store of stain-normalised tiles, one slide at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.request import IngestRequest, cores
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.settings.presets import published_tiles
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.options import Inputs, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(
    TileSettings, "magnification", "mpp", "tile_size", "step", "stain", "stain_scope", "stain_target", "slide_mpp",
    "min_tissue", "protocol",
)  # fmt: skip
@fields_as_options(IngestRequest, "request")
def command(
    inputs: Inputs,
    request: IngestRequest,
    given: dict[str, Any],
    annotations: Annotated[
        Path | None, typer.Option(help="Folder or zip of outlines: XML, NDPA, GeoJSON, labelme, COCO.")
    ] = None,
    outline_class: Annotated[
        list[str] | None,
        typer.Option(help="What outlines of a class are: NAME=anomaly, hole, ignore or region; repeatable."),
    ] = None,
    tile_list: Annotated[
        Path | None, typer.Option(help="Published tile lists of Camelyon16, instead of a grid.")
    ] = None,
) -> Outcome:
    """Cut slides into stain-normalised tiles."""

    from esad.pipeline.slides.listing import parse_outline_classes

    def stage() -> Outcome:
        published = published_tiles(tile_list is not None, given.get("protocol"))
        if outline_class:
            given["labels.outline_classes"] = parse_outline_classes(outline_class)
        settings = request.settings(TileSettings, "tiles", given, published)
        return tile(inputs, settings, request.options(cores()), annotations, tile_list)

    return run_stage(stage, request.as_json)


def tile(
    inputs: Sequence[Path],
    settings: TileSettings,
    options: IngestOptions,
    annotations: Path | None = None,
    tile_list: Path | None = None,
) -> Outcome:
    """Write the store of tiles.

    With `tile_list`, the published lists of Camelyon16, its tiles are taken instead of a grid, with their split, labels
    and labelled anomalies; slides that it does not name are left out, and those that are missing are counted.

    With `settings.protocol` the slides' names and folders, not a grid and a tissue mask, say which tiles there are; with
    `tile_list` too, the lists do.

    With `annotations`, a folder or zip, outline files go with slides of the same stem. A slide without one counts as normal
    (`labels.without_outlines`) where another slide of the call has one; where none has, the folder is not this archive's and
    labels stay null.
    Raises UsageError for a missing folder of outlines, two outlines of one slide, or an unusable stain target.
    """
    from functools import partial

    from esad.pipeline.ingest.job import Job
    from esad.pipeline.ingest.units import run_job
    from esad.pipeline.slides.archive_plan import staintools_time
    from esad.pipeline.slides.cutting import PACKAGES, process_slide, slide_task
    from esad.pipeline.slides.listing import list_slides
    from esad.pipeline.slides.notes import with_slide_notes

    listed = list_slides(inputs, settings, options.out, annotations, tile_list, options.anonymous)
    resolved = listed.resolved_settings()
    task = slide_task(listed, options.workers)
    slow = staintools_time(task, listed.sources, options.out, options.workers)
    job = Job(
        "tile", "tiles", listed.archive, listed.sources, resolved, partial(process_slide, task),
        versions=PACKAGES, warnings=[*listed.warnings, *slow],
    )  # fmt: skip
    return with_slide_notes(run_job(job, options), listed.outlined())


if __name__ == "__main__":
    run_script(command)
