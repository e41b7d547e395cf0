"""`esad images`: npz, class folders, zips of them, and published sets (idx, CIFAR, Parquet) into a store of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esad.pipeline.conversion.columns import Classes, parse_classes
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.ingest.request import IngestRequest
from esad.pipeline.settings.config import ImageSettings
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.options import Inputs, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(
    ImageSettings, "size", "colour", "label", "normal_value", "anomaly_value", "group", "split", "site_column"
)
@fields_as_options(IngestRequest, "request")
def command(inputs: Inputs, request: IngestRequest, given: dict[str, Any], class_: Classes = None) -> Outcome:
    """Read images from npz, class folders, zips of them, idx files, the batches of CIFAR, or Parquet of pictures."""

    def stage() -> Outcome:
        if class_:
            given["classes"] = parse_classes(class_)
        settings = request.settings(ImageSettings, "images", given)
        return images(inputs, settings, request.options())

    return run_stage(stage, request.as_json)


def images(inputs: Sequence[Path], settings: ImageSettings, options: IngestOptions) -> Outcome:
    """Write the store of uint8 (H, W, C) pictures, C 1 for grey and 3 for colour, as the settings say or most pictures are.

    npz: see `esad.preprocessing.images.read_npz`; idx, CIFAR and Parquet: `esad.preprocessing.natural.sets`. Folders and
    zips: the class is the folder's name, train and test above it the split (`describe_path`), and labels follow where classes
    tell (`two_values.read_values`); every picture is a source, ZIP/MEMBER in a zip, which is never extracted. What was
    converted, turned or assumed is noted in sources.parquet (`esad.preprocessing.pictures`) and counted. Raises EsadError
    naming two pictures of different size where no size was asked for, UsageError for a column that is not there, and what
    `run_job` raises.
    """
    from esad.pipeline.conversion.image_notes import with_image_notes
    from esad.pipeline.conversion.images import image_job
    from esad.pipeline.ingest.units import run_job

    return with_image_notes(run_job(image_job(inputs, settings, options), options))


if __name__ == "__main__":
    run_script(command)
