"""`esad plan`: what an archive of slides would give, or what a published data set is made of, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.ingest.request import cores, ingest_settings
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Json, Set, Workers, settings_as_options
from esad.pipeline.stage.outcome import Outcome

PROTOCOLS = ("camelyon16", "nih-ap", "nih-pa", "nih-subset")


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
        if protocol is not None:
            if given or set_ or look:
                raise UsageError(
                    "--protocol counts a published set; settings of tiles and --look go with slides."
                )
            return plan(protocol, metadata, tile_list or subset_list, **given_only(seed=seed))
        if metadata or tile_list or subset_list or seed is not None:
            raise UsageError("--metadata, --tile-list, --subset-list and --seed go with --protocol.")
        from esad.pipeline.slides.archive_plan import plan_archive

        settings = ingest_settings(TileSettings, {}, set_, given)
        return plan_archive(inputs or [], settings, look, workers or cores())

    return run_stage(stage, as_json, bare=True)


def plan(protocol: str, metadata: Path | None = None, lists: Path | None = None, seed: int = 0) -> Outcome:
    """Count the items of a published data set by part and label; the counts are the outcome's summary.

    `lists` is a list archive (camelyon16, nih-subset), `metadata` NIH's Data_Entry file or its folder (nih-ap, nih-pa).
    Raises UsageError for an unknown protocol, or where its lists or metadata are not given or not readable.
    """
    from esad.preprocessing.radiographs.nih import read_metadata
    from esad.preprocessing.splits.published_lists import camelyon16_tiles, counts, nih_protocol

    if protocol not in PROTOCOLS:
        raise UsageError(f"--protocol {protocol!r} is unknown; expected one of {', '.join(PROTOCOLS)}.")
    if protocol == "camelyon16":
        if lists is None:
            raise UsageError("--protocol camelyon16 needs --tile-list FILE.tar.gz, the published lists.")
        table = camelyon16_tiles(lists)
    else:
        table = nih_protocol(protocol, read_metadata(metadata) if metadata else None, lists, seed)
    place = Path(lists or metadata or ".")
    found = counts(table)
    parts = "; ".join(f"{name} {of['normal']} normal, {of['anomaly']} anomaly" for name, of in found.items())
    return Outcome(place, f"{protocol}: {parts}.", summary=found)


if __name__ == "__main__":
    run_script(command)
