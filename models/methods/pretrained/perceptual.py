"""How far two pictures are apart for a frozen network: the relative perceptual L1 of Shvetsova et al. (2021)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from esad.models.detector import item_mean
from esad.models.methods.pretrained.backbone import BATCH, Backbone
from esad.models.training.item_pool import ItemPool

LEAST_DEVIATION = 1e-2
"""Of a channel, whose values are in 0..6: one that is as good as constant on training pictures must not outweigh all others."""


class RelativePerceptualError(nn.Module):
    """mean |n(f(x)) - n(f(x_hat))| / mean |n(f(x))|: f a layer of the backbone, n each channel standardised."""

    mean: Tensor
    spread: Tensor
    """(1, C, 1, 1) each: what is taken away from a channel, and what it is divided by."""

    def __init__(self, backbone: Backbone, layer: str, divisor: Literal["deviation", "variance"]) -> None:
        super().__init__()
        self.backbone, self.layer, self.divisor = backbone, layer, divisor
        shape = (1, backbone.channels(layer), 1, 1)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(shape))

    def maps(self, x: Tensor) -> Tensor:
        """(B, C, H', W') of pictures (B, 1 or 3, H, W) in [0, 1]."""
        return self.backbone(x, [self.layer])[0]

    def fit_to_unlabelled(self, items: ItemPool) -> None:
        """`fit` to the unlabelled pictures among `items`."""
        self.fit(x for x, _ in items.batches([np.flatnonzero(items.labels[0] == 0)], BATCH))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and spread of each channel over all places of all pictures."""
        count, total, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
        for x in batches:
            maps = self.maps(x).double()
            count += maps.numel() // maps.shape[1]
            total = total.to(maps) + maps.sum((0, 2, 3), keepdim=True)
            squares = squares.to(maps) + maps.square().sum((0, 2, 3), keepdim=True)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        deviation = variance.sqrt().clamp(min=LEAST_DEVIATION)
        self.mean.copy_(mean)
        self.spread.copy_(deviation if self.divisor == "deviation" else deviation.square())

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """(B,), 0 for equal pictures. In training only `x_hat` has a gradient, so that the size of n(f(x)) is a constant."""
        own = (self.maps(x) - self.mean) / self.spread
        other = (self.maps(x_hat) - self.mean) / self.spread
        return item_mean((own - other).abs()) / item_mean(own.abs()).clamp(min=1e-6)
