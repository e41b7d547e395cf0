"""A workflow file's entries as checked steps, each the words of a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import yaml

from esad.pipeline.settings.config import nearest
from esad.pipeline.stage.errors import EsadError, ExitStatus, Stopped, UsageError, explain
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


KEYS = ("name", "stage", "inputs", "options")
REFERENCE = re.compile(r"\$\{([^}]*)\}")
NOT_IN_STEPS = {"--json", "--help"}
FILE_OR_NAME = {"encoder", "stain_target", "grid"}
"""Parameters whose text is a file, or the name of something that is built in."""
FILES_OF_SETTINGS = {"backbone.weights"}
"""Settings, given by `set`, whose value is a file."""


@dataclass(frozen=True)
class Step:
    """One command of a workflow: `arguments` are those of a shell, `output` is what `${name}` stands for."""

    name: str
    stage: str
    arguments: tuple[str, ...]
    output: Path

    @property
    def shell(self) -> str:
        """The command as a person would type it."""
        return shlex.join(["esad", self.stage, *self.arguments])


@dataclass(frozen=True)
class StepReader:
    """Turns one entry of a workflow file into a Step."""

    where: str
    folder: Path
    out: Path
    outputs: dict[str, Path]
    commands: Mapping[str, Any]

    def read(self, entry: dict[str, Any], force: bool) -> Step:
        """One entry as a Step; UsageError names the word that is not known and the nearest one."""
        self._known("key", entry, KEYS)
        name, stage = entry["name"], str(entry["stage"])
        if not re.fullmatch(r"[\w][\w.-]*", name):
            raise UsageError(f"{self.where}: a name is made of letters, digits, - and _.")
        self._known("stage", [stage], self.commands)
        inputs, options = entry.get("inputs") or [], entry.get("options") or {}
        if not isinstance(inputs, list) or not isinstance(options, dict):
            raise UsageError(
                f"{self.where}: inputs is a list of paths, options a mapping of names to values."
            )
        flags = self._flags(stage)
        options = {f"--{str(key).replace('_', '-')}": value for key, value in options.items()}
        self._known("option", options, flags)
        fills = self._fills(stage)
        arguments = [param for param in self._params(stage) if self._is_argument(param)]
        places = [*arguments, *arguments[-1:] * len(inputs)]  # the last takes what is left
        positions = [fills[param.name](str(value)) for param, value in zip(places, inputs, strict=False)]
        if not positions and any(param.required for param in arguments):
            raise UsageError(
                f'{self.where}: esad {stage} needs inputs, for example ["${{{self._example()}}}"].'
            )
        output = Path(positions[0]) if positions else self.out
        if "--out" in flags:
            suffix = ".html" if stage == "report" else ""
            output = self.out / self._filled(str(options.pop("--out", f"{name}{suffix}")))
            options = {"--out": str(output), **options}
        if force and "--force" in flags:
            options["--force"] = True
        words: list[str] = []
        for flag, value in options.items():
            fill = self._filled if flag == "--out" else fills[flags[flag].name]
            words += self._words(flag, self._settings(value), flags[flag].is_flag, fill)
        step = Step(name, stage, (*positions, *words), output)
        self._parse(step)
        return step

    def _fills(self, stage: str) -> dict[str, Callable[[str], str]]:
        """What is made of the texts of each parameter of a stage's command: a path, where it is one."""
        hints = get_type_hints(self.commands[stage].callback.__wrapped__)
        paths = {name for name, hint in hints.items() if _holds_path(hint)}
        return {
            param.name: self._path
            if param.name in paths
            else self._file_or_name
            if param.name in FILE_OR_NAME
            else self._filled
            for param in self._params(stage)
        }

    def _settings(self, value: Any) -> Any:
        """An option's value; of a mapping of settings those that are files relative to the workflow file."""
        if not isinstance(value, dict):
            return value
        return {
            name: self._path(inner) if name in FILES_OF_SETTINGS and isinstance(inner, str) else inner
            for name, inner in value.items()
        }

    def _params(self, stage: str) -> list[Any]:
        return self.commands[stage].params

    @staticmethod
    def _is_argument(param: Any) -> bool:
        return param.param_type_name == "argument"

    def _flags(self, stage: str) -> dict[str, Any]:
        options = [param for param in self._params(stage) if not self._is_argument(param)]
        return {flag: param for param in options for flag in param.opts if flag not in NOT_IN_STEPS}

    def _example(self) -> str:
        return list(self.outputs)[-1] if self.outputs else "earlier-step"

    def _known(self, kind: str, words: Iterable[str], known: Iterable[str]) -> None:
        known = list(known)
        for word in words:
            if word not in known:
                likely = nearest(str(word), known)
                raise UsageError(f"{self.where}: unknown {kind} {word!r}; did you mean {likely!r}?")

    def _filled(self, text: str) -> str:
        """`text` with every `${name}` replaced by that step's output."""
        self._known_references(REFERENCE.findall(text))
        return REFERENCE.sub(lambda match: str(self.outputs[match[1]]), text)

    def _known_references(self, names: list[str]) -> None:
        for name in names:
            if name not in self.outputs:
                earlier = (
                    f"did you mean {nearest(name, self.outputs)!r}?"
                    if self.outputs
                    else "this is the first step."
                )
                raise UsageError(f"{self.where}: ${{{name}}} is no earlier step; {earlier}")

    def _path(self, text: str) -> str:
        """A path: filled where it refers to a step, else relative to the workflow file."""
        return self._filled(text) if text.startswith("${") else str(self.folder / self._filled(text))

    def _file_or_name(self, text: str) -> str:
        """A path where the text has a file's ending, or there is such a file; else a name, as it is."""
        file = (
            text.startswith("${")
            or Path(text).suffix
            or len(Path(text).parts) > 1
            or (self.folder / text).exists()
        )
        return self._path(text) if file else text

    @staticmethod
    def _words(flag: str, value: Any, is_flag: bool, fill: Callable[[str], str]) -> list[str]:
        """The words of one option on a command line; mappings become `key=value`, lists repeat the option."""
        if isinstance(value, bool) and is_flag:
            return [flag] if value else []
        if value is None:
            return []
        if isinstance(value, dict):
            value = [f"{key}={_yaml_word(inner)}" for key, inner in value.items()]
        values = [_yaml_word(inner) for inner in value] if isinstance(value, list) else [_yaml_word(value)]
        return [word for text in values for word in (flag, fill(text))]

    def _parse(self, step: Step) -> None:
        """Let the command line parse the step's words now, so that a slip is found before anything runs."""
        import typer

        try:
            self.commands[step.stage].make_context(f"esad {step.stage}", list(step.arguments))
        except typer.TyperException as error:
            raise UsageError(f"{self.where}: {error.format_message()} ({step.shell})") from error


