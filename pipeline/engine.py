"""The one training step inside an ignite engine, with MONAI's handlers for checkpoints and TensorBoard.

It goes on from the last checkpoint, writes one every so often and on SIGTERM, and keeps RUN/history.csv.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import RunSettings
from pipeline.errors import EsadError, Stopped
from pipeline.progress import progress, say
from pipeline.training_watch import TrainingWatch

if TYPE_CHECKING:
    from models.detector import Method
    from models.fit import TrainingStep
    from pipeline.tracking import Tracker

LOG_EVERY_STEPS = 20


class Diverged(EsadError):
    """The loss or a weight is not finite."""

    def __init__(self, what: str, step: TrainingStep, settings: RunSettings) -> None:
        rate = step.rate * settings.train.learning_rate
        super().__init__(f"{what}: lower train.learning_rate (now {rate:g}).")


class _TrainingState:
    """What a checkpoint holds beside the weights: the next step, the optimiser, the phase is known from the step."""

    def __init__(self, step: TrainingStep) -> None:
        self.step, self.next = step, 0

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next, "optimiser": self.step.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = int(state["next"])
        self.step.restore(self.next, state["optimiser"])


def run_engine(
    step: TrainingStep, settings: RunSettings, out: Path, checkpoints: Path, tracker: Tracker | None = None
) -> None:
    """Drive `step` from the last checkpoint to the end inside an ignite engine with MONAI's handlers.

    Raises Diverged where the loss or a weight is not finite, Stopped on SIGTERM or SIGINT.
    """
    import torch
    from ignite.engine import Engine, Events
    from monai.handlers import CheckpointSaver

    state = _TrainingState(step)
    _restore(checkpoints, step, state)
    if state.next >= step.steps:
        return
    watch = TrainingWatch(step, out, state.next, tracker)
    history = _History(out, state.next)

    def update(engine: Engine, number: int) -> dict[str, float]:
        terms = step(number)
        state.next = number + 1
        due = number % LOG_EVERY_STEPS == 0 or watch.reports_at(number)
        values = {name: float(value.float().mean()) for name, value in terms.items()} if due else {}
        if values and not torch.isfinite(terms["loss"]).all():
            phase = step.phase_at(number)[0].name
            raise Diverged(f"The loss is not finite at step {number} ({phase})", step, settings)
        if values:
            present = {name: value for name, value in values.items() if value == value}  # noqa: PLR0124, NaN: no such group
            values = watch.observe(number, present)
            history.add(number, step.phase_at(number)[0].name, values)
        return values

    engine = Engine(update)
    engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, "iteration", state.next))
    saver = CheckpointSaver(
        str(checkpoints),
        {"method": step.method, "training": state},
        save_interval=10**9,
        epoch_level=False,
        n_saved=2,
    )
    saver.attach(engine)
    watch.attach(engine)
    last_saved = time.monotonic()
    with progress(f"train {out.name}", step.steps - state.next) as bar, _stop_signals() as stop:

        @engine.on(Events.ITERATION_COMPLETED)
        def after_step() -> None:
            nonlocal last_saved
            bar.advance(1, f"loss {history.last:.4g}")
            due = time.monotonic() - last_saved > settings.checkpoint_seconds
            if (due or stop()) and _is_finite(step.method):  # else the next logged loss ends the training
                saver.interval_completed(engine)
                last_saved = time.monotonic()
            if stop():
                engine.terminate()

        engine.run(range(state.next, step.steps), max_epochs=1, epoch_length=step.steps)
    history.close()
    watch.close()
    if state.next < step.steps:
        raise Stopped(
            f"Stopped at step {state.next} of {step.steps}; the same command continues from the checkpoint in {out}."
        )
    if not _is_finite(step.method):
        raise Diverged("The weights are not finite after training", step, settings)


def _is_finite(method: Method) -> bool:
    import torch

    return all(bool(torch.isfinite(value).all()) for value in method.state_dict().values())


def _restore(folder: Path, step: TrainingStep, state: _TrainingState) -> None:
    """Load the newest readable checkpoint; an unreadable one is named and the one before it is taken."""
    import torch

    broken = torch.serialization.pickle.UnpicklingError  # what torch raises, weights alone being loaded
    files = sorted(
        folder.glob("*.pt"), key=lambda path: int("".join(filter(str.isdigit, path.stem)) or 0), reverse=True
    )
    for path in files:
        try:
            content = torch.load(path, map_location=step.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, broken) as error:
            say(f"{path}: unreadable ({type(error).__name__}); trying the one before.")
            continue
        step.method.load_state_dict(content["method"])
        state.load_state_dict(content["training"])
        say(f"Continuing from step {state.next} of {step.steps}.")
        return


class _History:
    """RUN/history.csv: a row per logged step, in long form; a continued run cuts the rows after its checkpoint."""

    def __init__(self, out: Path, start: int) -> None:
        self.path, self.last = out / "history.csv", float("nan")
        kept = ["step,phase,term,value\n"]
        if start and self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)[1:]
            kept += [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) < start]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(kept))
        self.file = self.path.open("a")

    def add(self, step: int, phase: str, values: dict[str, float]) -> None:
        self.last = values["loss"]
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
