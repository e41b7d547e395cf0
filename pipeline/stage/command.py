"""A stage's command: run to its last line, its `--json` object and its exit status, from `esad` or as a script.

Only the options that a person gave are passed on: every default stands with its settings, or in its stage.
Everything for people goes to stderr; `--json` puts one object on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand
from typer.main import get_command

from esad.pipeline.stage.errors import EsadError, ExitStatus, Stopped, UsageError, explain
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.pipeline.stage.ranks import is_first, several
from esad.preprocessing.gate.refusals import DEBUG, debugging


def run_stage(
    stage: Callable[[], Outcome], as_json: bool, bare: bool = False, in_several: bool = False
) -> Outcome:
    """Run a stage; say its line on stderr and with `as_json` print its object on stdout (`bare`: its summary alone).

    UsageError under torchrun for a stage that does not work in several processes (`in_several`).
    """
    if several() and not in_several:
        raise UsageError("torchrun is for `esad train` and `esad score`; run this command without it.")
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
    """Print one object as a line on stdout; of several processes only the first does."""
    if not is_first():
        return
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def given_only(**options: Any) -> dict[str, Any]:
    """The options that the person gave."""
    return {name: value for name, value in options.items() if value is not None}


def say_resume(out: Path, force: bool, resume: bool) -> None:
    """Say aloud what happens anyway; UsageError where `--resume` and `--force` are both given."""
    if resume and force:
        raise UsageError("--resume continues and --force replaces: give one of them.")
    if resume:
        say(
            f"{out}: continuing what is there."
            if out.exists()
            else f"{out}: nothing there yet, starting anew."
        )


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


class OnceCommand(TyperCommand):
    """A command whose options are given once, but for those that are made to be repeated: the first of two would be dropped unsaid."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click's; UsageError for an option that stands twice."""
        helping = ctx.resilient_parsing or any(name in args for name in ctx.help_option_names)
        _, _, order = ([], [], []) if helping else self.make_parser(ctx).parse_args(args=list(args))
        for param in order:
            if (
                order.count(param) > 1
                and param.param_type_name == "option"
                and not param.multiple
                and not getattr(param, "is_flag", False)
            ):
                raise UsageError(
                    f"{max(param.opts, key=len)} is given twice, and only one of them would count: give it once."
                )
        return super().parse_args(ctx, args)


def as_typer(command: Callable[..., Outcome], name: str) -> typer.Typer:
    """The stage's command alone as a typer application."""
    app = typer.Typer(name=name, add_completion=False, pretty_exceptions_enable=False)
    app.command(name=name, cls=OnceCommand)(command)
    return app


def call(program: Any, argv: list[str], name: str = "esad") -> int:
    """Run a click command with the words `argv`; returns its exit status. Errors for people end on stderr, no traceback.

    `--debug`, wherever it stands, shows tracebacks: of faults of the program, and of what a reader raised on a refused input.
    """
    words = [word for word in argv if word != "--debug"]
    if len(words) < len(argv):
        os.environ[DEBUG] = "1"  # for the processes of workers, too
    try:
        with _one_interrupt():
            result = program.main(args=words, prog_name=name, standalone_mode=False)
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
        if debugging():
            traceback.print_exc()
        return _failed(explain(error), ExitStatus.FAILED, argv)
    except Exception as error:  # noqa: BLE001  a person gets a line, not a traceback
        if debugging():
            traceback.print_exc()
        return _failed(_own_fault(error), ExitStatus.FAILED, argv)
    return int(result.exit_status) if isinstance(result, Outcome) else int(result or 0)


def _own_fault(error: Exception) -> str:
    """A fault of the program, told by its place in our code."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "esad" in frame.filename]
    place = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return f"a fault of esad itself{place}, not of the command ({what}). Please report it with what --debug shows."


def _failed(message: str, status: int, argv: list[str]) -> int:
    if not is_first() and status == ExitStatus.FAILED:  # a fault that may be this process's alone
        sys.stderr.write(f"process {os.environ['RANK']}: error: {message}\n")
    say(message if status == ExitStatus.STOPPED else f"error: {message}")
    if "--json" in argv:
        print_json({"status": int(status), "error": message})
    return int(status)


def leave(status: int) -> NoReturn:
    """End the process with `status`; one that was stopped is not interrupted again on its way out."""
    if status == ExitStatus.STOPPED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def run_script(command: Callable[..., Outcome]) -> NoReturn:
    """What the last lines of a stage script call: `python pipeline/tile.py …` is `esad tile …`.

    Python puts a script's own folder first on the path; there `tables` or `dicom` would hide packages of those names,
    so it is taken off before anything heavy is imported.
    """
    script = Path(sys.argv[0]).resolve()
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != script.parent]
    leave(call(get_command(as_typer(command, script.stem)), sys.argv[1:], f"esad {script.stem}"))
