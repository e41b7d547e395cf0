"""`esad plan`: what an archive of slides would give, or what a published data set is made of, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.conversion.published_sets import PROTOCOLS
from esad.pipeline.ingest.request import cores, ingest_settings
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Json, Set, Workers, settings_as_options
from esad.pipeline.stage.outcome import Outcome


@settings_as_options(TileSettings, "magnification", "mpp", "tile_size", "step", "slide_mpp", "min_tissue")
def command(
    given: dict[str, Any],
    inputs: Annotated[list[Path] | None, typer.Argument(help="Slides, or folders of them.", show_default=False)] = None,
    protocol: Annotated[str | None, typer.Option(help=f"Instead of slides a published set: {', '.join(PROTOCOLS)}.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="NIH's Data_Entry CSV, or the folder of NIH's metadata.")] = None,
    tile_list: Annotated[Path | None, typer.Option(help="Published tile lists of Camelyon16: .tar.gz or folder.")] = None,
    subset_list: Annotated[Path | None, typer.Option(help="Published lists of NIH's subset: .tar.gz or folder.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws NIH's labelled anomalies.")] = None,
    look: Annotated[bool, typer.Option("--look", help="Count tiles with tissue on every slide's overview.")] = False,
    set_: Set = None, workers: Workers = None, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Count the tiles that slides will give, and list slides that cannot be used; or count a published data set."""

    def stage() -> Outcome:
        if bool(inputs) == (protocol is not None):
            raise UsageError(
                "Give slides to plan for, or --protocol NAME to count a published set: one of them."
            )
        if protocol is not None and (given or set_ or look):
            raise UsageError(
                "--protocol counts a published set; settings of tiles and --look go with slides."
            )
        if protocol is None and (metadata or tile_list or subset_list or seed is not None):
            raise UsageError("--metadata, --tile-list, --subset-list and --seed go with --protocol.")
        settings, lists = ingest_settings(TileSettings, {}, set_, given), tile_list or subset_list
        return plan(inputs or [], settings, look, workers or cores(), protocol, metadata, lists, seed or 0)

    return run_stage(stage, as_json, bare=True)


def plan(
    inputs: Sequence[Path],
    settings: TileSettings,
    look: bool = False,
    workers: int = 1,
    protocol: str | None = None,
    metadata: Path | None = None,
    lists: Path | None = None,
    seed: int = 0,
) -> Outcome:
    """Plan for the slides of `inputs`, or count the published set that `protocol` names; the summary has the counts.

    `settings` are those of the tiles; with `look` tiles with tissue are counted on every slide's overview. `lists` is a
    list archive (camelyon16, nih-subset), `metadata` NIH's Data_Entry file or its folder (nih-ap, nih-pa), `seed` draws
    NIH's labelled anomalies. Raises UsageError where nothing can be planned, or lists or metadata are missing.
    """
    from esad.pipeline.conversion.published_sets import count_set
    from esad.pipeline.slides.archive_plan import plan_archive

    if protocol is not None:
        return count_set(protocol, metadata, lists, seed)
    return plan_archive(inputs, settings, look, workers)


if __name__ == "__main__":
    run_script(command)
