"""DGEO (Golan and El-Yaniv 2018): a network tells which of 72 transforms a picture underwent; on anomalies it is less sure.

docs/explanation/other-methods.md#dgeo has its loss, its score and what differs from the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from esad.models.detector import UNLABELLED_TRAINING, Method, Phase, phase_at_once, single_term
from esad.models.methods.adversarial.dcgan import Frame
from esad.models.methods.classic.shallow import draw_rows
from esad.models.networks import PictureScaler, at_least_float32
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool
from esad.models.training.randomness import sent

TRANSFORMS = 72
"""Flip or not, shift down by -s, 0 or s, shift across by the same, rotate by 0, 90, 180 or 270 degrees, in this order."""
SMALL_SIDE = 32
PUBLISHED = ((10, 4), (16, 8))
"""Layers and widening of the published networks, for sides up to SMALL_SIDE pixels and for larger ones."""
LEAST_LOG = -27.6
"""Logarithms of probabilities are at least this, about 1e-12, in the fit and in the score: a product of many hangs on none."""
PICTURES_AT_ONCE = 1024
"""Transformed pictures that go through the network together when items are scored."""


def transform_places(side: int, shift: int) -> Tensor:
    """(72, side * side) int64: where each pixel of a transformed square comes from, in the flattened square.

    A shifted square repeats its border, mirrored.
    """
    places, found = torch.arange(side * side).view(side, side), []
    axis = torch.arange(side)
    steps = [_mirrored(axis - by, side) for by in (0, -shift, shift)]
    for flip, down, across, turns in product((False, True), range(3), range(3), range(4)):
        start = places.flip(1) if flip else places
        found.append(torch.rot90(start[steps[down]][:, steps[across]], turns).flatten())
    return torch.stack(found)


def _mirrored(axis: Tensor, side: int) -> Tensor:
    """Coordinates outside 0..side-1 as if the border were a mirror: -1 is 0, -2 is 1."""
    axis = torch.where(axis < 0, -1 - axis, axis)
    return torch.where(axis >= side, 2 * side - 1 - axis, axis)


class _Residual(nn.Module):
    """Pre-activation block of two 3x3 convolutions; the shortcut is a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        )  # fmt: skip
        changed = stride > 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changed else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.first(x)
        kept = x if self.shortcut is None else self.shortcut(active)
        return kept + self.body(active)


