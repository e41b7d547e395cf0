"""What the validation part decides while a model trains: when training ends, and which weights are kept.

Both are off by default, as in the paper. The figures so far and the best weights are in each checkpoint, so that a training
that goes on decides as an undisturbed one. MONAI's CheckpointSaver with `save_key_metric` keeps best weights, too; it writes
into the final name and forgets its best figure when the process ends, hence ours (see `esad.pipeline.training.checkpoints`).
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from esad.pipeline.monitoring.validation import AP, AUC, ValidationWatch
from esad.pipeline.settings.config import SelectionSettings
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    from ignite.engine import Engine
    from torch import Tensor

    from esad.models.training.fit import TrainingStep

FIGURES = {"auc": (AUC, "AUC"), "average_precision": (AP, "average precision")}
"""`selection.by` -> the name among the validation figures, and in words."""


def selection_of(
    settings: SelectionSettings, step: TrainingStep, validation: ValidationWatch
) -> Selection | None:
    """None where the validation part decides nothing.

    UsageError where it shall, but lacks normals or labelled anomalies, or the method is fitted at once.
    """
    if settings.weights == "last" and settings.early_stop is None:
        return None
    by_weights = settings.weights == "best"
    wanted = "selection.weights = best" if by_weights else f"selection.early_stop = {settings.early_stop}"
    if not validation.known:
        normal, anomalies = (int((validation.labels == value).sum()) for value in (0, 1))
        raise UsageError(
            f"{wanted}: the validation part has {normal} normal items and {anomalies} known anomalies, and both are needed to "
            "choose by. Raise data.validation_share, label more items, or leave the setting out."
        )
    if not step.plan[-1][0].parameters:
        raise UsageError(f"{wanted}: method {step.method.settings.method} is fitted at once, not in steps.")
    return Selection(settings, step, validation)


class Selection:
    """Ends training after `early_stop` reports without a gain, and keeps the best weights, by the validation figure."""

    def __init__(self, settings: SelectionSettings, step: TrainingStep, validation: ValidationWatch) -> None:
        self.settings, self.step, self.validation = settings, step, validation
        self.name, self.words = FIGURES[settings.by]
        self.figures: list[tuple[int, float]] = []
        self.ended = False
        self._best: dict[str, Tensor] = {}
        self._early: Any = None

    def attach(self, engine: Engine) -> None:
        """Follow the evaluator of the validation part, and stop `engine` by MONAI's EarlyStopHandler.

        Attach it before handlers of others: whatever has stopped `engine` when an evaluation ends was this.
        """
        from ignite.engine import Events
        from ignite.handlers import EarlyStopping
        from monai.handlers import EarlyStopHandler

        evaluator = self.validation.evaluator
        if self.settings.early_stop is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # MONAI calls ignite by its older names
                self._early = EarlyStopHandler(
                    self.settings.early_stop,
                    lambda _: self.figures[-1][1],
                    engine,
                    self.settings.min_gain,
                )
            logging.getLogger(f"{EarlyStopping.__module__}.EarlyStopping").setLevel(
                "WARNING"
            )  # it is said here
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda: self._evaluated(engine))

    def _evaluated(self, engine: Engine) -> None:
        figure = float(self.validation.evaluator.state.metrics[self.name])
        self._take(engine.state.iteration, figure)
        if self.settings.weights == "best" and self.figures[-1] == self.best:
            state = self.step.method.state_dict()
            self._best = {name: value.detach().clone() for name, value in state.items()}
        if engine.should_terminate:
            self.ended = True
            say(
                f"Training ends after step {engine.state.iteration} of {self.step.steps}: no gain in the validation part's "
                f"{self.words} for {self.settings.early_stop} reports in a row (selection.early_stop)."
            )

    def _take(self, step: int, figure: float) -> None:
        self.figures.append((step, figure))
        if self._early:
            self._early(self.validation.evaluator)

    @property
    def best(self) -> tuple[int, float]:
        """(steps done, figure) of the best report; the first of equals."""
        return max(self.figures, key=lambda entry: (entry[1], -entry[0]))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: the figures so far, the best weights, whether training has ended."""
        return {"figures": self.figures, "best": self._best, "ended": self.ended}

    def restore(self, found: dict[str, Any]) -> None:
        """Go on from a checkpoint's state; after `attach`."""
        self._best, self.ended = found["best"], found["ended"]
        for step, figure in found["figures"]:
            self._take(int(step), float(figure))

    def finish(self) -> dict[str, Any] | None:
        """Set the method to the weights that are kept; returns what was decided, None where no report had a figure."""
        if not self.figures:
            return None
        step, figure = self.best
        if self._best:
            self.step.method.load_state_dict(self._best)
            say(f"Keeping the weights of step {step}: validation {self.words} {figure:.3f}.")
        kept = step if self._best else self.figures[-1][0]
        return {
            "by": self.settings.by, "weights_of_step": kept, "best_step": step, "best": figure,
            "ended_at": self.figures[-1][0] if self.ended else None,
        }  # fmt: skip
