"""The one training step as the iteration of a `monai.engines.Trainer`, with MONAI's handler for TensorBoard and a person's own.

It goes on from the last checkpoint, writes one every so often and on SIGTERM, and keeps RUN/history.csv. How long it
took stands in RUN/log alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from esad.pipeline.monitoring.watch import TrainingWatch, reports_at
from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import CannotTrain, EsadError, Stopped
from esad.pipeline.stage.progress import progress, say
from esad.pipeline.stage.ranks import any_of, same_everywhere
from esad.pipeline.training.checkpoints import CheckpointSeconds, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from esad.models.training.fit import TrainingStep
    from esad.pipeline.monitoring.tracking import Tracker

LOG_EVERY_STEPS = 20


class Handler(Protocol):
    """What MONAI and ignite call a handler: it adds itself to an engine's events."""

    def attach(self, engine: Any) -> None:
        """Called once, before training begins or goes on."""


class Diverged(CannotTrain):
    """The loss or a weight is not finite."""

    def __init__(self, what: str, state: _Checkpoints) -> None:
        phase, *_ = state.step.phase_at(max(state.next - 1, 0))
        rate = state.step.rate * phase.optimiser.learning_rate
        setting = "train.warmup.learning_rate" if phase.name != "train" else "train.learning_rate"
        kept = (
            f" The last checkpoints with finite weights are kept in {state.folder}."
            if any(state.folder.glob("*.pt"))
            else ""
        )
        super().__init__(f"{what}: lower {setting} (now {rate:g}).{kept}")


class _Checkpoints:
    """Where training stands, in and out of the files of one folder.

    `next` is the next step, `earlier` the seconds that training took before this process, up to the checkpoint.
    """

    def __init__(self, folder: Path, step: TrainingStep, settings: RunSettings, out: Path) -> None:
        self.folder, self.step, self.settings = folder, step, settings.model_dump()
        self.seconds = CheckpointSeconds(out, folder)
        self.arithmetic = f"{step.device.type} in {step.mixed or 'torch.float32'}"
        found = load_checkpoint(folder, step.device, self.settings, self.arithmetic)
        self.next = int(found["next"]) if found else 0
        self.earlier = self.seconds.before(self.next, found) if found else 0.0
        self.began = time.monotonic()
        if not same_everywhere(
            step.ranks, self.next
        ):  # before `restore`, which waits for the other processes
            raise EsadError(
                f"{folder}: the processes found different checkpoints; all of them must see the same RUN."
            )
        if found:
            step.method.load_state_dict(found["method"])
            step.restore(self.next, found["optimiser"])
            say(f"Continuing from step {self.next} of {step.steps}.")

    def save(self) -> None:
        """Write a checkpoint, unless a weight, a buffer or the optimiser's state is not finite."""
        if self.is_finite():
            state = {
                "next": self.next,
                "method": self.step.method.state_dict(),
                "optimiser": self.step.state(),
            }
            self.seconds.add(self.next, self.earlier + time.monotonic() - self.began)
            save_checkpoint(self.folder, self.next, self.settings, state, self.arithmetic)

    def is_finite(self) -> bool:
        import torch

        optimiser = self.step.state() or {"state": {}}
        held = [value for entry in optimiser["state"].values() for value in entry.values()]
        values = [*self.step.method.state_dict().values(), *(v for v in held if isinstance(v, torch.Tensor))]
        return all(bool(torch.isfinite(value).all()) for value in values)


