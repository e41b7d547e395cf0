"""`esad run FILE.yaml`: the steps of a workflow, each exactly the command that a person would type.

A workflow is a list of steps. `${name}` is the output of an earlier step, also inside a longer path:

    - name: store
      stage: tile
      inputs: [slides]                  # relative to the workflow file
      options: {magnification: 10, annotations: outlines}
    - name: model
      stage: train
      inputs: ["${store}"]
      options: {preset: cpu, set: {train.epochs: 5}}
    - name: scores
      stage: score
      inputs: ["${model}"]

A step writes to OUT/<name> (OUT/<name>.html for a report) unless its options have `out`, relative to OUT; a stage
without `--out` stands for its first input. The whole file is checked before the first step starts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from esad.pipeline import annotations as annotation_files
from esad.pipeline import (
    audit,
    benchmark,
    combine,
    dicom,
    embed,
    embeddings,
    evaluate,
    export,
    fetch,
    figures,
    images,
    plan,
    radiographs,
    report,
    score,
    suggest,
    sweep,
    synthetic,
    tables,
    tile,
    train,
    verify,
)
from esad.pipeline.stage.command import as_typer, run_script, run_stage
from esad.pipeline.stage.options import Force, Json
from esad.pipeline.stage.outcome import Outcome

STAGES: dict[str, Callable[..., Outcome]] = {
    "fetch": fetch.command, "plan": plan.command, "tile": tile.command, "radiographs": radiographs.command,
    "images": images.command, "tables": tables.command, "embeddings": embeddings.command, "embed": embed.command,
    "train": train.command, "sweep": sweep.command, "score": score.command, "combine": combine.command,
    "evaluate": evaluate.command, "report": report.command, "suggest": suggest.command, "figures": figures.command,
    "export": export.command, "verify": verify.command,
    "annotations": annotation_files.command,
    "dicom": dicom.command, "audit": audit.command, "benchmark": benchmark.command, "synthetic": synthetic.command,
}  # fmt: skip
"""The stages that a step can name, each with its own command; `esad` shows them in this order."""


def command(
    workflow: Annotated[Path, typer.Argument(help="A YAML file of steps, or `demo`.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of all outputs (default: the workflow's name).")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Run the steps of a workflow in order."""
    return run_stage(lambda: run_workflow(workflow, out, force), as_json)


def commands() -> dict[str, Any]:
    """The stages that a step can name, by name, as the command line parses them."""
    return {name: get_command(as_typer(stage, name)) for name, stage in STAGES.items()}


def run_workflow(file: Path, out: Path | None = None, force: bool = False) -> Outcome:
    """Run the steps of `file` in order; finished ones are left alone by their stages.

    Steps that refuse some inputs do not stop the others; the outcome counts their refusals. Raises UsageError for
    a fault of the file, and the first failed step's error, naming the step.
    """
    from esad.pipeline.workflow.files import default_out, locate, read_workflow
    from esad.pipeline.workflow.steps import run_steps, steps_outcome

    file = locate(file)
    out = out or default_out(file)
    known = commands()
    steps = read_workflow(file, out, known, force)
    outcomes = run_steps(steps, known)
    return steps_outcome(file, out, steps, outcomes)


if __name__ == "__main__":
    run_script(command)
