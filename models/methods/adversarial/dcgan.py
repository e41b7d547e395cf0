"""Networks in the style of DCGAN (Radford et al. 2016), which most adversarial detectors share.

For pictures of a side s, a power of two: convolutions of 4 x 4 that halve the side down to 4, then one to a code of 1 x 1; the
decoder mirrors them. No biases. Weights begin as N(0, 0.02), those of BatchNorm as N(1, 0.02).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 4
"""Side of the last map before the code."""


def side_for(height: int, width: int) -> int:
    """The side that pictures are padded to: the least power of two, from 16, that holds them."""
    side = 16
    while side < max(height, width):
        side *= 2
    return side


class Frame:
    """Pictures (B, C, H, W) in [0, 1] to squares in [-1, 1], and back."""

    def __init__(self, height: int, width: int, side: int | None = None) -> None:
        """`side` of the squares; None = the power of two that `side_for` says."""
        self.height, self.width = height, width
        self.side = side or side_for(height, width)
        down, right = self.side - height, self.side - width
        self.padding = (right // 2, right - right // 2, down // 2, down - down // 2)

    def squares(self, x: Tensor) -> Tensor:
        """(B, C, side, side) in [-1, 1]; the frame is black (decisions.md#a18)."""
        return functional.pad(2 * x - 1, self.padding, value=-1.0)

    def pictures(self, squares: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]."""
        left, _, top, _ = self.padding
        return (squares[..., top : top + self.height, left : left + self.width] + 1) / 2


class DcEncoder(nn.Module):
    """Squares (B, C, side, side) to codes (B, code, 1, 1)."""

    def __init__(self, channels: int, side: int, base: int, code: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, base, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        width, side = base, side // 2
        while side > LEAST:
            layers += [
                nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            ]  # fmt: skip
            width, side = 2 * width, side // 2
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, code, LEAST, bias=False)
        self.apply(begin)

    def features(self, x: Tensor) -> Tensor:
        """The last map before the code, (B, width, 4, 4)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


class DcDecoder(nn.Module):
    """Codes (B, code, 1, 1) to squares (B, C, side, side) in [-1, 1]."""

    def __init__(self, channels: int, side: int, base: int, code: int) -> None:
        super().__init__()
        width = base * side // (2 * LEAST)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(code, width, LEAST, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        while width > base:
            layers += [
                nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(),
            ]  # fmt: skip
            width //= 2
        layers += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.apply(begin)

    def forward(self, code: Tensor) -> Tensor:
        return self.body(code)


def begin(module: nn.Module) -> None:
    """DCGAN's first weights of one layer."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def judged(logits: Tensor, real: bool) -> Tensor:
    """Mean binary cross-entropy of logits of any shape against all real or all made up."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
