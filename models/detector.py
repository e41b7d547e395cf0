"""The interface that all methods share: phases of training, losses of a batch, scores of items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.networks import (
    ColumnScaler,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    PerceptronStack,
    PictureScaler,
    table_widths,
)
from models.randomness import generator
from models.settings import MethodSettings, OptimiserSettings


@dataclass(frozen=True)
class Batch:
    """Scaled items and what is known of them.

    `x` is (B, C, H, W) or (S, B, D) in [0, 1]; `semi_label` is (B,) or (S, B): +1 labelled normal, 0 unlabelled,
    -1 labelled anomaly; `keys` are the (seed, step) of each seed, from which all random numbers follow.
    """

    x: Tensor
    semi_label: Tensor
    keys: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Phase:
    """A stretch of training: which parameters, how they are optimised, and whether labelled items take part."""

    name: str
    parameters: list[nn.Parameter]
    optimiser: OptimiserSettings
    labelled: bool


class Method(nn.Module, ABC):
    """A detector for pictures (one seed) or table rows (one or several seeds at once).

    Its `state_dict` is the whole model: weights, BatchNorm statistics and the scaling of table columns.
    """

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        """`shape` of one stored item: (H, W, C) or (D,). ValueError for several seeds on pictures."""
        super().__init__()
        self.settings, self.shape, self.seeds = settings, tuple(shape), tuple(seeds)
        self.pictures = len(self.shape) == 3
        if self.pictures and len(self.seeds) > 1:
            raise ValueError("Several seeds at once are for tables; train pictures one seed at a time.")
        if self.pictures:
            height, width, channels = self.shape
            self.scaler: nn.Module = PictureScaler((height, width, channels), settings.network.channels)
        else:
            self.scaler = ColumnScaler(len(self.seeds), self.shape[0])

    def _encoder(self, name: str) -> nn.Module:
        network = self.settings.network
        if isinstance(self.scaler, PictureScaler):
            return self._seeded(lambda: ConvolutionalEncoder(self.scaler.channels, network.width), name)  # type: ignore[arg-type]
        widths = table_widths(self.shape[0], network)
        return PerceptronStack(self.seeds, widths, network, name, sigmoid=False)

    def _decoder(self, name: str) -> nn.Module:
        network = self.settings.network
        if isinstance(self.scaler, PictureScaler):
            channels = self.scaler.channels
            return self._seeded(lambda: ConvolutionalDecoder(channels, network.width, network.upsample), name)
        widths = table_widths(self.shape[0], network)[::-1]
        return PerceptronStack(self.seeds, widths, network, name, sigmoid=True)

    def _seeded(self, build: Callable[[], nn.Module], name: str) -> nn.Module:
        """Build a module whose initial weights follow from the seed alone, leaving the global stream untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(self.seeds[0], f"initial {name}").initial_seed())
            module = build()
        for parameter in module.parameters():  # nn.Module.to has no typed overload for a memory format alone
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return module

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The phases of training, in order."""

    @abstractmethod
    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss, each () for pictures or (S,) for tables; `loss` is what is minimised."""

    @abstractmethod
    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        """Per item, (B,) or (S, B): `eq9` (the method's own score), `reconstruction`, `norm`; higher is more abnormal."""

    @abstractmethod
    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstruction of scaled items, same shape as `x`."""


def reduce_items(errors: Tensor, axes: int, reduction: str) -> Tensor:
    """Mean or sum of `errors` over all but the first `axes` axes."""
    flat = errors.flatten(axes)
    return flat.mean(-1) if reduction == "mean" else flat.sum(-1)


def group_mean(values: Tensor, members: Tensor) -> Tensor:
    """Mean of `values` (..., B) over `members` (bool, same shape); 0 where there is none."""
    return (values * members).sum(-1) / members.sum(-1).clamp(min=1)