def run_engine(
    step: TrainingStep,
    settings: RunSettings,
    out: Path,
    checkpoints: Path,
    tracker: Tracker | None = None,
    handlers: Sequence[Handler] = (),
) -> float:
    """Drive `step` from the last checkpoint to the end inside a MONAI Trainer.

    `handlers` are attached to it after ours: `engine.network` is the method, `engine.state.iteration` the steps done, of all
    phases, and `engine.state.output` the terms of the loss (`CommonKeys.LOSS` their sum) of a logged step, else empty. Of several
    processes the first alone has them. Returns the seconds that training had taken up to that checkpoint.

    Raises Diverged where the loss or a weight is not finite, Stopped on SIGTERM or SIGINT.
    """
    import torch
    from ignite.engine import Engine, Events
    from monai.utils import CommonKeys

    state = _Checkpoints(checkpoints, step, settings, out)
    if state.next >= step.steps:
        return state.earlier
    first = step.ranks is None or step.ranks.first
    watch = TrainingWatch(step, out, state.next, tracker, settings.score.kind) if first else None
    history = _History(out, state.next) if first else None
    note = ""

    def update(engine: Engine, number: int) -> dict[str, float]:
        nonlocal note
        terms = step(number)
        state.next = number + 1
        due = number % LOG_EVERY_STEPS == 0 or reports_at(step, number)
        values = {name: float(value.float().mean()) for name, value in terms.items()} if due else {}
        if values and not torch.isfinite(terms[CommonKeys.LOSS]).all():
            phase = step.phase_at(number)[0].name
            raise Diverged(f"The loss is not finite at step {number} ({phase})", state)
        if values:
            note = f"loss {values[CommonKeys.LOSS]:.4g}"
        if watch and history and values:
            present = {name: value for name, value in values.items() if value == value}  # noqa: PLR0124, NaN: no such group
            values = watch.observe(number, present)
            history.add(number, step.phase_at(number)[0].name, values)
        return values

    engine = _trainer(step, state, update)
    if watch:
        for handler in (watch, *handlers):
            handler.attach(engine)
    last_saved = time.monotonic()
    with progress(f"train {out.name}", step.steps - state.next) as bar, _stop_signals() as stop:

        @engine.on(Events.ITERATION_COMPLETED)
        def after_step() -> None:
            nonlocal last_saved
            bar.advance(1, note)
            due = first and time.monotonic() - last_saved > settings.checkpoint_seconds
            stopping, due = any_of(step.ranks, stop(), due)
            if first and (stopping or due):
                state.save()
                last_saved = time.monotonic()
            if stopping:
                engine.terminate()

        engine.run()
    if watch and history:
        history.close()
        watch.close()
    _end(state, out)
    return state.earlier


def _trainer(step: TrainingStep, state: _Checkpoints, update: Callable[[Any, int], dict[str, float]]) -> Any:
    """A `monai.engines.Trainer` whose iterations are the steps that are left, counted from the first of all."""
    from ignite.engine import Events
    from monai.engines import Trainer

    steps = range(state.next, step.steps)
    engine: Any = Trainer(step.device, 1, steps, step.steps, iteration_update=update, decollate=False)
    engine.network = step.method  # where MONAI's own trainers have it, and its handlers look for it
    engine.logger.setLevel("CRITICAL")  # an error is said once, by the command line
    engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, "iteration", state.next))
    return engine


def _end(state: _Checkpoints, out: Path) -> None:
    """Stopped where steps are left, Diverged where weights are not finite, else the last checkpoint."""
    step = state.step
    if state.next < step.steps:
        raise Stopped(
            f"Stopped at step {state.next} of {step.steps}; the same command continues from the checkpoint in {out}."
        )
    if not state.is_finite():
        raise Diverged("The weights are not finite after training", state)
    if step.ranks is None or step.ranks.first:
        state.save()


class _History:
    """RUN/history.csv: a row per logged step, in long form; a continued run cuts the rows after its checkpoint."""

    def __init__(self, out: Path, start: int) -> None:
        from esad.preprocessing.store.store import write_atomically

        self.path = out / "history.csv"
        kept = ["step,phase,term,value\n"]
        if start and self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)[1:]
            kept += [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) < start]
        write_atomically(self.path, lambda temporary: temporary.write_text("".join(kept)))
        self.file = self.path.open("a")

    def add(self, step: int, phase: str, values: dict[str, float]) -> None:
        self.file.writelines(f"{step},{phase},{name},{value:.8g}\n" for name, value in values.items())
        self.file.flush()

    def close(self) -> None:
        self.file.close()


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
