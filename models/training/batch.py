"""What a step sees: a batch, or one process's share of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from esad.models.training.randomness import generator


class SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes, differentiable: each process's input counts in the loss of every process."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


@dataclass(frozen=True)
class Share:
    """A process's part of a batch: `places` (b,) int64 of its items among all B, `semi_label` (B,) of all."""

    places: Tensor
    semi_label: Tensor

    def of(self, drawn: Tensor) -> Tensor:
        """This process's rows of what was drawn for all B items."""
        return drawn[self.places]

    def whole(self, values: Tensor) -> Tensor:
        """Values of this process's items (..., b) to those of all items (..., B), each at its place.

        Their gradient comes back as the sum over the processes, `count` times that of one loss, which
        DistributedDataParallel, averaging the parameters' gradients over the processes, divides by again.
        """
        empty = values.new_zeros(*values.shape[:-1], len(self.semi_label))
        return SumOverProcesses.apply(empty.index_copy(-1, self.places.to(values.device), values))


@dataclass(frozen=True)
class Batch:
    """Scaled items and what is known of them.

    `x` is (B, C, H, W) or (S, B, D) in [0, 1]; `semi_label` is (B,) or (S, B): +1 labelled normal, 0 unlabelled,
    -1 labelled anomaly; `keys` are the (seed, step) of each seed, from which all random numbers follow; `epoch` counts
    the passes over the phase's items so far. `anomalies` is False where no labelled anomaly is among them: known on the
    host, so that a step does not wait for the device to say so.
    """

    x: Tensor
    semi_label: Tensor
    keys: Sequence[tuple[int, int]]
    epoch: float = 0.0
    anomalies: bool = True
    share: Share | None = None
    """Set where this is one process's part of a batch."""
    turn: str = ""
    """The player that is trained, in a phase of several."""
    repeat: int = 0
    """How often it was trained before in this step."""

    def numbers(self, purpose: str) -> torch.Generator:
        """Random numbers of pictures for this purpose, step, turn and repeat."""
        seed, step = self.keys[0]
        return generator(seed, f"{purpose} {self.turn} {self.repeat}", step)

    def whole(self, values: Tensor) -> Tensor:
        """Values per item (..., b) to those of the whole batch (..., B), of all processes: what losses are means of."""
        return values if self.share is None else self.share.whole(values)

    @property
    def whole_semi_label(self) -> Tensor:
        """`semi_label` of the whole batch."""
        return self.semi_label if self.share is None else self.share.semi_label
