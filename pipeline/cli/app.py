"""The command line: options become settings, errors become messages and exit statuses. No stage's work is here.

Only the options that a person gave are passed on: every default stands with its settings, or in its stage.
Heavy packages are imported inside the commands, so that `esad --help` answers at once. Everything for people goes
to stderr; `--json` puts one object on stdout.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from esad.pipeline.cli.ingest_commands import add_commands
from esad.pipeline.cli.options import (
    Device,
    Force,
    GroupKey,
    Json,
    Mlflow,
    Out,
    Resume,
    Set,
    given_only,
    print_json,
    run_stage,
    say_resume,
)
from esad.pipeline.settings.config import parse_assignments, read_yaml
from esad.pipeline.stage.errors import EsadError, ExitStatus, explain
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.pipeline.stage.ranks import is_first

app = typer.Typer(
    name="esad",
    help="Semi-supervised anomaly detection on slides, radiographs, images and tables: archive -> store -> run -> scores -> report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

add_commands(app)


@app.command()
def train(
    store: Annotated[Path, typer.Argument(help="The STORE to train on.")],
    out: Out,
    preset: Annotated[str | None, typer.Option(help="paper, paper-NAME, cpu or demo; without: what works best here.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; the config.yaml of a run will do.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    set_: Set = None, device: Device = None, mlflow: Mlflow = None,
    force: Force = False, resume: Resume = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Train a detector on a store."""

    def stage() -> Outcome:
        stated = read_yaml(config) if config else {}
        stated.pop("store", None)
        layers = [stated, parse_assignments(set_ or []), given_only(seed=seed, device=device)]
        say_resume(out, force, resume)
        from esad.pipeline.train import train as run_train

        return run_train(store, out, preset, layers, force, **given_only(mlflow=mlflow))

    return run_stage(stage, as_json, in_several=True)


