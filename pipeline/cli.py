"""The command line: options become settings, errors become messages and exit statuses. No stage's work is here.

Only the options that a person gave are passed on: every default stands with its settings, or in its stage.
Heavy packages are imported inside the commands, so that `esad --help` answers at once. Everything for people goes
to stderr; `--json` puts one object on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.main import get_command

from pipeline.config import (
    ImageSettings,
    RadiographSettings,
    TableSettings,
    TileSettings,
    parse_assignments,
    read_yaml,
    resolve,
)
from pipeline.errors import EsadError, ExitStatus, Stopped, UsageError, explain
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


Model = TypeVar("Model", TileSettings, RadiographSettings, ImageSettings, TableSettings)


def _run(stage: Callable[[], Outcome], as_json: bool, bare: bool = False) -> Outcome:
    """Run a stage; say its line on stderr and with `as_json` print its object on stdout (`bare`: its summary alone)."""
    try:
        outcome = stage()
    except KeyboardInterrupt as error:
        raise Stopped("Stopped on request. Run the same command again: it continues where it was.") from error
    say(outcome.line)
    if as_json:
        whole = {"status": int(outcome.exit_status), **outcome.as_json()}
        _print_json(outcome.summary if bare else whole)
    return outcome


def _print_json(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def _given(**options: Any) -> dict[str, Any]:
    """The options that the person gave."""
    return {name: value for name, value in options.items() if value is not None}


def _like(run: Path | None, kind: str) -> dict[str, Any]:
    """The item-shaping settings of the store that `run` was trained on."""
    if run is None:
        return {}
    from pipeline.runs import input_settings, read_config

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
    out: Path, labels: Path | None, where: list[str] | None, force: bool, resume: bool, workers: int | None
) -> Any:
    from pipeline.ingest import IngestOptions
    from pipeline.inputs import parse_where

    _say_resume(out, force, resume)
    return IngestOptions(out, labels, parse_where(where or []), force, workers or 1)


def _say_resume(out: Path, force: bool, resume: bool) -> None:
    if resume and force:
        raise UsageError("--resume continues and --force replaces: give one of them.")
    if resume:
        say(
            f"{out}: continuing what is there."
            if out.exists()
            else f"{out}: nothing there yet, starting anew."
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
) -> Outcome:  # fmt: skip
    """Slides to stain-normalised tiles."""

    def stage() -> Outcome:
        from pipeline.tile import tile as run_tile

        target = str(stain_target) if stain_target else None
        given = _given(
            magnification=magnification, mpp=mpp, tile_size=tile_size, step=step, stain=stain, stain_scope=stain_scope,
            stain_target=target, slide_mpp=slide_mpp, min_tissue=min_tissue,
        )  # fmt: skip
        settings = _settings(TileSettings, _like(like, "tiles"), set_, given)
        options = _ingest_options(out, labels, where, force, resume, workers or _cores())
        return run_tile(inputs, settings, options, annotations)

    return _run(stage, as_json)


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
) -> Outcome:  # fmt: skip
    """PNG and DICOM radiographs to small grey squares."""

    def stage() -> Outcome:
        from pipeline.radiographs import radiographs as run_radiographs

        given = _given(projection=projection, size=size, crop=crop)
        settings = _settings(RadiographSettings, _like(like, "radiographs"), set_, given)
        options = _ingest_options(out, labels, where, force, resume, workers)
        return run_radiographs(inputs, settings, options, metadata, group_key)

    return _run(stage, as_json)


@app.command()
def images(
    inputs: Inputs,
    out: Out,
    size: Annotated[int | None, typer.Option(help="Resize every image to this square.")] = None,
    label: LabelColumn = None, group: GroupColumn = None, split: SplitColumn = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """An npz file, class folders or a zip of them."""

    def stage() -> Outcome:
        from pipeline.images import images as run_images

        given = _given(size=size, label=label, group=group, split=split)
        settings = _settings(ImageSettings, _like(like, "images"), set_, given)
        return run_images(inputs, settings, _ingest_options(out, labels, where, force, resume, workers))

    return _run(stage, as_json)


@app.command()
def tables(
    inputs: Inputs,
    out: Out,
    label: LabelColumn = None, group: GroupColumn = None, split: SplitColumn = None,
    labels: Labels = None, like: Like = None, where: Where = None, set_: Set = None, workers: Workers = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Tables: npz, mat, csv or parquet."""

    def stage() -> Outcome:
        from pipeline.tables import tables as run_tables

        given = _given(label=label, group=group, split=split)
        settings = _settings(TableSettings, _like(like, "table"), set_, given)
        return run_tables(inputs, settings, _ingest_options(out, labels, where, force, resume, workers))

    return _run(stage, as_json)


