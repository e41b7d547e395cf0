"""Encoders and decoders: the convolutional ones of the paper's Table 6, and the MLP of the tabular sets.

Pictures are (B, C, H, W) float in [0, 1], H and W divisible by 16. Table rows are (S, B, D): a leading axis of
seeds, each with its own weights, so that ten small networks train as one batched product.

`PAGE.md#…` are headings of the pages in docs/explanation/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from esad.models.settings import NetworkSettings
from esad.models.training.randomness import generator

TABLE6_CHANNELS = (64, 128, 256, 512, 512)
"""Widths of the five encoder blocks. Rows x3-3 and x4-1 of the printed table are slips (decisions.md#a27)."""

MOST_FITTED = 2**24
"""Numbers of rows that are sorted at once where columns are scaled: it takes 20 bytes and a microsecond for each."""


def _double_convolution(inputs: int, outputs: int, affine: bool = True) -> nn.Sequential:
    """Twice 3x3 convolution, BatchNorm, ReLU (decisions.md#a6); `affine`: BatchNorm with scale and shift."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` as float32 where mixed precision left 16 bits: losses square, invert and average what the networks give."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def table6_widths(width: float) -> list[int]:
    """Channels of the five blocks at a share `width` of Table 6's, at least 4 each."""
    return [max(4, round(channels * width)) for channels in TABLE6_CHANNELS]


class ConvolutionalEncoder(nn.Module):
    """(B, C, H, W) -> (B, 512 * width, H/16, W/16), not negative (Table 6, rows x to z; decisions.md#a4)."""

    def __init__(self, channels: int, width: float = 1.0, affine: bool = True) -> None:
        super().__init__()
        widths = table6_widths(width)
        inputs = [channels, *widths[:-1]]
        blocks = [_double_convolution(a, b, affine) for a, b in zip(inputs, widths, strict=True)]
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](x)
        for block in list(self.blocks)[1:]:
            x = block(self.pool(x))
        return at_least_float32(x)