@app.command()
def sweep(
    store: Annotated[Path, typer.Argument(help="The STORE to train on.")],
    out: Out,
    over: Annotated[list[str], typer.Option(help="A setting and its values: loss.lambda1=0.01,0.1,1,10; repeatable.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each combination, on one split [1].")] = None,
    preset: Annotated[str | None, typer.Option(help="As for train.")] = None,
    config: Annotated[Path | None, typer.Option(help="As for train.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The first seed, which also draws the split.")] = None,
    set_: Set = None, device: Device = None, force: Force = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Train a grid of settings and choose by AUC on a validation part of the training data."""

    def stage() -> Outcome:
        stated = read_yaml(config) if config else {}
        stated.pop("store", None)
        layers = [stated, parse_assignments(set_ or []), given_only(seed=seed, device=device)]
        from esad.pipeline.sweep import sweep as run_sweep

        return run_sweep(store, out, over, preset, layers, force=force, **given_only(seeds=seeds))

    return run_stage(stage, as_json)


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
        from esad.pipeline.score import score as run_score

        return run_score(run, store, out, device=device, force=force, **given_only(overlays=overlays))

    return run_stage(stage, as_json)


@app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A RUN or a SCORES folder.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Outlines of lesions, named as their slides: gives the FROC.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Camelyon16's reference.csv (stem, Normal or Tumor): labels of slides."),
    ] = None,
    as_json: Json = False,
) -> Outcome:
    """AUC, average precision, hit rates, and slides' AUC and FROC, with intervals by group."""

    def stage() -> Outcome:
        from esad.pipeline.evaluate import evaluate as run_evaluate

        return run_evaluate(path, **given_only(annotations=annotations, reference=reference))

    return run_stage(stage, as_json)


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
        from esad.pipeline.report import report as run_report

        return run_report(paths, out, note)

    return run_stage(stage, as_json)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    to: Annotated[str, typer.Option(help="bundle (MONAI) or onnx.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write [RUN/export/<to>].")] = None,
    force: Force = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """The model as a MONAI Bundle or as an ONNX file."""

    def stage() -> Outcome:
        from esad.pipeline.export import export as run_export

        return run_export(run, to, out, force)

    return run_stage(stage, as_json)


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    store: Annotated[Path | None, typer.Argument(help="The STORE to compare on [the run's own].")] = None,
    device: Annotated[str | None, typer.Option(help="Where the run itself scores: cpu, cuda or cuda:N [cpu].")] = None,
    as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Check that the exports give the run's own scores; status 1 where one does not."""

    def stage() -> Outcome:
        from esad.pipeline.verify import verify as run_verify

        return run_verify(run, store, **given_only(device=device))

    return run_stage(stage, as_json)


@app.command()
def dicom(
    scores: Annotated[Path, typer.Argument(help="SCORES of radiographs, or their RUN.")],
    archive: Annotated[Path, typer.Option(help="The archive that the store was made of.")],
    out: Out,
    with_patient: Annotated[bool, typer.Option(help="Copy patient and study attributes, to file the results.")] = False,
    group_key: GroupKey = None,
    force: Force = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Overlays as DICOM Secondary Captures, results as CSV and Parquet."""

    def stage() -> Outcome:
        from esad.pipeline.dicom import dicom as run_dicom

        return run_dicom(scores, archive, out, with_patient, group_key, force)

    return run_stage(stage, as_json)


@app.command()
def audit(
    path: Annotated[Path, typer.Argument(help="A RUN, or a STORE with a stated split.")],
    as_json: Json = False,
) -> Outcome:
    """Check a split: nothing on both sides, labels consistent, scaling by training rows; status 1 where one fails."""

    def stage() -> Outcome:
        from esad.pipeline.audit import audit as run_audit

        return run_audit(path)

    return run_stage(stage, as_json, bare=True)


@app.command()
def benchmark(
    grid: Annotated[str, typer.Argument(help="table3, table4, or a YAML file that declares a grid.")],
    data: Annotated[Path, typer.Option(help="Folder of the tables.")],
    out: Out,
    only: Annotated[
        list[str] | None, typer.Option(help="A part: dataset=cardio, method=esad, split=clean; repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells at a time, each in a process of its own.")] = 1,
    device: Device = None, force: Force = False, as_json: Json = False,
) -> Outcome:  # fmt: skip
    """Methods on tables, all seeds at once, beside published figures."""

    def stage() -> Outcome:
        from esad.pipeline.benchmark import benchmark as run_benchmark

        return run_benchmark(grid, data, out, only or [], device or "auto", force, workers)

    outcome = run_stage(stage, False)
    if as_json:
        print_json(outcome.summary["results"])
    return outcome


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
        from esad.pipeline.synthetic import synthetic as make

        return make(
            out, force=force, **given_only(slides=slides, radiographs=radiographs, size=size, seed=seed)
        )

    return run_stage(stage, as_json)


@app.command()
def run(
    workflow: Annotated[Path, typer.Argument(help="A YAML file of steps, or `demo`.")],
    out: Annotated[Path | None, typer.Option(help="Folder of all outputs [the workflow's name].")] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Run the steps of a workflow in order."""

    def stage() -> Outcome:
        from esad.pipeline.run import run_workflow

        return run_workflow(workflow, out, force)

    return run_stage(stage, as_json)


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
            print_json({"status": error.exit_code, "error": error.format_message()})
        return error.exit_code
    except EsadError as error:
        return _failed(str(error), int(error.exit_status), argv)
    except OSError as error:
        return _failed(explain(error), ExitStatus.FAILED, argv)
    return int(result.exit_status) if isinstance(result, Outcome) else int(result or 0)


def _failed(message: str, status: int, argv: list[str]) -> int:
    if not is_first() and status == ExitStatus.FAILED:  # a fault that may be this process's alone
        sys.stderr.write(f"process {os.environ['RANK']}: error: {message}\n")
    say(message if status == ExitStatus.STOPPED else f"error: {message}")
    if "--json" in argv:
        print_json({"status": int(status), "error": message})
    return int(status)


def main(argv: list[str] | None = None) -> NoReturn:
    """The `esad` command: run `argv` (default: the process's own arguments) and leave with its exit status."""
    status = call(sys.argv[1:] if argv is None else argv)
    if status == ExitStatus.STOPPED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


if __name__ == "__main__":
    main()
