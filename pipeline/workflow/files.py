"""Workflow files: where they are, and their steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esad.pipeline.settings.config import yaml_content
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.workflow.steps import Step, StepReader

WORKFLOWS = Path(__file__).parent


def locate(file: Path) -> Path:
    """`file` itself, or the packaged workflow of that name; UsageError names the nearest one."""
    if file.is_file():
        return file
    packaged = {path.stem: path for path in sorted(WORKFLOWS.glob("*.yaml"))}
    if file.name in packaged and len(file.parts) == 1:
        return packaged[file.name]
    raise UsageError(
        f"{file}: no such file, and no workflow of the package ({', '.join(packaged) or 'none'})."
    )


def default_out(file: Path) -> Path:
    """The folder of a workflow's outputs where `--out` does not say: the file's stem, here."""
    return Path(file.stem)


def read_workflow(file: Path, out: Path, commands: Mapping[str, Any], force: bool = False) -> list[Step]:
    """The checked steps of a workflow file, whose stages are among `commands`.

    UsageError names the step, the word and the nearest known one.
    """
    content = yaml_content(file)
    if not isinstance(content, list) or not content:
        raise UsageError(f"{file}: expected a list of steps, each with name, stage, inputs and options.")
    outputs: dict[str, Path] = {}
    steps: list[Step] = []
    for number, entry in enumerate(content, 1):
        where = f"{file}, step {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "stage" not in entry:
            raise UsageError(f"{where}: expected a mapping with at least name and stage, found {entry!r}.")
        step = StepReader(f"{where} ({entry['name']})", file.resolve().parent, out, outputs, commands).read(
            entry, force
        )
        if step.name in outputs:
            raise UsageError(f"{where}: there is already a step {step.name!r}; names must differ.")
        outputs[step.name] = step.output
        steps.append(step)
    return steps
