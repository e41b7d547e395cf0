"""Where training stands, in and out of the checkpoints of one folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.monitoring.history import flush_history
from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import say
from esad.pipeline.stage.ranks import same_everywhere
from esad.pipeline.training.checkpoints import CheckpointSeconds, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from esad.models.training.fit import TrainingStep
    from esad.pipeline.training.selection import Selection


class TrainingState:
    """The step to come, weights, optimiser, and what the validation part decided so far.

    `next` is the next step, `saved` that of the newest checkpoint, `earlier` the seconds that training took before this process,
    up to the checkpoint; `ended`: whether training ended before its last step; `found_selection` what `Selection` had written,
    if anything.
    """

    def __init__(self, folder: Path, step: TrainingStep, settings: RunSettings, out: Path) -> None:
        """Goes on from the newest checkpoint of `folder`; EsadError where several processes found different ones."""
        self.folder, self.step, self.settings = folder, step, settings.model_dump()
        self.seconds = CheckpointSeconds(out, folder)
        self.arithmetic = f"{step.device.type} in {step.mixed or 'torch.float32'}"
        found = load_checkpoint(folder, step.device, self.settings, self.arithmetic)
        self.next = self.saved = int(found["next"]) if found else 0
        self.earlier = self.seconds.before(self.next, found) if found else 0.0
        self.found_selection: dict[str, Any] | None = found.get("selection") if found else None
        self.ended = bool(self.found_selection and self.found_selection["ended"])
        self.selection: Selection | None = None
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

    def select(self, selection: Selection | None, engine: Any) -> None:
        """Let `selection` follow the training, from where the checkpoint left it."""
        self.selection = selection
        if selection:
            selection.attach(engine)
            if self.found_selection:
                selection.restore(self.found_selection)

    def chose_to_end(self) -> bool:
        """Whether the validation part, in this process, has ended training."""
        return bool(self.selection and self.selection.ended)

    @property
    def finished(self) -> bool:
        """Whether no step is left: all are done, or the validation part ended training."""
        return self.ended or self.next >= self.step.steps

    def save(self) -> None:
        """Write a checkpoint, unless a weight, a buffer or the optimiser's state is not finite."""
        if self.is_finite():
            state = {
                "next": self.next,
                "method": self.step.method.state_dict(),
                "optimiser": self.step.state(),
            }
            if self.selection:
                state["selection"] = self.selection.state()
            flush_history(self.seconds.out)
            self.seconds.add(self.next, self.earlier + time.monotonic() - self.began)
            save_checkpoint(self.folder, self.next, self.settings, state, self.arithmetic)
            self.saved = self.next

    def is_finite(self) -> bool:
        """Whether all weights, buffers and the optimiser's state are finite."""
        import torch

        optimiser = self.step.state() or {"state": {}}
        each = optimiser["turns"].values() if "turns" in optimiser else [optimiser]
        held = [value for one in each for entry in one["state"].values() for value in entry.values()]
        values = [*self.step.method.state_dict().values(), *(v for v in held if isinstance(v, torch.Tensor))]
        return all(bool(torch.isfinite(value).all()) for value in values)
