"""The command line: options become settings, errors become messages and exit statuses. No stage's work is here.

Heavy packages are imported inside the commands, so that `esad --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.config import (
    ImageSettings,
    RadiographSettings,
    TableSettings,
    TileSettings,
    nearest,
    parse_assignments,
    read_yaml,
    resolve,
)
from pipeline.errors import EsadError, ExitStatus, UsageError
from pipeline.outcome import Outcome
from pipeline.progress import say

app = typer.Typer(
    name="esad",
    help="Semi-supervised anomaly detection on slides, radiographs, images and tables: archive -> store -> run -> scores -> report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Inputs = Annotated[list[Path], typer.Argument(help="Files or folders.", show_default=False)]
Out = Annotated[
    Path, typer.Option("--out", help="Folder to write; continued where it was left, if the settings agree.")
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="CSV: source or item_id, label (0/1), optional split, group, semi_label."),
]
Like = Annotated[
    Path | None, typer.Option("--like", help="Take the settings that shape the items from this RUN.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue where it was left (the default, said aloud).")
]
Where = Annotated[
    list[str] | None, typer.Option("--where", help="Keep rows with column=value, for example view=AP.")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting, for example train.epochs=5.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column of labels [y].")]
GroupColumn = Annotated[str | None, typer.Option("--group", help="Column of groups: patient, slide [group].")]
SplitColumn = Annotated[
    str | None, typer.Option("--split", help="Column of parts: train, validation, test [split].")
]


def _run(stage: Callable[[], Outcome], as_json: bool) -> None:
    """Run a stage; print its line on stderr and with `as_json` its object on stdout; exit with its status."""
    try:
        outcome = stage()
    except EsadError as error:
        say(f"error: {error}")
        raise typer.Exit(int(error.exit_status)) from error
    except KeyboardInterrupt as error:
        say("Stopped; the same command continues where it was.")
        raise typer.Exit(int(ExitStatus.STOPPED)) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        say(
            f"error: {place}{error.strerror or error}. Check the path, its permissions and the free space; then run the command again."
        )
        raise typer.Exit(int(ExitStatus.FAILED)) from error
    say(outcome.line)
    if as_json:
        sys.stdout.write(json.dumps(outcome.as_json()) + "\n")
    raise typer.Exit(int(outcome.exit_status))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _like(run: Path | None, kind: str) -> dict[str, Any]:
    """The item-shaping settings of the store that `run` was trained on."""
    if run is None:
        return {}
    from pipeline.runs import input_settings, read_config

    store = read_config(run)["store"]
    if store["kind"] != kind:
        raise UsageError(f"--like {run}: trained on {store['kind']}, this stage makes {kind}.")
    return input_settings(kind, store["settings"])


def _ingest_options(
    out: Path, labels: Path | None, where: list[str] | None, force: bool, workers: int
) -> Any:
    from pipeline.ingest import IngestOptions, parse_where

    return IngestOptions(out, labels, parse_where(where or []), force, workers)


@app.command()
def tile(
    inputs: Inputs,
    out: Out,
    magnification: Annotated[float | None, typer.Option(help="10 means 1 um a pixel; the slide's own level within 15 %.")] = None,
    mpp: Annotated[float | None, typer.Option(help="Exact microns per pixel of the tiles.")] = None,
    tile_size: Annotated[int | None, typer.Option(help="Side of a tile in pixels.")] = None,
    step: Annotated[int | None, typer.Option(help="Distance between tiles in pixels [tile size].")] = None,
    stain: Annotated[str | None, typer.Option(help="vahadane, staintools or none.")] = None,
    stain_scope: Annotated[str | None, typer.Option(help="slide or tile.")] = None,
    stain_target: Annotated[Path | None, typer.Option(help="Image to normalise towards.")] = None,
    slide_mpp: Annotated[float | None, typer.Option(help="Level-0 microns per pixel of slides that do not say.")] = None,
    min_tissue: Annotated[float | None, typer.Option(help="Least share of tissue in a tile.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of outlines: ASAP XML, GeoJSON, JSON.")] = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Slides to stain-normalised tiles."""

    def stage() -> Outcome:
        from pipeline.tile import tile as run_tile

        target = str(stain_target) if stain_target else None
        given = _given(
            magnification=magnification, mpp=mpp, tile_size=tile_size, step=step, stain=stain, stain_scope=stain_scope,
            stain_target=target, slide_mpp=slide_mpp, min_tissue=min_tissue,
        )  # fmt: skip
        settings = resolve(TileSettings, _like(like, "tiles"), parse_assignments(set_ or []), given)
        if mpp is not None:
            settings.magnification = None
        elif magnification is not None:
            settings.mpp = None
        options = _ingest_options(out, labels, where, force, workers or min(os.cpu_count() or 1, 8))
        return run_tile(inputs, settings, options, annotations)

    _run(stage, as_json)


