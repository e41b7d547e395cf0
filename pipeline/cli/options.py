"""What the commands of the command line share: option types, and running a stage to its line and its status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.stage.errors import Stopped, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.pipeline.stage.ranks import is_first, several

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
Anonymous = Annotated[
    bool,
    typer.Option("--anonymous", help="Hash file names, too; the list of names is kept beside the group key."),
]
GroupKey = Annotated[
    Path | None, typer.Option("--group-key", help="Key of the hashes of patients and names; made if absent.")
]
Where = Annotated[
    list[str] | None, typer.Option("--where", help="Keep rows with column=value, for example view=AP.")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting, for example train.epochs=5.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="Address of a Dask scheduler, for example tcp://127.0.0.1:8786: its workers do the work.",
    ),
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        "--mlflow", help="Follow the training in MLflow: http://HOST:PORT, file:FOLDER or sqlite:///FILE."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column of labels [y].")]
GroupColumn = Annotated[str | None, typer.Option("--group", help="Column of groups: patient, slide [group].")]
SplitColumn = Annotated[
    str | None, typer.Option("--split", help="Column of parts: train, validation, test [split].")
]


def run_stage(
    stage: Callable[[], Outcome], as_json: bool, bare: bool = False, in_several: bool = False
) -> Outcome:
    """Run a stage; say its line on stderr and with `as_json` print its object on stdout (`bare`: its summary alone).

    UsageError under torchrun for a stage that does not work in several processes (`in_several`).
    """
    if several() and not in_several:
        raise UsageError("torchrun is for `esad train`; run this command without it.")
    try:
        outcome = stage()
    except KeyboardInterrupt as error:
        raise Stopped("Stopped on request. Run the same command again: it continues where it was.") from error
    say(outcome.line)
    if as_json:
        whole = {"status": int(outcome.exit_status), **outcome.as_json()}
        print_json(outcome.summary if bare else whole)
    return outcome


def print_json(content: object) -> None:
    if not is_first():
        return
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def given_only(**options: Any) -> dict[str, Any]:
    """The options that the person gave."""
    return {name: value for name, value in options.items() if value is not None}


def say_resume(out: Path, force: bool, resume: bool) -> None:
    if resume and force:
        raise UsageError("--resume continues and --force replaces: give one of them.")
    if resume:
        say(
            f"{out}: continuing what is there."
            if out.exists()
            else f"{out}: nothing there yet, starting anew."
        )
