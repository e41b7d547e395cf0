"""Several processes that train one model on one global batch, as torchrun starts them.

Every process knows the whole batch of a step, since its order is keyed by (seed, step), and computes its share of it.
Values per item are then gathered, so that each process has the loss of the whole batch, labelled and unlabelled means
included, to the same value; BatchNorm takes its statistics over the whole batch. What is trained does not depend on the
number of processes, but for the order of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from esad.models.training.batch import Batch, Share, SumOverProcesses

if TYPE_CHECKING:
    from esad.models.detector import Method


class OneProcessOnly(ValueError):
    """What several processes cannot train together; they would be in each other's way."""


@dataclass(frozen=True)
class Ranks:
    """This process among all that train the model: `rank` of 0 to `count` - 1. The process group must exist."""

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """It is the one that writes files and messages."""
        return self.rank == 0

    def places(self, semi_label: np.ndarray) -> np.ndarray:
        """Which items (places in the whole batch, ascending) are this process's, out of the semi-labels (B,) of all.

        Unlabelled and labelled ones are dealt out in turn: no process has more than one more of all items than another.
        """
        unlabelled_first = np.argsort(semi_label != 0, kind="stable")
        return np.sort(unlabelled_first[self.rank :: self.count])


def draws_of(share: Share | None, items: int) -> tuple[int, Callable[[Tensor], Tensor]]:
    """For how many items random numbers are drawn, and what takes those of the `items` at hand out of them.

    Without a `share` these are all; with one they are its own, out of the draws for the whole batch.
    """
    return (items, lambda drawn: drawn) if share is None else (len(share.semi_label), share.of)


class _GlobalStatistics(_BatchNorm):
    """BatchNorm that, in training, takes mean and variance over the batches of all processes: (B, C, ...) to the same.

    What torch's SyncBatchNorm is on CUDA, which refuses tensors of the CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        axes, channels = (0, *range(2, x.dim())), (-1, *[1] * (x.dim() - 2))
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = SumOverProcesses.apply(torch.cat([x.sum(axes), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = x - mean.view(channels)
        variance = SumOverProcesses.apply(centred.square().sum(axes)) / total
        with torch.no_grad():
            share = self.momentum or 0.0
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * total / (total - 1), share)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return centred * scale.view(channels)
        return centred * (scale * self.weight).view(channels) + self.bias.view(channels)


class GlobalBatchNorm1d(_GlobalStatistics, nn.BatchNorm1d):
    """Of (B, C) or (B, C, L)."""


class GlobalBatchNorm2d(_GlobalStatistics, nn.BatchNorm2d):
    """Of (B, C, H, W)."""


GLOBAL: dict[type[nn.Module], type[_GlobalStatistics]] = {
    nn.BatchNorm1d: GlobalBatchNorm1d,
    nn.BatchNorm2d: GlobalBatchNorm2d,
}


def with_global_statistics(method: Method, device: torch.device) -> None:
    """Let every BatchNorm of `method` take its statistics over all processes; parameters and state_dict stay the same."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(method)
        return
    for parent in list(method.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in GLOBAL:
                assert isinstance(child, _BatchNorm)
                norm = GLOBAL[type(child)](child.num_features, child.eps, child.momentum, child.affine)
                norm.__dict__.update(child.__dict__)
                setattr(parent, name, norm)


class PhaseLosses(nn.Module):
    """The losses of one phase as a forward pass, which DistributedDataParallel wraps."""

    def __init__(self, method: Method, phase: str) -> None:
        super().__init__()
        self.method, self.phase = method, phase

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.method.losses(self.phase, batch)
