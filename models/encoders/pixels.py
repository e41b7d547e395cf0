"""Which pixels a score of an embedding comes from: through the encoder, by gradients where it has them, else by occlusion."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from esad.models.attribution.gradients import integrated_gradients
from esad.models.encoders.encoder import Encoder

BLOCKS = 8
"""Squares of a picture's side that are covered one after the other."""
Score = Callable[[Tensor], Tensor]
"""Vectors (B, D), float32, to one number each, (B,)."""


def by_gradients(encoder: Encoder, has_gradient: bool) -> bool:
    """Whether contributions are integrated gradients, not occlusion: `has_gradient` of the score."""
    return encoder.differentiable and has_gradient


def way_of(encoder: Encoder, has_gradient: bool) -> str:
    """How `pixel_contributions` finds them, in words."""
    if by_gradients(encoder, has_gradient):
        return "integrated gradients through the encoder from the mean normal picture"
    return f"occlusion: the fall of the score as one of {BLOCKS} x {BLOCKS} squares becomes the mean normal picture"


def pixel_contributions(
    encoder: Encoder, score: Score, x: Tensor, baseline: Tensor, has_gradient: bool
) -> Tensor:
    """Each pixel's share of the rise of `score` from `baseline` (C, h, w) to prepared pictures `x` (B, C, h, w): float32 (B, h, w).

    Integrated gradients add up to that rise as their steps grow (`integrated_gradients`). By occlusion a square's fall is spread
    over its pixels, and the squares add up to it only where they do not matter to each other.
    """
    if by_gradients(encoder, has_gradient):
        return integrated_gradients(lambda point: score(encoder.encode(point)), x, baseline).sum(1).float()
    return _occlusion(encoder, score, x, baseline)


@torch.no_grad()
def _occlusion(encoder: Encoder, score: Score, x: Tensor, baseline: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    whole = score(encoder.encode(x))
    out = torch.zeros(len(x), height, width, device=x.device)
    rows, columns = (
        torch.linspace(0, side, min(BLOCKS, side) + 1).round().int().tolist() for side in (height, width)
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            covered = x.clone()
            covered[..., top:bottom, left:right] = baseline[..., top:bottom, left:right].to(x)
            fall = whole - score(encoder.encode(covered))
            out[:, top:bottom, left:right] = (fall / ((bottom - top) * (right - left)))[:, None, None]
    return out
