"""`esad train STORE`: assignments, the trained model and its reference scores, in a RUN folder.

The one training step of `esad.models.training.fit` runs inside an engine (`esad.pipeline.training.engine`). Training that
was stopped or killed goes on from its last checkpoint and ends with the same weights as an undisturbed run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.command import given_only, run_script, run_stage, say_resume
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import (
    Force,
    Json,
    Labels,
    Mlflow,
    Out,
    Resume,
    fields_as_options,
    settings_as_options,
)
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.training.request import RunRequest

if TYPE_CHECKING:
    from esad.pipeline.training.engine import Handler
    from esad.preprocessing.store.store import Store


@settings_as_options(RunSettings, "seed", "device")
@fields_as_options(RunRequest, "request")
def command(
    store: Annotated[Path, typer.Argument(help="The STORE to train on.")],
    out: Out,
    request: RunRequest,
    given: dict[str, Any],
    labels: Labels = None,
    mlflow: Mlflow = None,
    force: Force = False,
    resume: Resume = False,
    as_json: Json = False,
) -> Outcome:
    """Train a detector on a store."""

    def stage() -> Outcome:
        layers = request.layers(given)
        say_resume(out, force, resume)
        return train(store, out, request.preset, layers, force, **given_only(mlflow=mlflow, labels=labels))

    return run_stage(stage, as_json, in_several=True)


def train(
    store: Path,
    out: Path,
    preset: str | None = None,
    overrides: Sequence[dict[str, Any]] = (),
    force: bool = False,
    mlflow: str | None = None,
    handlers: Sequence[Handler] = (),
    labels: Path | None = None,
) -> Outcome:
    """Train on `store` and write the run to `out`; `overrides` are layers of settings, later ones win.

    `labels` is a CSV of labels for this run alone, over those of the store (`runs.given_labels`).
    `mlflow` is the address of an MLflow tracking store that follows the training; `handlers` are MONAI's or ignite's, attached
    to the trainer (`esad.pipeline.training.engine.run_engine`). Raises UsageError (settings), EsadError (data, non-finite loss,
    other settings in `out`, no space, no memory), Stopped (SIGTERM).
    """
    from contextlib import nullcontext

    from esad.models.methods.registry import METHODS
    from esad.pipeline.monitoring.tracking import check_address
    from esad.pipeline.runs.given_labels import give_labels
    from esad.pipeline.settings.ignored import warnings_of_run
    from esad.pipeline.settings.presets import run_settings
    from esad.pipeline.stage.lock import writing_to
    from esad.pipeline.stage.progress import say
    from esad.pipeline.stage.ranks import is_first, several
    from esad.pipeline.training.failures import failures_in_words
    from esad.preprocessing.store.store import Store

    if mlflow is not None:
        check_address(mlflow)
    opened = Store(store)
    labels_file = give_labels(opened, labels) if labels else None
    settings = run_settings(opened, preset, overrides)
    for warning in warnings_of_run(settings, opened, preset, overrides):
        say(warning)
    if several() and not opened.pictures:
        raise UsageError("Several processes are for pictures; rows train in one: leave torchrun out.")
    if not opened.pictures and METHODS[settings.method].pictures_only:
        raise UsageError(
            f"{opened.root}: method {settings.method} is for pictures, this store has rows of numbers: take another method "
            "(docs/how-to/choose-a-method.md)."
        )
    with failures_in_words(out, settings), writing_to(out) if is_first() else nullcontext():
        return _train(opened, settings, out, force, mlflow, handlers, labels_file)


def _train(
    store: Store,
    settings: RunSettings,
    out: Path,
    force: bool,
    mlflow: str | None,
    handlers: Sequence[Handler],
    labels_file: str | None,
) -> Outcome:
    """Of several processes each trains its share; the first alone writes the run."""
    import time
    from contextlib import ExitStack

    from esad.pipeline.monitoring.tracking import tracked
    from esad.pipeline.runs.given_labels import say_use
    from esad.pipeline.runs.grey_levels import fit_grey_levels, levelled
    from esad.pipeline.runs.items import assignments_of, in_memory
    from esad.pipeline.runs.run_folder import resolve_device
    from esad.pipeline.stage.log import now, write_log
    from esad.pipeline.stage.ranks import any_of, is_first, process_group
    from esad.pipeline.training.fitting import fit_method
    from esad.pipeline.training.references import write_references
    from esad.pipeline.training.run_end import run_outcome, write_end
    from esad.pipeline.training.run_start import already_finished, run_config, shown_config, write_start

    began, clock, device = now(), time.monotonic(), resolve_device(settings.device)
    with process_group(device) as ranks, ExitStack() as following:
        config = run_config(store, settings, labels_file)
        finished, *_ = any_of(ranks, is_first() and already_finished(out, config, force))
        if finished:
            return run_outcome(out, store, "Left alone (finished before)", settings)
        assignments = assignments_of(store, settings)
        say_use(store, assignments)
        levels = fit_grey_levels(store, assignments, settings)
        items = in_memory(levelled(store, levels), device)
        if not is_first():
            fit_method(store, items, assignments, settings, out, None, ranks)
            any_of(ranks, False)  # whoever called may open the run then, which the first has finished
            return Outcome(out, "Trained.")
        write_start(out, store, assignments, config, levels)
        tracker = following.enter_context(tracked(mlflow, out, shown_config(config)))
        method, training = fit_method(store, items, assignments, settings, out, tracker, ranks, handlers)
        write_references(out, store, items, assignments, method, settings)
        training["processes"] = ranks.count if ranks else 1
        seconds = time.monotonic() - clock + training.pop("earlier")
        write_log(out, "train", began, seconds=round(seconds, 1))
        write_end(out, store, items, assignments, method, settings, training)
        any_of(ranks, False)
    return run_outcome(out, store, f"Wrote {out}", settings)


if __name__ == "__main__":
    run_script(command)
