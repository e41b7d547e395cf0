"""`esad radiographs`: DICOM and picture files of chest radiographs to a store of small grey squares, by projection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.request import IngestRequest
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Inputs, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(RadiographSettings, "projection", "size", "crop", "protocol")
@fields_as_options(IngestRequest, "request")
def command(
    inputs: Inputs,
    request: IngestRequest,
    given: dict[str, Any],
    metadata: Annotated[
        Path | None, typer.Option(help="NIH's Data_Entry CSV, or the folder of NIH's metadata.")
    ] = None,
    subset_list: Annotated[
        Path | None, typer.Option(help="Published lists of nih-subset: .tar.gz or folder.")
    ] = None,
) -> Outcome:
    """Make small grey squares of radiographs: DICOM, PNG, JPEG, TIFF."""

    def stage() -> Outcome:
        settings = request.settings(RadiographSettings, "radiographs", given)
        if subset_list is not None and settings.protocol != "nih-subset":
            raise UsageError("--subset-list goes with --protocol nih-subset.")
        return radiographs(inputs, settings, request.options(), metadata, subset_list)

    return run_stage(stage, request.as_json)


def radiographs(
    inputs: Sequence[Path],
    settings: RadiographSettings,
    options: IngestOptions,
    metadata: Path | None = None,
    subset_list: Path | None = None,
) -> Outcome:
    """Write the store of uint8 (size, size, 1) squares.

    `metadata` is NIH's file or folder, or a regions.csv (see `esad.preprocessing.radiographs.nih.read_metadata`). Members
    of a zip are sources, ZIP/MEMBER; of a DICOMDIR that is named, the images that it lists. Images of another or an
    unknown view than asked for, of another than a frontal view, of another modality and raw detector values are left out:
    their sources count as done, hold no item and say why in sources.parquet, which also notes stated burnt-in text and
    orientations other than the usual one. Nothing is turned round.

    With `settings.protocol` only the images of that set are read, found by file name anywhere in the archive, and get
    its split, labels and labelled anomalies; `subset_list` are the lists of nih-subset. Images of the set that the
    archive lacks are counted; of one that lies there twice the first path in order is read.

    Columns beside those of every store: view (PA, AP or null), finding, region_x, region_y, region_width and
    region_height in pixels of the square, cut to it, pixel_spacing in mm per pixel of the square (null where the file
    does not say; see `esad.preprocessing.radiographs.dicom` for what it measures) and orientation (PatientOrientation).
    Raises what `run_job` raises, and UsageError for metadata that is none.
    """
    from functools import partial

    from esad.pipeline.conversion.radiograph_notes import with_left_out, with_radiograph_notes
    from esad.pipeline.conversion.radiograph_sources import list_radiographs
    from esad.pipeline.conversion.radiographs import PACKAGES, RADIOGRAPHS_PER_SHARD, process_radiographs
    from esad.pipeline.ingest.job import Job
    from esad.pipeline.ingest.units import run_job

    listed = list_radiographs(inputs, settings, options, metadata, subset_list)
    job = Job(
        "radiographs", "radiographs", listed.archive, listed.sources, listed.resolved_settings(),
        partial(process_radiographs, listed.task()), RADIOGRAPHS_PER_SHARD, versions=PACKAGES,
        warnings=listed.warnings, fingerprints=listed.fingerprints,
    )  # fmt: skip
    return with_radiograph_notes(with_left_out(run_job(job, options)))


if __name__ == "__main__":
    run_script(command)
