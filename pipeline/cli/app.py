"""`esad`: the stages under one name. No stage's work is here; each stage's own command stands in its script.

The scripts import what is heavy inside their functions, so that `esad --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from esad.pipeline import run, view
from esad.pipeline.cli import doctor
from esad.pipeline.stage.command import OnceCommand, leave
from esad.pipeline.stage.command import call as call_command
from esad.pipeline.stage.outcome import Outcome

app = typer.Typer(
    name="esad",
    help="Semi-supervised anomaly detection on slides, radiographs, images and tables: archive -> store -> run -> scores -> report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., Outcome]] = {
    **run.STAGES, "view": view.command, "run": run.command, "doctor": doctor.command,
}  # fmt: skip
"""`view` ends when a person ends it, so that it is no step of a workflow."""
for _name, _command in COMMANDS.items():
    app.command(name=_name, cls=OnceCommand)(_command)


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
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where a fault arose (any place in the command).")
    ] = False,
) -> None:
    """Options of the program itself."""


def call(argv: list[str]) -> int:
    """Run `esad` with the words `argv`; returns its exit status."""
    return call_command(get_command(app), argv)


def main(argv: list[str] | None = None) -> NoReturn:
    """The `esad` command: run `argv` (default: the process's own arguments) and leave with its exit status."""
    leave(call(sys.argv[1:] if argv is None else argv))
