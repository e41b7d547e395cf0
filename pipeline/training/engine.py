"""The one training step as the iteration of a `monai.engines.Trainer`, with MONAI's handlers and a person's own.

It goes on from the last checkpoint, and writes one every so often and on SIGTERM. How long it took stands in RUN/log alone.
The learning rate is no LrScheduleHandler's: it follows from the number of the step, in the step itself, so that there is no
schedule's state that could be continued wrongly.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from esad.pipeline.monitoring.watch import TrainingWatch, logged_at
from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import CannotTrain, Stopped
from esad.pipeline.stage.progress import progress
from esad.pipeline.stage.ranks import any_of
from esad.pipeline.training.selection import selection_of
from esad.pipeline.training.state import TrainingState

if TYPE_CHECKING:
    from esad.models.training.fit import TrainingStep
    from esad.pipeline.monitoring.tracking import Tracker


class Handler(Protocol):
    """What MONAI and ignite call a handler: it adds itself to an engine's events."""

    def attach(self, engine: Any) -> None:
        """Called before training begins, goes on, or starts anew at a lower rate (each time with another engine)."""


class Diverged(CannotTrain):
    """The loss or a weight is not finite."""

    def __init__(self, what: str, state: TrainingState) -> None:
        phase, *_ = state.step.phase_at(max(state.next - 1, 0))
        rate = state.step.rate * phase.optimiser.learning_rate
        of_training = phase.turns or phase.name == "train"
        setting = "train.learning_rate" if of_training else "train.warmup.learning_rate"
        kept = (
            f" The last checkpoints with finite weights are kept in {state.folder}."
            if any(state.folder.glob("*.pt"))
            else ""
        )
        super().__init__(f"{what}: lower {setting} (now {rate:g}).{kept}")


def run_engine(
    step: TrainingStep,
    settings: RunSettings,
    out: Path,
    checkpoints: Path,
    tracker: Tracker | None = None,
    handlers: Sequence[Handler] = (),
) -> tuple[float, dict[str, Any] | None]:
    """Drive `step` from the last checkpoint to the end inside a MONAI Trainer.

    `handlers` are attached to it after ours: `engine.network` is the method, `engine.state.iteration` the steps done, of all
    phases, and `engine.state.output[CommonKeys.LOSS]` the loss, a tensor, of a logged step a float beside its terms. Of several
    processes the first alone has them. Returns the seconds that training had taken up to that checkpoint, and what the validation
    part decided, if anything (`Selection.finish`).

    Raises Diverged where the loss or a weight is not finite, Stopped on SIGTERM or SIGINT.
    """
    import torch
    from ignite.engine import Engine, Events
    from monai.utils import CommonKeys

    state = TrainingState(checkpoints, step, settings, out)
    first = step.ranks is None or step.ranks.first
    watch = TrainingWatch(step, out, state.next, tracker, settings.score.kind) if first else None
    note = ""

    def update(engine: Engine, number: int) -> dict[str, Any]:
        nonlocal note
        terms = step(number)
        state.next = number + 1
        if not logged_at(step, number):  # a number would have to wait for the GPU
            return {CommonKeys.LOSS: terms[CommonKeys.LOSS].detach().float().mean()}
        values = {name: float(value.float().mean()) for name, value in terms.items()}
        if not torch.isfinite(terms[CommonKeys.LOSS]).all():
            phase = step.phase_at(number)[0].name
            raise Diverged(f"The loss is not finite at step {number} ({phase})", state)
        note = f"loss {values[CommonKeys.LOSS]:.4g}"
        return {name: value for name, value in values.items() if value == value}  # noqa: PLR0124, NaN: no such group

    engine = _trainer(step, state, update)
    if watch:
        state.select(selection_of(settings.selection, step, watch.validation), engine)
        for handler in (watch, *handlers):
            handler.attach(engine)
    last_saved = time.monotonic()
    with (
        closing(watch) if watch else nullcontext(),
        progress(f"train {out.name}", step.steps - state.next) as bar,
        _stop_signals() as stop,
    ):

        @engine.on(Events.ITERATION_COMPLETED)
        def after_step() -> None:
            nonlocal last_saved
            bar.advance(1, note)
            due = first and time.monotonic() - last_saved > settings.checkpoint_seconds
            # of several processes one alone may have been stopped, by a handler, and the others must not wait for it
            halt, due, state.ended = any_of(
                step.ranks, bool(stop()) or _asked_to_end(engine), due, state.chose_to_end()
            )
            if first and (halt or due):
                state.save()
                last_saved = time.monotonic()
            if halt:
                engine.terminate()

        if not state.finished:
            engine.run()
            _check_end(state, out)
    return state.earlier, state.selection.finish() if state.selection else None


def _asked_to_end(engine: Any) -> bool:
    """Whether a handler asked for the end of training, or of its one epoch, which is the same."""
    return bool(engine.should_terminate or engine.should_terminate_single_epoch or engine.should_interrupt)


def _trainer(step: TrainingStep, state: TrainingState, update: Callable[[Any, int], dict[str, Any]]) -> Any:
    """A `monai.engines.Trainer` whose iterations are the steps that are left, counted from the first of all."""
    from ignite.engine import Events
    from monai.engines import Trainer

    steps = range(state.next, step.steps)
    engine: Any = Trainer(step.device, 1, steps, step.steps, iteration_update=update, decollate=False)
    engine.network = step.method  # where MONAI's own trainers have it, and its handlers look for it
    engine.logger.setLevel("CRITICAL")  # an error is said once, by the command line
    engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, "iteration", state.next))
    return engine


def _check_end(state: TrainingState, out: Path) -> None:
    """Write the last checkpoint; Stopped where steps are left, Diverged where weights are not finite."""
    step = state.step
    if not state.finished:
        if state.saved != state.next and (step.ranks is None or step.ranks.first):
            state.save()  # a handler ended training in the middle of a step
        raise Stopped(
            f"Stopped at step {state.next} of {step.steps}; the same command continues from the checkpoint in {out}."
        )
    if not state.is_finite():
        raise Diverged("The weights are not finite after training", state)
    if step.ranks is None or step.ranks.first:
        state.save()


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM and SIGINT only raise a flag, which the yielded function reads."""
    import threading

    flag: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {
        number: signal.signal(number, lambda *_: flag.append(True))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(flag)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
