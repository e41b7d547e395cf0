"""Random crops and flips in training, the central crop in scoring; keyed by seed and step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from esad.models.training.batch import Share
from esad.models.training.randomness import generator, sent
from esad.models.training.ranks import draws_of


@dataclass(frozen=True)
class Augmentation:
    """`crop` is the side in pixels or None; `flip` which mirror images may be drawn.

    docs/explanation/decisions.md#a20 says what the paper's data sets take.
    """

    crop: int | None = None
    flip: Literal["none", "horizontal", "both"] = "none"

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of an item after cropping; ValueError where the crop is larger than the item."""
        if self.crop is None or len(stored) != 3:
            return stored
        if self.crop > min(stored[:2]):
            raise ValueError(
                f"data.crop = {self.crop} is larger than the stored items ({stored[0]} x {stored[1]})."
            )
        return (self.crop, self.crop, stored[2])

    def train(self, x: Tensor, key: tuple[int, int], share: Share | None = None) -> Tensor:
        """Crop and mirror (B, H, W, C) at random; the pictures of a `share` as they would be in the whole batch."""
        numbers = generator(key[0], "augmentation", key[1])
        count, own = draws_of(share, len(x))
        if self.crop is not None and x.shape[1:3] != (self.crop, self.crop):
            down = own(torch.randint(0, x.shape[1] - self.crop + 1, (count,), generator=numbers))
            across = own(torch.randint(0, x.shape[2] - self.crop + 1, (count,), generator=numbers))
            side = torch.arange(self.crop)
            rows, columns = (sent(start[:, None] + side, x.device) for start in (down, across))
            items = torch.arange(len(x), device=x.device)
            x = x[items[:, None, None], rows[:, :, None], columns[:, None, :]]
        axes = {"none": (), "horizontal": (2,), "both": (1, 2)}[self.flip]
        for axis in axes:
            chosen = sent(own(torch.rand(count, generator=numbers) < 0.5), x.device).reshape(-1, 1, 1, 1)
            x = torch.where(chosen, x.flip(axis), x)
        return x

    def centre(self, x: Tensor) -> Tensor:
        """The central crop of (B, H, W, C)."""
        if self.crop is None:
            return x
        top, left = (x.shape[1] - self.crop) // 2, (x.shape[2] - self.crop) // 2
        return x[:, top : top + self.crop, left : left + self.crop]
