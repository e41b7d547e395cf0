"""What the methods that adversaries train share: the frame of pictures, priors of codes, Wasserstein critics, shares of a phase."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from esad.models.detector import UNLABELLED_TRAINING, Method
from esad.models.methods.adversarial.dcgan import Frame
from esad.models.networks import PictureScaler
from esad.models.settings import MethodSettings, OptimiserSettings
from esad.models.training.randomness import generator

PLAYED = (
    "network.channels",
    *(name for name in UNLABELLED_TRAINING if name not in {"train.precision", "train.compile"}),
)
"""The settings that methods of several players read; compiled networks have no second derivative, which penalties need."""


class AdversarialMethod(Method):
    """Players on the unlabelled pictures; the settings of its own are the section with its name."""

    pictures_only: ClassVar[bool] = True

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        assert isinstance(self.scaler, PictureScaler)
        self.channels, height, width = self.scaler.scaled_shape
        self.frame = Frame(height, width)

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (*PLAYED, settings.method)


Phases = TypeVar("Phases", bound=OptimiserSettings)


def part_of(train: Phases, share: float, rate: float = 1.0) -> Phases:
    """A phase of a share of the length, at `rate` times the learning rate."""
    changed: dict[str, float] = {"learning_rate": train.learning_rate * rate}
    if train.steps is not None:
        changed["steps"] = round(train.steps * share)
    elif train.epochs is not None:
        changed["epochs"] = train.epochs * share
    return train.model_copy(update=changed)


def normal(shape: Sequence[int], numbers: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers of `shape`, of the type and on the device of `like`."""
    return torch.randn(tuple(shape), generator=numbers).to(like)


def uniform(shape: Sequence[int], numbers: torch.Generator, like: Tensor) -> Tensor:
    """Numbers of `shape` between -1 and 1, of the type and on the device of `like`."""
    return (2 * torch.rand(tuple(shape), generator=numbers) - 1).to(like)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, made: Tensor, numbers: torch.Generator
) -> Tensor:
    """Mean squared distance from 1 of the norm of the critic's gradient, between real and made items (Gulrajani et al. 2017)."""
    share = torch.rand(len(real), *[1] * (real.dim() - 1), generator=numbers).to(real)
    between = (share * real + (1 - share) * made).detach().requires_grad_()
    gradient = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
    norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()  # the root of 0 has no gradient
    return (norm - 1).square().mean()


def start_codes(x: Tensor, seed: int, size: int, number: int = 0) -> Tensor:
    """Standard normal codes (B, size) that follow from the seed, each item's own grey levels and the start's `number`.

    So a search gives an item the same score in whichever batch it comes.
    """
    levels = (x.detach() * 255).round().clamp(0, 255).to(torch.uint8).cpu().contiguous()
    codes = [
        torch.randn(size, generator=generator(seed, f"start {number}", zlib.crc32(item.numpy().tobytes())))
        for item in levels
    ]
    return torch.stack(codes).to(x)


def in_evaluation(*networks: nn.Module) -> None:
    """Frozen networks normalise by what they have learnt."""
    for network in networks:
        network.eval()
