"""Which pixels a score comes from: integrated gradients from the mean normal picture (Sundararajan et al. 2017).

The squared reconstruction error of ESAD shows poorly what is abnormal: training makes the norm term of the second
encoder tell anomalies apart, and that term has no pixels of its own. Integrated gradients share the whole score out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from esad.models.detector import Method
from esad.models.folding import folded

STEPS = 16
"""Points on the way from the baseline; 32 gave the same hit rate on synthetic radiographs, 8 a lower one."""


def contributions(
    method: Method, x: Tensor, baseline: Tensor, weights: dict[str, float], steps: int = STEPS
) -> Tensor:
    """Each pixel's share of the rise of the score from `baseline` to `x`: float32 (B, H, W).

    `x` (B, C, H, W) in [0, 1]; `baseline` (C, H, W) or (B, C, H, W), an ordinary picture; the score is the sum of the
    method's score terms times `weights`, for example {"reconstruction": 1, "norm": lambda1} for Eq. 9. Positive where
    the picture's departure from the baseline raises the score. The sum over pixels tends to score(x) -
    score(baseline) as `steps` grow (their completeness axiom; the midpoint rule is used).
    """
    method = folded(method)
    start = baseline.to(x).expand_as(x)
    away = x - start
    total = torch.zeros_like(x)
    with torch.enable_grad():
        for step in range(steps):
            point = (start + away * ((step + 0.5) / steps)).detach().requires_grad_()
            terms = method.score_terms(point)
            score = torch.stack([weight * terms[name].sum() for name, weight in weights.items()]).sum()
            total += torch.autograd.grad(score, point)[0]
    return (away * total / steps).sum(1).detach().float()
