"""The four ingest commands, an archive to a store, and `plan`: what there is before they work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from esad.pipeline.cli.options import (
    Anonymous,
    Force,
    GroupColumn,
    GroupKey,
    Inputs,
    Json,
    LabelColumn,
    Labels,
    Like,
    Out,
    Resume,
    Scheduler,
    Set,
    SplitColumn,
    Where,
    Workers,
    given_only,
    run_stage,
    say_resume,
)
from esad.pipeline.settings.config import (
    ImageSettings,
    RadiographSettings,
    TableSettings,
    TileSettings,
    parse_assignments,
    resolve,
)
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.outcome import Outcome

LISTED_TILE = 192
"""Side at 10x of the 768 level-0 pixels of Camelyon16's published tiles; training crops 64 of it (METHOD 1.1)."""

Model = TypeVar("Model", TileSettings, RadiographSettings, ImageSettings, TableSettings)


def _like(run: Path | None, kind: str) -> dict[str, Any]:
    """The item-shaping settings of the store that `run` was trained on."""
    if run is None:
        return {}
    from esad.pipeline.training.run_folder import input_settings, read_config

    store = read_config(run)["store"]
    if store["kind"] != kind:
        raise UsageError(f"--like {run}: trained on {store['kind']}, this stage makes {kind}.")
    known = input_settings(kind, store["settings"])
    return {name: value for name, value in known.items() if name in store["settings"]}


def _settings(
    model: type[Model], like: dict[str, Any], assignments: list[str] | None, given: dict[str, Any]
) -> Model:
    """Defaults, then the run's, then `--set`, then the options."""
    stated = {**parse_assignments(assignments or []), **given}
    scales = [name for name in ("magnification", "mpp") if stated.get(name) is not None]
    if model is TileSettings and len(scales) == 2:
        raise UsageError("--magnification and --mpp both say the scale of the tiles: give one of them.")
    other_scale_off = {"magnification": None, "mpp": None} if model is TileSettings and scales else {}
    return resolve(model, like, other_scale_off, stated)


