"""Which pixels or columns a score comes from: integrated gradients (Sundararajan et al. 2017).

The squared reconstruction error of ESAD shows poorly what is abnormal: training makes the norm term of the second
encoder tell anomalies apart, and that term has no pixels of its own. Integrated gradients share the whole score out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from esad.models.detector import Method
from esad.models.folding import folded

STEPS = 16
"""Points on the way from the baseline; 32 gave the same hit rate on synthetic radiographs, 8 a lower one."""


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of score terms times `weights`, for example {"reconstruction": 1, "norm": lambda1}: one number an item."""
    return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum(0)


def integrated_gradients(
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    baseline: Tensor,
    steps: int = STEPS,
    axis: int = 0,
    at_once: int = 1,
) -> Tensor:
    """Each entry's share of the rise of `score` from `baseline` to `x`: as `x`.

    `score` gives a number for each item and looks at no other item; items are along `axis`, and `at_once` of their points go through
    it together, at least one of each item. `baseline` broadcasts to `x`. The sum over an item's
    entries tends to score(x) - score(baseline) as `steps` grow (their completeness axiom; the midpoint rule is used).
    """
    start = baseline.to(x).expand_as(x)
    away = x - start
    total = torch.zeros_like(x)
    together = max(1, at_once // max(1, x.shape[axis]))
    with torch.enable_grad():
        for first in range(0, steps, together):
            shares = [(step + 0.5) / steps for step in range(first, min(first + together, steps))]
            points = torch.cat([start + away * share for share in shares], axis).detach().requires_grad_()
            gradients = torch.autograd.grad(score(points).sum(), points)[0]
            for gradient in gradients.chunk(len(shares), axis):
                total += gradient
    return (away * total / steps).detach()


def contributions(
    method: Method, x: Tensor, baseline: Tensor, weights: Mapping[str, float], steps: int = STEPS
) -> Tensor:
    """Each pixel's share of the rise of the score from `baseline` to `x`: float32 (B, H, W).

    `x` (B, C, H, W) in [0, 1]; `baseline` (C, H, W) or (B, C, H, W), an ordinary picture; the score is the `weighted` sum of
    the method's score terms. Positive where the picture's departure from the baseline raises the score.
    """
    method = folded(method)

    def score(point: Tensor) -> Tensor:
        return weighted(method.score_terms(point), weights)

    return integrated_gradients(score, x, baseline, steps).sum(1).float()