class WideResNet(nn.Module):
    """Squares (B, C, side, side) in [-1, 1] to (B, 72) logits (Zagoruyko and Komodakis 2016: WRN-`depth`-`width`)."""

    def __init__(self, channels: int, side: int, depth: int, width: int) -> None:
        super().__init__()
        inputs, blocks = 16, []
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False)]
        for group, stride in enumerate((1, 2, 2)):
            outputs = 16 * width * 2**group
            for place in range((depth - 4) // 6):
                blocks.append(_Residual(inputs, outputs, stride if place == 0 else 1))
                inputs = outputs
        last = side // 4
        pool = min(8, last)
        self.body = nn.Sequential(
            *layers, *blocks, nn.BatchNorm2d(inputs), nn.ReLU(), nn.AvgPool2d(pool), nn.Flatten()
        )
        self.last = nn.Linear(inputs * (last // pool) ** 2, TRANSFORMS)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_float32(self.last(self.body(x)))


def inverse_digamma(y: Tensor) -> Tensor:
    """x > 0 with digamma(x) = y, by five rounds of Newton's method from Minka's first guess; float64."""
    x = torch.where(y >= -2.22, y.exp() + 0.5, -1 / (y - torch.digamma(torch.ones_like(y))))
    for _ in range(5):
        x = x - (torch.digamma(x) - y) / torch.polygamma(1, x)
    return x


def dirichlet_alphas(mean: Tensor, mean_log: Tensor, entropy: Tensor, rounds: int = 1000) -> Tensor:
    """Maximum likelihood alphas (T, K) of Dirichlet distributions, one a row, by Minka's fixed point.

    `mean` (T, K) of the probability vectors p, `mean_log` (T, K) of log p; `entropy` (T,) is sum_k mean_k (log mean_k -
    mean_log_k), of which the first sum of alphas is (K - 1) * Euler's constant over it, as in the published code. float64.
    """
    total = (mean.shape[1] - 1) * np.euler_gamma / entropy.clamp(min=1e-12)
    alphas = (mean * total[:, None]).clamp(min=1e-6)
    for _ in range(rounds):
        after = inverse_digamma(torch.digamma(alphas.sum(1, keepdim=True)) + mean_log)
        done = bool((after - alphas).abs().max() < 1e-9)
        alphas = after
        if done:
            break
    return alphas


def fit_dirichlets(logs: Sequence[Tensor]) -> Tensor:
    """Alphas (T, K) from `logs`: for each transform the clamped log probabilities (n, K) of the items under it."""
    mean = torch.stack([log.double().exp().mean(0) for log in logs])
    mean_log = torch.stack([log.double().mean(0) for log in logs])
    return dirichlet_alphas(mean, mean_log, (mean * (mean.log() - mean_log)).sum(1))


class DgeoMethod(Method):
    """Trained on unlabelled items, each under one transform a step; then a Dirichlet distribution for each transform."""

    title: ClassVar[str] = "DGEO (Golan and El-Yaniv 2018)"
    pictures_only: ClassVar[bool] = True
    places: Tensor
    alphas: Tensor
    """(72, 72): of the probabilities of training items under each transform; before the fit, those of the simple score."""

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        assert isinstance(self.scaler, PictureScaler)
        channels, height, width = self.scaler.scaled_shape
        self.side, own = max(height, width), settings.dgeo
        self.frame = Frame(height, width, self.side)
        depth, wide = PUBLISHED[self.side > SMALL_SIDE]
        depth, wide = own.depth or depth, own.width or wide
        self.network = self._seeded(lambda: WideResNet(channels, self.side, depth, wide), "network")
        self.register_buffer("places", transform_places(self.side, self.side // 4), persistent=False)
        self.register_buffer("alphas", torch.ones(TRANSFORMS, TRANSFORMS) + torch.eye(TRANSFORMS))

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        own = ("width", "depth", "score", *(() if settings.dgeo.score == "simple" else ("items",)))
        return ("network.channels", *(f"dgeo.{name}" for name in own), *UNLABELLED_TRAINING)

    def phases(self) -> list[Phase]:
        train = Phase("train", [*self.network.parameters()], self.settings.train, labelled=False)
        if self.settings.dgeo.score == "simple":
            return [train]
        return [train, phase_at_once("dirichlet")]

    def transformed(self, x: Tensor, transforms: Tensor) -> Tensor:
        """Scaled items (B, C, H, W), each under its transform (B,) in 0..71, as squares in [-1, 1]; a frame is black."""
        squares = self.frame.squares(x)
        places = self.places[transforms][:, None].expand(-1, x.shape[1], -1)
        moved = squares.flatten(2).gather(2, places).view_as(squares)
        return moved.contiguous(memory_format=torch.channels_last)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        drawn = torch.randint(
            0, TRANSFORMS, (len(batch.whole_semi_label),), generator=batch.numbers("transform")
        )
        mine = sent(drawn if batch.share is None else batch.share.of(drawn), batch.x.device)
        logits = self.network(self.transformed(batch.x, mine))
        errors = batch.whole(functional.cross_entropy(logits, mine, reduction="none"))
        right = batch.whole((logits.argmax(1) == mine).to(errors)).mean().detach()
        return {"loss": errors.mean(), "accuracy": right}

    def log_probabilities(self, x: Tensor, transforms: range) -> Tensor:
        """(B, T, 72): clamped log probabilities of all transforms, of each item under each of `transforms`."""
        chosen = torch.arange(transforms.start, transforms.stop, device=x.device)
        each = x[:, None].expand(-1, len(transforms), -1, -1, -1).flatten(0, 1)
        logits = self.network(self.transformed(each, chosen.repeat(len(x))))
        return functional.log_softmax(logits, 1).clamp(min=LEAST_LOG).view(-1, len(transforms), TRANSFORMS)

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if phase != "dirichlet":
            return
        usable = np.flatnonzero(items.labels[0] == 0)
        chosen = usable[draw_rows(items.labels[0][usable], self.settings.dgeo.items, self.seeds[0])]
        parts = [
            torch.cat([self.log_probabilities(x, some) for some in self._portions(x)], 1).cpu()
            for x, _ in items.batches([chosen])
        ]
        self.alphas.copy_(fit_dirichlets(torch.cat(parts).unbind(1)))

    def _portions(self, x: Tensor) -> list[range]:
        """The 72 transforms in portions that `x` fits through the network at once; in an export, all of them."""
        size = TRANSFORMS if torch.compiler.is_exporting() else max(1, PICTURES_AT_ONCE // len(x))
        return [range(start, min(start + size, TRANSFORMS)) for start in range(0, TRANSFORMS, size)]

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        own, parts = torch.arange(TRANSFORMS, device=x.device), []
        for some in self._portions(x):
            logs, here = self.log_probabilities(x, some), slice(some.start, some.stop)
            if self.settings.dgeo.score == "simple":
                one = own[here][None, :, None].expand(len(x), -1, 1)
                parts.append(logs.gather(2, one).exp()[..., 0])
            else:
                parts.append(((self.alphas[here] - 1) * logs).sum(2))
        return single_term(-torch.cat(parts, 1).mean(1))
