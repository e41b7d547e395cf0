"""Our training step as the `monai.engines.Trainer` of an exported bundle: the batches, random numbers and weights of `esad train`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from esad.pipeline.stage.errors import CannotTrain, UsageError
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    import torch

    from esad.models.scorer import PictureScorer
    from esad.models.training.fit import TrainingStep
    from esad.models.training.ranks import Ranks
    from esad.pipeline.bundle.items import DatasetItems, ReferenceScores

CHECK_EVERY_STEPS = 20


def trainer(
    network: PictureScorer,
    items: DatasetItems,
    references: ReferenceScores,
    device: torch.device,
    max_epochs: float | None = None,
    flip: str = "none",
    rate: float = 1.0,
    ranks: Ranks | None = None,
    train_handlers: Sequence[Any] = (),
) -> Any:
    """A trainer of `network`, which must be as it was built: its settings say how it trains.

    `max_epochs` are the passes of the method's own training, without a warm-up, in place of the settings' `train.epochs` and
    `train.steps`; None = as these say. All learning rates are multiplied by `rate`. With `ranks` each process trains its
    share of each batch. An epoch of the engine is a pass over the items, `engine.state.output` the terms of the loss.

    Raises UsageError where nothing would be trained, CannotTrain where the items do not do or, while it runs, the loss or a
    weight is not finite: then no handler saves weights.
    """
    from monai.engines import Trainer

    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import TrainingStep

    method = network.method
    if max_epochs is not None and max_epochs != method.settings.train.epochs:
        train = method.settings.train.model_copy(update={"epochs": max_epochs, "steps": None})
        method.settings = method.settings.model_copy(update={"train": train})
    augmentation = Augmentation(network.augmentation.crop, flip)  # type: ignore[arg-type]
    try:
        step = TrainingStep(method, items.data, device, augmentation, rate, ranks)
    except ValueError as error:
        raise CannotTrain(str(error)) from error
    if step.steps == 0:
        raise UsageError("settings#train#epochs and #steps are 0: nothing would be trained.")
    phase = step.plan[-1][0]
    length = step.orders[0].steps_per_epoch(phase.labelled) if phase.parameters else 1
    length = min(length, step.steps)
    say(
        f"Training {method.settings.method} on {device}: {len(items.datasets[0])} pictures, {step.steps} steps."
    )
    engine: Any = Trainer(
        device, math.ceil(step.steps / length), range(step.steps), length, iteration_update=_update_of(step), decollate=False
    )  # fmt: skip
    engine.network = network
    for handler in (_Watch(step, references), *train_handlers):
        handler.attach(engine)
    return engine


def _update_of(step: TrainingStep) -> Callable[[Any, int], dict[str, torch.Tensor]]:
    """An iteration: the step of that number; CannotTrain where its loss, looked at now and then, is not finite."""

    def update(engine: Any, number: int) -> dict[str, torch.Tensor]:
        terms = step(number)
        due = number % CHECK_EVERY_STEPS == 0 or number == step.steps - 1
        if due and not bool(terms["loss"].isfinite().all()):
            raise _diverged(f"the loss is not finite at step {number}", step)
        return terms

    return update


def _diverged(what: str, step: TrainingStep) -> CannotTrain:
    return CannotTrain(
        f"{what}: lower settings#train#learning_rate, or train#trainer#rate (now {step.rate:g}), by which it is multiplied."
    )


class _Watch:
    """The first handler, so that those of saving find the end as it is: all steps done, weights finite, references set."""

    def __init__(self, step: TrainingStep, references: ReferenceScores) -> None:
        self.step, self.references = step, references

    def attach(self, engine: Any) -> None:
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self._end_last_epoch)
        engine.add_event_handler(Events.COMPLETED, self._end)
        engine.add_event_handler(Events.EXCEPTION_RAISED, _raise)

    def _end_last_epoch(self, engine: Any) -> None:
        """The last epoch may be shorter: steps are counted over all phases, whose epochs are of several lengths."""
        if engine.state.iteration == self.step.steps and self.step.steps % engine.state.epoch_length:
            engine.terminate_epoch()

    def _end(self, _: Any) -> None:
        import torch

        values = self.step.method.state_dict().values()
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise _diverged("a weight is not finite after training", self.step)
        self.step.method.eval()
        self.references.set()


def _raise(_: Any, error: Exception) -> None:
    """Before MONAI's CheckpointSaver, which would write what a training that failed has left over the weights that are there."""
    raise error