def _holds_path(hint: Any) -> bool:
    """Whether a parameter of this type is a path, or several."""
    return hint is Path or any(_holds_path(each) for each in get_args(hint))


def _yaml_word(value: Any) -> str:
    """A YAML value as one word that reads back as the same value."""
    if isinstance(value, str):
        return value
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6)
        .removesuffix("\n")
        .removesuffix("\n...")
        .strip()
    )


def run_steps(steps: Sequence[Step], commands: Mapping[str, Any]) -> list[Outcome]:
    """Run the steps in order; the first failed step's error names the step."""
    outcomes = []
    for number, step in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] {step.shell}")
        outcomes.append(_run_step(step, f"Step {step.name!r} ({number} of {len(steps)})", commands))
    return outcomes


def steps_outcome(file: Path, out: Path, steps: Sequence[Step], outcomes: Sequence[Outcome]) -> Outcome:
    """What all steps came to, their refusals counted."""
    refused = sum(outcome.refused for outcome in outcomes)
    last = outcomes[-1]
    message = f"All {len(steps)} steps of {file.name} are done, in {out}; the last wrote {last.out}."
    if refused:
        message += f" {refused} inputs were refused: see failures.csv of the steps that said so."
    rows = [
        {"name": step.name, "stage": step.stage, **outcome.as_json()}
        for step, outcome in zip(steps, outcomes, strict=True)
    ]
    return Outcome(out, message, "", refused, {"result": str(last.out), "steps": rows})


def _run_step(step: Step, title: str, commands: Mapping[str, Any]) -> Outcome:
    program = f"esad {step.stage}"
    try:
        outcome = commands[step.stage].main(
            args=list(step.arguments), prog_name=program, standalone_mode=False
        )
    except EsadError as error:
        kinds = {ExitStatus.WRONG_USE: UsageError, ExitStatus.STOPPED: Stopped}
        kind = kinds.get(ExitStatus(error.exit_status), EsadError)
        verb = "was stopped" if kind is Stopped else "failed"
        raise kind(f"{title} {verb}: {error} To run it alone: {step.shell}") from error
    except OSError as error:
        raise EsadError(f"{title} failed: {explain(error)} To run it alone: {step.shell}") from error
    if outcome.failed:
        raise EsadError(f"{title} failed: {outcome.message} To run it alone: {step.shell}")
    return outcome