class ConvolutionalDecoder(nn.Module):
    """(B, 512 * width, H/16, W/16) -> (B, C, H, W), linear (Table 6, up3-1 to x-hat; decisions.md#a5)."""

    def __init__(self, channels: int, width: float = 1.0, upsample: str = "bilinear") -> None:
        super().__init__()
        first, second, third, _, code = table6_widths(width)
        inputs, outputs = [code, third, second, first], [third, second, first, first]
        corners = True if upsample == "bilinear" else None
        self.upsample = nn.Upsample(scale_factor=2, mode=upsample, align_corners=corners)
        self.blocks = nn.ModuleList([_double_convolution(a, b) for a, b in zip(inputs, outputs, strict=True)])
        self.last = nn.Conv2d(first, channels, 3, padding=1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        for block in self.blocks:
            z = block(self.upsample(z))
        return at_least_float32(self.last(z))


class SeedLinear(nn.Module):
    """(S, D, B) -> (S, E, B), a weight matrix per seed; initialised as nn.Linear is, each seed from its own key."""

    def __init__(self, seeds: Sequence[int], inputs: int, outputs: int, bias: bool, name: str) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weights, biases = [], []
        for seed in seeds:
            numbers = generator(seed, f"initial {name}")
            weights.append((torch.rand(inputs, outputs, generator=numbers) * 2 - 1) * bound)
            biases.append((torch.rand(1, outputs, generator=numbers) * 2 - 1) * bound)
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(torch.stack(biases)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.transpose(1, 2)
        return torch.bmm(weight, x) if self.bias is None else torch.baddbmm(self.bias.mT, weight, x)


class SeedBatchNorm(nn.Module):
    """BatchNorm over B of (S, F, B), each seed on its own.

    eps is Deep SAD's (other-methods.md#deep-sad-networks).
    Features of all seeds are the channels of one BatchNorm: with the rows last that is one fast call.
    """

    def __init__(
        self, seeds: int, features: int, affine: bool, eps: float = 1e-4, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(seeds, 1, features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(seeds, 1, features)) if affine else None
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(seeds, 1, features))
        self.register_buffer("running_var", torch.ones(seeds, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        out = nn.functional.batch_norm(
            x.reshape(1, -1, x.shape[-1]),
            self.running_mean.view(-1),
            self.running_var.view(-1),
            None if self.weight is None else self.weight.view(-1),
            None if self.bias is None else self.bias.view(-1),
            self.training,
            self.momentum,
            self.eps,
        )
        return out.view_as(x)


class PerceptronStack(nn.Module):
    """(S, B, D) -> (S, B, E): linear, BatchNorm, LeakyReLU for each of `widths[1:-1]`, then a linear layer.

    `sigmoid` adds one at the end. Inside, the rows come last.
    """

    def __init__(
        self, seeds: Sequence[int], widths: Sequence[int], settings: NetworkSettings, name: str, sigmoid: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (inputs, outputs) in enumerate(pairwise(widths)):
            last = place == len(widths) - 2
            bias = settings.bias and last  # BatchNorm takes every constant away again
            layers.append(SeedLinear(seeds, inputs, outputs, bias, f"{name} {place}"))
            if not last:
                layers += [
                    SeedBatchNorm(len(seeds), outputs, settings.affine),
                    nn.LeakyReLU(0.01, inplace=True),
                ]
        if sigmoid:
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.mT).mT


def table_widths(columns: int, settings: NetworkSettings) -> list[int]:
    """[columns, hidden..., code]: Deep SAD's (other-methods.md#deep-sad-networks), hidden times `width`."""
    hidden, code = ((128, 64), 32) if columns > 100 else ((32, 16), 4 if columns <= 6 else 8)
    chosen = settings.hidden or [max(2, round(size * settings.width)) for size in hidden]
    return [columns, *chosen, settings.code or code]


class ColumnScaler(nn.Module):
    """Raw table values to [0, 1] by the training rows of each seed; other rows may fall outside.

    Standardising and then min-max scaling (protocols.md#tables-scaling) equals min-max scaling alone; a
    constant column gives 0. A missing value (NaN) becomes the median of the training rows' values of its column.
    """

    def __init__(self, seeds: int, columns: int) -> None:
        super().__init__()
        self.minimum: Tensor
        self.range: Tensor
        self.median: Tensor
        self.register_buffer("minimum", torch.zeros(seeds, 1, columns))
        self.register_buffer("range", torch.ones(seeds, 1, columns))
        self.register_buffer("median", torch.zeros(seeds, 1, columns))

    def fit(self, seed: int, rows: Tensor) -> None:
        """Take minimum, range and median of `rows` (N, D), NaN where missing, for the seed at position `seed`."""
        median = column_medians(rows)
        rows = torch.where(rows.isnan(), median, rows)
        low, high = rows.amin(0), rows.amax(0)
        self.minimum[seed, 0] = low
        self.range[seed, 0] = torch.where(high > low, high - low, torch.ones_like(low))
        self.median[seed, 0] = median

    def fit_at(self, seed: int, positions: np.ndarray, take: Callable[[np.ndarray], Tensor]) -> None:
        """`fit` of the rows at `positions` (N,), which `take` reads, (N, D); of more than MOST_FITTED numbers part by part, the
        medians then being those of rows evenly spaced among them."""
        most = max(4, MOST_FITTED // self.minimum.shape[-1])
        if len(positions) <= most:
            self.fit(seed, take(positions))
            return
        some = np.linspace(0, len(positions) - 1, most // 4).round().astype(int)
        self.fit(seed, take(positions[some]))
        median = self.median[seed, 0]
        low, high = torch.full_like(median, math.inf), torch.full_like(median, -math.inf)
        for start in range(0, len(positions), most // 4):
            rows = take(positions[start : start + most // 4])
            rows = torch.where(rows.isnan(), median, rows)
            low, high = torch.minimum(low, rows.amin(0)), torch.maximum(high, rows.amax(0))
        self.minimum[seed, 0] = low
        self.range[seed, 0] = torch.where(high > low, high - low, torch.ones_like(low))

    def forward(self, x: Tensor) -> Tensor:
        """Rows stay (S, B, D) but lie in memory as the networks compute: rows last."""
        x = torch.where(x.isnan(), self.median, x)
        return ((x - self.minimum) / self.range).mT.contiguous().mT

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A model older than missing values has no medians: the middle of the range stands for them."""
        if f"{prefix}median" not in state_dict and f"{prefix}minimum" in state_dict:
            state_dict[f"{prefix}median"] = state_dict[f"{prefix}minimum"] + state_dict[f"{prefix}range"] / 2
        super()._load_from_state_dict(state_dict, prefix, *rest)


def column_medians(rows: Tensor) -> Tensor:
    """(D,) medians of the values of `rows` (N, D) that are not NaN, as NumPy's; 0 where there is none."""
    ordered, counts = rows.sort(0).values, (~rows.isnan()).sum(0)  # NaN last
    low, high = ((counts - 1).clamp(min=0) // 2)[None], (counts // 2).clamp(max=len(rows) - 1)[None]
    middle = (ordered.gather(0, low) + ordered.gather(0, high))[0] / 2
    return torch.where(counts > 0, middle, torch.zeros_like(middle))


class PictureScaler(nn.Module):
    """uint8 (B, H, W, C) -> float (B, C', H', W') in [0, 1] (decisions.md#a21); sides zero-padded to a
    `multiple` (decisions.md#a18)."""

    def __init__(self, shape: tuple[int, int, int], channels: int | None, multiple: int = 16) -> None:
        super().__init__()
        height, width, stored = shape
        self.repeat = channels == 3 and stored == 1
        self.channels = channels or stored
        if self.channels != stored and not self.repeat:
            raise ValueError(
                f"network.channels = {channels} for pictures of {stored} channels: use null or {stored}."
            )
        down, across = -height % multiple, -width % multiple
        self.padding = (across // 2, across - across // 2, down // 2, down - down // 2)
        self.scaled_shape = (self.channels, height + down, width + across)
        """(C', H', W') of what the networks take."""

    def forward(self, x: Tensor) -> Tensor:
        return self.arrange(x.permute(0, 3, 1, 2).float().div_(255))

    def arrange(self, x: Tensor) -> Tensor:
        """Float (B, C, H, W) in [0, 1] to what the networks take: channels repeated, sides padded, channels last."""
        if self.repeat:
            x = x.expand(-1, 3, -1, -1)
        x = nn.functional.pad(x, self.padding) if any(self.padding) else x
        return x.contiguous(memory_format=torch.channels_last)

    def unpad(self, maps: Tensor) -> Tensor:
        """Cut (..., H', W') back to (..., H, W)."""
        left, right, top, bottom = self.padding
        return maps[..., top : maps.shape[-2] - bottom, left : maps.shape[-1] - right]