@app.command()
def train(
    store: Annotated[Path, typer.Argument(help="The STORE to train on.")],
    out: Out,
    preset: Annotated[str | None, typer.Option(help="paper, cpu or demo; without: what works best here.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; the config.yaml of a run will do.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    set_: Set = None, device: Device = None, force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Train a detector on a store."""

    def stage() -> Outcome:
        stated = read_yaml(config) if config else {}
        stated.pop("store", None)
        layers = [stated, parse_assignments(set_ or []), _given(seed=seed, device=device)]
        _say_resume(out, force, resume)
        from pipeline.train import train as run_train

        return run_train(store, out, preset, layers, force)

    return _run(stage, as_json)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    store: Annotated[Path | None, typer.Argument(help="The STORE to score [the run's own].")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of scores [RUN/scores/<store name>].")] = None,
    overlays: Annotated[str | None, typer.Option(help="none, worst:N or all.")] = None,
    device: Device = None, force: Force = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """A score per item, heat overlays and slide heat maps."""

    def stage() -> Outcome:
        from pipeline.score import score as run_score

        return run_score(run, store, out, device=device, force=force, **_given(overlays=overlays))

    return _run(stage, as_json)


@app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A RUN or a SCORES folder.")], as_json: Json = False
) -> Outcome:
    """AUC, average precision and hit rates, with intervals by group."""

    def stage() -> Outcome:
        from pipeline.evaluate import evaluate as run_evaluate

        return run_evaluate(path)

    return _run(stage, as_json)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="RUN or SCORES folders.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file [report.html in the first scores folder].")
    ] = None,
    note: Annotated[str | None, typer.Option(help="A line for the report's head.")] = None,
    as_json: Json = False,
) -> Outcome:
    """One self-contained HTML page for people."""

    def stage() -> Outcome:
        from pipeline.report import report as run_report

        return run_report(paths, out, note)

    return _run(stage, as_json)


@app.command()
def plan(
    protocol: Annotated[str, typer.Option(help="camelyon16, nih-ap, nih-pa or nih-subset.")],
    metadata: Annotated[Path | None, typer.Option(help="NIH's Data_Entry CSV, or the folder of NIH's metadata.")] = None,
    tile_list: Annotated[Path | None, typer.Option(help="Published tile lists of Camelyon16: .tar.gz or folder.")] = None,
    subset_list: Annotated[Path | None, typer.Option(help="Published lists of NIH's subset: .tar.gz or folder.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws NIH's labelled anomalies.")] = None,
    as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Count what a published data set is made of, before any image is opened."""

    def stage() -> Outcome:
        from pipeline.plan import plan as run_plan

        return run_plan(protocol, metadata, tile_list or subset_list, **_given(seed=seed))

    return _run(stage, as_json, bare=True)


@app.command()
def synthetic(
    out: Out,
    slides: Annotated[int | None, typer.Option(min=0, help="How many slides.")] = None,
    radiographs: Annotated[int | None, typer.Option(min=0, help="How many radiographs.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of a slide in level-0 pixels.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything drawn.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """A made-up archive of slides and radiographs, and a real table, to try everything on."""

    def stage() -> Outcome:
        from pipeline.synthetic import synthetic as make

        return make(out, force=force, **_given(slides=slides, radiographs=radiographs, size=size, seed=seed))

    return _run(stage, as_json)


@app.command()
def run(
    workflow: Annotated[Path, typer.Argument(help="A YAML file of steps, or `demo`.")],
    out: Annotated[Path | None, typer.Option(help="Folder of all outputs [the workflow's name].")] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Run the steps of a workflow in order."""

    def stage() -> Outcome:
        from pipeline.run import run_workflow

        return run_workflow(workflow, out, force)

    return _run(stage, as_json)


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


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Within the block SIGTERM stops the work as Ctrl-C does; once stopping, further ones do not disturb the clearing up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)

    def interrupt(number: int, frame: object) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def call(argv: list[str]) -> int:
    """Run one command; returns its exit status. Errors for people end on stderr, without a traceback."""
    try:
        with _one_interrupt():
            result = get_command(app).main(args=list(argv), prog_name="esad", standalone_mode=False)
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # usage errors have it: the usage line, then the message
        if show:
            show()
        else:
            say(error.format_message())
        if "--json" in argv:
            _print_json({"status": error.exit_code, "error": error.format_message()})
        return error.exit_code
    except EsadError as error:
        return _failed(str(error), int(error.exit_status), argv)
    except OSError as error:
        return _failed(explain(error), ExitStatus.FAILED, argv)
    return int(result.exit_status) if isinstance(result, Outcome) else int(result or 0)


def _failed(message: str, status: int, argv: list[str]) -> int:
    say(message if status == ExitStatus.STOPPED else f"error: {message}")
    if "--json" in argv:
        _print_json({"status": int(status), "error": message})
    return int(status)


def main(argv: list[str] | None = None) -> NoReturn:
    """The `esad` command: run `argv` (default: the process's own arguments) and leave with its exit status."""
    status = call(sys.argv[1:] if argv is None else argv)
    if status == ExitStatus.STOPPED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


if __name__ == "__main__":
    main()