def _ingest_options(
    out: Path,
    labels: Path | None,
    where: list[str] | None,
    force: bool,
    resume: bool,
    workers: int | None,
    scheduler: str | None,
    anonymous: bool,
    group_key: Path | None,
    default_workers: int = 1,
) -> Any:
    from esad.pipeline.ingest.inputs import parse_where
    from esad.pipeline.ingest.job import IngestOptions

    if scheduler and workers:
        raise UsageError(
            "--workers are processes of this machine, --scheduler is a cluster's: give one of them."
        )
    say_resume(out, force, resume)
    workers = 1 if scheduler else workers or default_workers
    where_pairs = parse_where(where or [])
    return IngestOptions(out, labels, where_pairs, force, workers, scheduler, anonymous, group_key)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tile(
    inputs: Inputs,
    out: Out,
    magnification: Annotated[float | None, typer.Option(help="10 means 1 um a pixel; the slide's own level within 15 %.")] = None,
    mpp: Annotated[float | None, typer.Option(help="Exact microns per pixel of the tiles.")] = None,
    tile_size: Annotated[int | None, typer.Option(help="Side of a tile in pixels.")] = None,
    step: Annotated[int | None, typer.Option(help="Distance between tiles in pixels [tile size].")] = None,
    stain: Annotated[str | None, typer.Option(help="vahadane, vahadane-dpa (as the paper's tiles), staintools or none.")] = None,
    stain_scope: Annotated[str | None, typer.Option(help="slide or tile.")] = None,
    stain_target: Annotated[str | None, typer.Option(help="Image to normalise towards, or FILE@X,Y,SIDE of a slide.")] = None,
    slide_mpp: Annotated[float | None, typer.Option(help="Level-0 microns per pixel of slides that do not say.")] = None,
    min_tissue: Annotated[float | None, typer.Option(help="Least share of tissue in a tile.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder or zip of outlines: ASAP XML, GeoJSON, JSON.")] = None,
    tile_list: Annotated[Path | None, typer.Option(help="Published tile lists of Camelyon16, instead of a grid.")] = None,
    protocol: Annotated[str | None, typer.Option(help="camelyon16: the paper's tiles by their rule.")] = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None, scheduler: Scheduler = None,
    anonymous: Anonymous = False, group_key: GroupKey = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Slides to stain-normalised tiles."""

    def stage() -> Outcome:
        from esad.pipeline.tile import tile as run_tile

        given = given_only(
            magnification=magnification, mpp=mpp, tile_size=tile_size, step=step, stain=stain, stain_scope=stain_scope,
            stain_target=stain_target, slide_mpp=slide_mpp, min_tissue=min_tissue, protocol=protocol,
        )  # fmt: skip
        published: dict[str, Any] = {"tile_size": LISTED_TILE} if tile_list or protocol else {}
        if protocol:
            published["stain"] = "vahadane-dpa"  # the paper's (METHOD 1.1)
        settings = _settings(TileSettings, {**published, **_like(like, "tiles")}, set_, given)
        options = _ingest_options(
            out, labels, where, force, resume, workers, scheduler, anonymous, group_key, _cores()
        )
        return run_tile(inputs, settings, options, annotations, tile_list)

    return run_stage(stage, as_json)


def radiographs(
    inputs: Inputs,
    out: Out,
    metadata: Annotated[Path | None, typer.Option(help="NIH's Data_Entry CSV, or the folder of NIH's metadata.")] = None,
    projection: Annotated[str | None, typer.Option(help="PA, AP or all.")] = None,
    size: Annotated[int | None, typer.Option(help="Side in pixels.")] = None,
    crop: Annotated[float | None, typer.Option(help="Central square as a share of the shorter side.")] = None,
    protocol: Annotated[str | None, typer.Option(help="nih-ap, nih-pa or nih-subset: the paper's sets.")] = None,
    subset_list: Annotated[Path | None, typer.Option(help="Published lists of nih-subset: .tar.gz or folder.")] = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None, scheduler: Scheduler = None,
    anonymous: Anonymous = False, group_key: GroupKey = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """PNG and DICOM radiographs to small grey squares."""

    def stage() -> Outcome:
        from esad.pipeline.radiographs import radiographs as run_radiographs

        given = given_only(projection=projection, size=size, crop=crop, protocol=protocol)
        settings = _settings(RadiographSettings, _like(like, "radiographs"), set_, given)
        options = _ingest_options(out, labels, where, force, resume, workers, scheduler, anonymous, group_key)
        return run_radiographs(inputs, settings, options, metadata, subset_list)

    return run_stage(stage, as_json)


def images(
    inputs: Inputs,
    out: Out,
    size: Annotated[int | None, typer.Option(help="Resize every image to this square.")] = None,
    label: LabelColumn = None, group: GroupColumn = None, split: SplitColumn = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None, scheduler: Scheduler = None,
    anonymous: Anonymous = False, group_key: GroupKey = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """An npz file, class folders or a zip of them."""

    def stage() -> Outcome:
        from esad.pipeline.images import images as run_images

        given = given_only(size=size, label=label, group=group, split=split)
        settings = _settings(ImageSettings, _like(like, "images"), set_, given)
        options = _ingest_options(out, labels, where, force, resume, workers, scheduler, anonymous, group_key)
        return run_images(inputs, settings, options)

    return run_stage(stage, as_json)


def tables(
    inputs: Inputs,
    out: Out,
    label: LabelColumn = None, group: GroupColumn = None, split: SplitColumn = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None, scheduler: Scheduler = None,
    anonymous: Anonymous = False, group_key: GroupKey = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Tables: npz, mat, csv or parquet."""

    def stage() -> Outcome:
        from esad.pipeline.tables import tables as run_tables

        given = given_only(label=label, group=group, split=split)
        settings = _settings(TableSettings, _like(like, "table"), set_, given)
        options = _ingest_options(out, labels, where, force, resume, workers, scheduler, anonymous, group_key)
        return run_tables(inputs, settings, options)

    return run_stage(stage, as_json)


def plan(
    inputs: Annotated[list[Path] | None, typer.Argument(help="Slides, or folders of them.", show_default=False)] = None,
    protocol: Annotated[str | None, typer.Option(help="Instead of slides: camelyon16, nih-ap, nih-pa or nih-subset.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="NIH's Data_Entry CSV, or the folder of NIH's metadata.")] = None,
    tile_list: Annotated[Path | None, typer.Option(help="Published tile lists of Camelyon16: .tar.gz or folder.")] = None,
    subset_list: Annotated[Path | None, typer.Option(help="Published lists of NIH's subset: .tar.gz or folder.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws NIH's labelled anomalies.")] = None,
    magnification: Annotated[float | None, typer.Option(help="Of the tiles, as for esad tile.")] = None,
    mpp: Annotated[float | None, typer.Option(help="Exact microns per pixel of the tiles.")] = None,
    tile_size: Annotated[int | None, typer.Option(help="Side of a tile in pixels.")] = None,
    step: Annotated[int | None, typer.Option(help="Distance between tiles in pixels [tile size].")] = None,
    slide_mpp: Annotated[float | None, typer.Option(help="Level-0 microns per pixel of slides that do not say.")] = None,
    min_tissue: Annotated[float | None, typer.Option(help="Least share of tissue in a tile; used with --look.")] = None,
    look: Annotated[bool, typer.Option("--look", help="Count tiles with tissue on every slide's overview.")] = False,
    set_: Set = None, workers: Workers = None, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Before any work: what slides would give, and which cannot be used; or what a published data set is made of."""

    def stage() -> Outcome:
        if bool(inputs) == (protocol is not None):
            raise UsageError(
                "Give slides to plan for, or --protocol NAME to count a published set: one of them."
            )
        if protocol is not None:
            from esad.pipeline.plan import plan as run_plan

            return run_plan(protocol, metadata, tile_list or subset_list, **given_only(seed=seed))
        if metadata or tile_list or subset_list:
            raise UsageError("--metadata, --tile-list and --subset-list go with --protocol.")
        from esad.pipeline.slides.archive_plan import plan_archive

        given = given_only(
            magnification=magnification, mpp=mpp, tile_size=tile_size, step=step, slide_mpp=slide_mpp,
            min_tissue=min_tissue,
        )  # fmt: skip
        settings = _settings(TileSettings, {}, set_, given)
        return plan_archive(inputs or [], settings, look, workers or _cores())

    return run_stage(stage, as_json, bare=True)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    for command in (tile, radiographs, images, tables, plan):
        app.command()(command)