@app.command()
def radiographs(
    inputs: Inputs,
    out: Out,
    metadata: Annotated[Path | None, typer.Option(help="NIH's Data_Entry CSV, or the folder of NIH's metadata.")] = None,
    projection: Annotated[str | None, typer.Option(help="PA, AP or all.")] = None,
    size: Annotated[int | None, typer.Option(help="Side in pixels.")] = None,
    crop: Annotated[float | None, typer.Option(help="Central square as a share of the shorter side.")] = None,
    group_key: Annotated[Path | None, typer.Option(help="Key of the patient hashes; made if absent.")] = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> None:  # fmt: skip
    """PNG and DICOM radiographs to small grey squares."""

    def stage() -> Outcome:
        from pipeline.radiographs import radiographs as run_radiographs

        given = _given(projection=projection, size=size, crop=crop)
        settings = resolve(
            RadiographSettings, _like(like, "radiographs"), parse_assignments(set_ or []), given
        )
        options = _ingest_options(out, labels, where, force, workers or 1)
        return run_radiographs(inputs, settings, options, metadata, group_key)

    _run(stage, as_json)


@app.command()
def images(
    inputs: Inputs,
    out: Out,
    size: Annotated[int | None, typer.Option(help="Resize every image to this square.")] = None,
    label: LabelColumn = None, group: GroupColumn = None, split: SplitColumn = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> None:  # fmt: skip
    """An npz file, class folders or a zip of them."""

    def stage() -> Outcome:
        from pipeline.images import images as run_images

        given = _given(size=size, label=label, group=group, split=split)
        settings = resolve(ImageSettings, _like(like, "images"), parse_assignments(set_ or []), given)
        return run_images(inputs, settings, _ingest_options(out, labels, where, force, workers or 1))

    _run(stage, as_json)


@app.command()
def tables(
    inputs: Inputs,
    out: Out,
    label: LabelColumn = None, group: GroupColumn = None, split: SplitColumn = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Tables: npz, mat, csv or parquet."""

    def stage() -> Outcome:
        from pipeline.tables import tables as run_tables

        given = _given(label=label, group=group, split=split)
        settings = resolve(TableSettings, _like(like, "table"), parse_assignments(set_ or []), given)
        return run_tables(inputs, settings, _ingest_options(out, labels, where, force, workers or 1))

    _run(stage, as_json)


@app.command()
def train(
    store: Annotated[Path, typer.Argument(help="The STORE to train on.")],
    out: Out,
    preset: Annotated[str | None, typer.Option(help="paper, cpu or demo; without: what works best here.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    set_: Set = None, device: Device = None, force: Force = False, resume: Resume = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Train a detector on a store."""

    def stage() -> Outcome:
        from pipeline.train import train as run_train

        layers = [
            read_yaml(config) if config else {},
            parse_assignments(set_ or []),
            _given(seed=seed, device=device),
        ]
        return run_train(store, out, preset, layers, force)

    _run(stage, as_json)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    store: Annotated[Path | None, typer.Argument(help="The STORE to score [the run's own].")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of scores [RUN/scores/<store name>].")] = None,
    overlays: Annotated[str, typer.Option(help="none, worst:N or all.")] = "worst:50",
    device: Device = None, force: Force = False, as_json: Json = False,
) -> None:  # fmt: skip
    """A score per item, heat overlays and slide heat maps."""

    def stage() -> Outcome:
        from pipeline.score import score as run_score

        return run_score(run, store, out, overlays, device, force)

    _run(stage, as_json)


@app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A RUN or a SCORES folder.")], as_json: Json = False
) -> None:
    """AUC, average precision and hit rates, with intervals by group."""

    def stage() -> Outcome:
        from pipeline.evaluate import evaluate as run_evaluate

        return run_evaluate(path)

    _run(stage, as_json)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="RUN or SCORES folders.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file [report.html in the first scores folder].")
    ] = None,
    note: Annotated[str | None, typer.Option(help="A line for the report's head.")] = None,
    as_json: Json = False,
) -> None:
    """One self-contained HTML page for people."""

    def stage() -> Outcome:
        from pipeline.report import report as run_report

        return run_report(paths, out, note)

    _run(stage, as_json)


@app.command()
def synthetic(
    out: Out,
    slides: Annotated[int, typer.Option(min=0)] = 6,
    radiographs: Annotated[int, typer.Option("--radiographs", min=0)] = 240,
    size: Annotated[int, typer.Option(help="Side of a slide in level-0 pixels.")] = 6144,
    seed: Annotated[int, typer.Option()] = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A made-up archive of slides and radiographs, and a real table, to try everything on."""

    def stage() -> Outcome:
        from pipeline.synthetic import synthetic as make

        return make(out, slides=slides, radiographs=radiographs, size=size, seed=seed, force=force)

    _run(stage, as_json)


@app.command()
def run(
    workflow: Annotated[str, typer.Argument(help="A YAML file of steps, or `demo`.")],
    out: Annotated[Path | None, typer.Option(help="Folder of all outputs [the workflow's name].")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run the steps of a workflow in order."""

    def stage() -> Outcome:
        from pipeline.run import run_workflow

        return run_workflow(workflow, out, force)

    _run(stage, as_json)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"esad {version('esad')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def call(argv: list[str]) -> int:
    """Run one command; returns its exit status."""
    command = typer.main.get_command(app)
    names = [name for name in getattr(command, "commands", {})]
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        say(f"error: unknown command {argv[0]!r}: did you mean {nearest(argv[0], names)!r}?")
        return int(ExitStatus.WRONG_USE)
    try:
        command.main(args=argv, prog_name="esad", standalone_mode=True)
    except SystemExit as end:
        return int(end.code or 0)
    return int(ExitStatus.DONE)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and leave the process with its status."""
    sys.exit(call(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    main()
