"""What all encoders are: a name, a digest of their weights, what they take, and one function from pictures to vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from esad.models.encoders.preparation import Preparation, UnknownEncoder


class Encoder(ABC):
    """A frozen encoder on a device."""

    name: str
    """As a person knows it: a short name, or the name of its file."""
    digest: str
    """Of its weights: SHA-256, hexadecimal."""
    layers: tuple[str, ...]
    """Layers whose means over place are concatenated; () for the encoder's own output."""
    preparation: Preparation
    differentiable: bool = True
    """Whether a gradient passes from the vector back to the picture."""
    note: str = ""
    """A sentence on where the weights come from, and their terms."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Prepared pictures (B, C, h, w), float32, to vectors (B, D), float32."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Stored pictures, uint8 (B, H, W, C), to vectors (B, D), float32 without gradients."""
        with torch.inference_mode():
            return self.encode(self.preparation.apply(pictures))

    def described(self) -> str:
        """What tells this encoder from another: its name and digest."""
        return f"{self.name} sha256 {self.digest}"


def pooled(value: Tensor, name: str) -> Tensor:
    """A layer's output as one vector an item, (B, D): means over place of maps (B, D, h, w) or (B, h, w, D), over tokens of (B, T, D).

    Which axis of a map is which follows from its two equal sides. UnknownEncoder where that is not plain.
    """
    if value.ndim == 2:
        return value.float()
    if value.ndim == 3:
        return value.mean(1).float()
    if value.ndim == 4:
        _, a, b, c = value.shape
        if b == c and (a != b or b == 1):
            return value.mean((2, 3)).float()
        if a == b and b != c:
            return value.mean((1, 2)).float()
    shape = " x ".join(map(str, value.shape))
    raise UnknownEncoder(
        f"layer {name!r} gives {shape}, which is no vector, no map and no tokens; take another layer."
    )


def joined(values: Sequence[Tensor], names: Sequence[str]) -> Tensor:
    """The layers' vectors one after the other, (B, D)."""
    return torch.cat([pooled(value, name) for value, name in zip(values, names, strict=True)], 1)
