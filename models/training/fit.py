"""The one training step, the plain loop over it, and scoring.

What a step sees follows from (seed, step) alone, so a run that is continued, several seeds at once and one seed
at a time all see the same data. The trainer of `esad.pipeline.train` drives the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from esad.models.detector import Method, Phase
from esad.models.folding import folded
from esad.models.networks import ColumnScaler, SeedBatchNorm
from esad.models.training.augment import Augmentation
from esad.models.training.batch import Batch, Share
from esad.models.training.item_pool import ItemPool
from esad.models.training.memory import keep_freed_memory
from esad.models.training.optimisers import make_optimiser
from esad.models.training.randomness import sent
from esad.models.training.ranks import OneProcessOnly, PhaseLosses, Ranks, with_global_statistics
from esad.models.training.schedule import BatchOrder, learning_rate_factor, phase_steps
from esad.models.training.turns import PhaseTurns

Items = Tensor | Callable[[np.ndarray], Tensor]
"""Stored items: a tensor (N, H, W, C) uint8 or (N, D) float32, or a function from positions to such a tensor."""

STEPS_AHEAD = 8
"""Batches of a table that are gathered and scaled in one go: their rows are cheap, the calls are not."""


@dataclass(frozen=True)
class TrainingData:
    """Stored items and, for each seed, which positions train as what.

    `positions[s]` (n_s,) int64 are positions of `items`, `semi_labels[s]` (n_s,) int8 in {-1, 0, +1}. `validation` is,
    for each seed, (positions, labels): held-out items, 1 for anomalies, by which a method may choose its settings.
    """

    items: Items
    positions: Sequence[np.ndarray]
    semi_labels: Sequence[np.ndarray]
    validation: Sequence[tuple[np.ndarray, np.ndarray]] = ()

    def take(self, positions: np.ndarray, device: torch.device) -> Tensor:
        """Items at `positions` (any shape) on `device`."""
        if callable(self.items):
            out = self.items(positions.reshape(-1))
        else:
            out = self.items.index_select(0, torch.tensor(positions.reshape(-1), device=self.items.device))
        return out.reshape(*positions.shape, *out.shape[1:]).to(device, non_blocking=True)


def mixed_precision(precision: str, pictures: bool, device: torch.device) -> torch.dtype | None:
    """The 16-bit type of `train.precision` on `device`; None = float32 throughout. ValueError for one that a CPU lacks."""
    chosen = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    if chosen and device.type != "cuda":
        raise ValueError(
            f"train.precision = {precision} is for CUDA devices, not {device}: use auto or float32."
        )
    if precision == "auto" and device.type == "cuda":
        chosen = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return chosen if pictures else None


class TrainingStep:
    """One step of training after the other, by number; all state is in the method, the optimiser and the number."""

    def __init__(
        self,
        method: Method,
        data: TrainingData,
        device: torch.device,
        augmentation: Augmentation | None = None,
        rate: float = 1.0,
        ranks: Ranks | None = None,
    ) -> None:
        """Fits the scaling of table columns. All learning rates are multiplied by `rate`.

        With `ranks` each step trains on this process's share of the batch, and its terms are those of the whole batch.

        ValueError where `train.precision` is not for the device, a seed has fewer than two unlabelled items, or several
        seeds would have batches of different sizes or train for different numbers of steps: seeds at once must not
        depend on each other; OneProcessOnly where several processes cannot train this.
        """
        if method.pictures and device.type == "cpu":
            keep_freed_memory()
        self.method, self.data, self.device, self.rate = method.to(device), data, device, rate
        self.mixed = mixed_precision(method.settings.train.precision, method.pictures, device)
        self.gradient_scaler = torch.amp.GradScaler(device.type, enabled=self.mixed is torch.float16)
        self.ranks = ranks
        if ranks:
            self._check_ranks(ranks)
            with_global_statistics(method, device)
        played = any(phase.turns for phase in method.phases())
        compiled = (
            method.settings.train.compile and not played
        )  # a gradient penalty's second derivative cannot be
        self.graphs = compiled and method.pictures and device.type == "cuda"
        if compiled:
            self._compile()
        self.augmentation = augmentation or Augmentation()
        train = method.settings.train
        self.orders = [
            BatchOrder(seed, positions, semi, train)
            for seed, positions, semi in zip(method.seeds, data.positions, data.semi_labels, strict=True)
        ]
        fewest = min(len(order.unlabelled) for order in self.orders)
        if fewest < 2:
            raise ValueError(f"{fewest} unlabelled items to train on: at least two are needed.")
        if method.needs_anomalies and not all((semi < 0).any() for semi in data.semi_labels):
            raise ValueError(
                f"no labelled anomaly to train on: method {method.settings.method} cannot do without."
            )
        self.plan: list[tuple[Phase, int, int]] = []
        start = 0
        for phase in method.phases():
            steps = self._steps(phase)
            if steps:
                self.plan.append((phase, start, steps))
                start += steps
        self.steps = start
        if isinstance(method.scaler, ColumnScaler):
            for place, positions in enumerate(data.positions):
                method.scaler.fit_at(place, positions, partial(data.take, device=device))
        self.optimiser: torch.optim.Optimizer | None = None
        self._losses: Callable[[Batch], dict[str, Tensor]] | None = None
        self._phase: Phase | None = None
        self._turns: PhaseTurns | None = None
        self._ahead: tuple[Any, Tensor, Tensor, bool] = (None, torch.empty(0), torch.empty(0), False)

    def _compile(self) -> None:
        """Compile the networks; those of pictures on CUDA as CUDA graphs, since most of a step there is launching kernels."""
        for network in self.method.children():
            if not self.graphs:
                network.compile()
            elif network is not self.method.scaler:  # a batch must outlive the next one's scaling
                network.compile(mode="reduce-overhead")

    def _check_ranks(self, ranks: Ranks) -> None:
        method, name = self.method, self.method.settings.method
        if not method.pictures:
            raise OneProcessOnly(
                "several processes train pictures; a table trains in one (leave torchrun out)."
            )
        if any(phase.turns for phase in method.phases()):
            raise OneProcessOnly(
                f"method {name}, of several players, trains in one process (leave torchrun out)."
            )
        closed_form = any(not phase.parameters for phase in method.phases())
        if closed_form or any(isinstance(module, SeedBatchNorm) for module in method.modules()):
            raise OneProcessOnly(f"method {name} trains in one process (leave torchrun out).")
        if method.settings.train.compile:
            raise OneProcessOnly("train.compile is for one process (leave torchrun out, or set it to false).")
        if method.settings.train.batch_size < ranks.count:
            raise OneProcessOnly(
                f"train.batch_size = {method.settings.train.batch_size} for {ranks.count} processes: it is the size of the "
                "whole batch, of which each takes its share; raise it."
            )

    def _steps(self, phase: Phase) -> int:
        """Steps of a phase, and that all seeds agree on them and on the size of a batch."""
        shapes = [
            (
                phase_steps(phase.optimiser, order.steps_per_epoch(phase.labelled)),
                order.batch_size(phase.labelled),
            )
            for order in self.orders
        ]
        for seed, shape in zip(self.method.seeds, shapes, strict=True):
            if shape != shapes[0]:
                raise ValueError(
                    f"Phase {phase.name!r}: seed {self.method.seeds[0]} has {shapes[0][0]} steps with batches of "
                    f"{shapes[0][1]} items, seed {seed} {shape[0]} with {shape[1]}; train them one by one."
                )
        return shapes[0][0]

    def phase_at(self, step: int) -> tuple[Phase, int, int]:
        """(phase, its first step, its length) at a step; IndexError beyond the last."""
        for entry in self.plan:
            if entry[1] <= step < entry[1] + entry[2]:
                return entry
        raise IndexError(f"step {step} of {self.steps}")

    def _enter(self, phase: Phase) -> torch.optim.Optimizer:
        if self._phase is phase and self.optimiser is not None:
            return self.optimiser
        self.optimiser, self._turns = make_optimiser(phase.parameters, phase.optimiser), None
        self._phase = phase
        self._losses = PhaseLosses(self.method, phase.name)
        if self.ranks:
            trained = {id(parameter) for parameter in phase.parameters}
            for parameter in self.method.parameters():
                parameter.requires_grad_(id(parameter) in trained)  # the others get no gradient to wait for
            self._losses = DistributedDataParallel(
                self._losses, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        return self.optimiser

    def _players(self, phase: Phase) -> PhaseTurns:
        if self._turns is None or self._phase is not phase:
            self._turns, self._phase, self.optimiser = PhaseTurns(self.method, phase, self.rate), phase, None
        return self._turns

    def _begin(self, phase: Phase) -> None:
        """Let the method compute what it does not learn in steps, from all items."""
        nothing = np.empty(0, dtype=np.int64)
        held = self.data.validation or [(nothing, nothing)] * len(self.method.seeds)
        items = ItemPool(self.data.positions, self.data.semi_labels, self.read)
        validation = ItemPool([place for place, _ in held], [label for _, label in held], self.read)
        self.method.eval()
        with torch.no_grad():
            self.method.begin(phase.name, items, validation)

    def read(self, positions: np.ndarray) -> Tensor:
        """Items at `positions` (S, B), scaled as for scoring."""
        x = self.data.take(positions, self.device)
        return self.method.scaler(self.augmentation.centre(x[0]) if self.method.pictures else x)

    def state(self) -> dict[str, Any] | None:
        """State of the current phase's optimisers and of the scale of fp16's gradients, for a checkpoint."""
        if self._turns:
            return self._turns.state()
        if self.optimiser is None:
            return None
        return {**self.optimiser.state_dict(), "gradient_scale": self.gradient_scaler.state_dict()}

    def restore(self, step: int, optimiser: dict[str, Any] | None) -> None:
        """Continue before `step` with the optimiser's state, where `step` is inside a phase already begun."""
        if step < self.steps and optimiser is not None:
            scale = optimiser.pop("gradient_scale", None)
            if scale:  # empty but for fp16
                self.gradient_scaler.load_state_dict(scale)
            phase, first, _ = self.phase_at(step)
            if step > first and phase.turns:
                self._players(phase).load(optimiser)
            elif step > first:
                self._enter(phase).load_state_dict(optimiser)

    def batch(self, step: int, order: str | None = None) -> Batch:
        """The scaled and augmented batch of a step; `order` names another shuffled order of the phase's items."""
        phase, first, _ = self.phase_at(step)
        keys = [(seed, step) for seed in self.method.seeds]
        epoch = (step - first) / self.orders[0].steps_per_epoch(phase.labelled)
        if self.method.pictures:
            positions, semi = (drawn[0] for drawn in self._order(phase, step - first, 1, order))
            share = None
            if self.ranks:
                places = self.ranks.places(semi)
                share = Share(torch.from_numpy(places), self._to_device(semi))
                positions, semi = positions[places], semi[places]
            x = self.augmentation.train(self.data.take(positions, self.device), keys[0], share)
            anomalies = bool((semi < 0).any())
            return Batch(self.method.scaler(x), self._to_device(semi), keys, epoch, anomalies, share)
        block, place = divmod(step - first, STEPS_AHEAD)
        if self._ahead[0] != (phase.name, block):
            positions, semi = self._order(phase, block * STEPS_AHEAD, STEPS_AHEAD)
            x = self.method.scaler(self.data.take(positions, self.device))
            self._ahead = ((phase.name, block), x, self._to_device(semi), bool((semi < 0).any()))
        size = self.orders[0].batch_size(phase.labelled)
        here = slice(place * size, (place + 1) * size)
        return Batch(self._ahead[1][:, here], self._ahead[2][:, here], keys, epoch, self._ahead[3])

    def _to_device(self, values: np.ndarray) -> Tensor:
        return sent(torch.from_numpy(values), self.device)

    def _order(
        self, phase: Phase, start: int, steps: int, name: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and semi-labels (S, steps * B) of the batches from `start` on."""
        drawn = [
            [order(step, name or phase.name, phase.labelled) for step in range(start, start + steps)]
            for order in self.orders
        ]
        positions, semi = (
            np.stack([np.concatenate([batch[of] for batch in batches]) for batches in drawn]) for of in (0, 1)
        )
        return positions, semi

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Train on the batch of `step`; returns the detached terms, each () or (S,). A fit in closed form has loss 0.

        Raises FloatingPointError where the loss is not finite.
        """
        phase, first, steps = self.phase_at(step)
        if step == first:
            self._begin(phase)
        if not phase.parameters:
            return {"loss": torch.zeros(() if self.method.pictures else len(self.method.seeds))}
        chosen = phase.optimiser
        factor = learning_rate_factor(chosen.schedule, step - first, steps, chosen.milestone)
        if phase.turns:
            self.method.train()
            return self._players(phase).step(self.batch(step), partial(self.batch, step), factor)
        optimiser = self._enter(phase)
        assert self._losses is not None
        for group in optimiser.param_groups:
            group["lr"] = self.rate * phase.optimiser.learning_rate * factor
        if not self.method.training:
            self.method.train()
        for parameter in phase.parameters:  # zero_grad's own bookkeeping shows in a step of a small network
            parameter.grad = None
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(self.device.type, self.mixed) if self.mixed else nullcontext():
            terms = self._losses(self.batch(step))
        self.gradient_scaler.scale(terms["loss"].sum()).backward()
        self.gradient_scaler.step(optimiser)
        self.gradient_scaler.update()
        return {name: value.detach() for name, value in terms.items()}


def fit(
    method: Method, data: TrainingData, device: str = "cpu", augmentation: Augmentation | None = None
) -> Method:
    """Train in a plain loop; returns the method in evaluation mode.

    Seeds whose loss or weights do not stay finite start anew, without the others, at half the learning rate, up to
    `train.restarts` times (docs/explanation/decisions.md#a15); FloatingPointError where that is not enough.
    """
    return _fit(method, data, torch.device(device), augmentation, 0).eval()


def _fit(
    method: Method, data: TrainingData, device: torch.device, augmentation: Augmentation | None, restart: int
) -> Method:
    step = TrainingStep(method, data, device, augmentation, rate=0.5**restart)
    finite = torch.ones(len(method.seeds), dtype=torch.bool, device=device)
    for number in range(step.steps):
        terms = step(number)
        if number % 100 == 99 or number == step.steps - 1:
            finite &= torch.isfinite(terms["loss"]).reshape(-1)
            if not bool(finite.any()):
                break
    for parameter in method.parameters():
        finite &= torch.isfinite(parameter.detach().reshape(len(method.seeds), -1)).all(1)
    lost = torch.nonzero(~finite).flatten().tolist()
    if not lost:
        return method
    seeds = [method.seeds[place] for place in lost]
    if restart == method.settings.train.restarts:
        raise FloatingPointError(f"The loss is not finite for seeds {seeds}: lower the learning rate.")
    again = type(method)(method.settings, method.shape, seeds).to(next(method.parameters()).dtype)
    some = TrainingData(
        data.items,
        [data.positions[place] for place in lost],
        [data.semi_labels[place] for place in lost],
        [data.validation[place] for place in lost] if data.validation else (),
    )
    trained = _fit(again, some, device, augmentation, restart + 1).state_dict()
    for name, value in method.state_dict().items():
        if len(lost) < len(method.seeds):
            value[lost] = trained[name]
        else:
            value.copy_(trained[name])
    return method


@torch.inference_mode()
def score_batches(
    method: Method,
    items: Items,
    positions: np.ndarray,
    device: torch.device,
    augmentation: Augmentation | None = None,
    batch_size: int = 256,
) -> Iterator[tuple[np.ndarray, Tensor, dict[str, Tensor]]]:
    """Score items in order: yields (positions, scaled items, score terms) of each batch.

    Terms are (B,) for pictures and (S, B) for tables, of the `folded` method: whoever has several calls folds once before
    them, to the same scores.
    """
    method.eval()
    scored = folded(method)
    if method.pictures and device.type == "cpu":
        keep_freed_memory()
    for start in range(0, len(positions), batch_size):
        chosen = positions[start : start + batch_size]
        scaled = scaled_items(method, items, chosen, device, augmentation)
        yield chosen, scaled, scored.score_terms(scaled)


def scaled_items(
    method: Method,
    items: Items,
    positions: np.ndarray,
    device: torch.device,
    augmentation: Augmentation | None = None,
) -> Tensor:
    """The items at `positions` as the networks of `method` get them: (B, C, H, W), centrally cropped, or (S, B, D) of a table."""
    x = TrainingData(items, [], []).take(positions, device)
    if method.pictures:
        return method.scaler((augmentation or Augmentation()).centre(x))
    return method.scaler(x.expand(len(method.seeds), *x.shape))
