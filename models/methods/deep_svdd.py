"""Deep SVDD (Ruff et al. 2018), one-class and soft-boundary: the unlabelled items near a centre.

docs/explanation/other-methods.md#deep-svdd has both objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from esad.models.detector import single_term
from esad.models.methods.hypersphere import HypersphereMethod
from esad.models.settings import MethodSettings


def soft_boundary_loss(squared: Tensor, radius: Tensor, nu: float) -> Tensor:
    """R^2 + mean(max(0, d^2 - R^2)) / nu: `squared` (S, B), `radius` (S,) to (S,)."""
    outside = (squared - radius.square()[:, None]).clamp(min=0)
    return radius.square() + outside.mean(-1) / nu


class DeepSvddMethod(HypersphereMethod):
    """Labelled items are not used. Scores: d^2 (one-class), d^2 - R^2 (soft boundary).

    The radius is 0 for `radius_warmup` epochs, then after each step the (1 - nu)-quantile of its batch's distances
    (paper 6.5: solved on every batch).
    """

    title: ClassVar[str] = "Deep SVDD (Ruff et al. 2018)"
    uses_labels = False
    radius: Tensor
    """(S,)."""

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        self.soft = settings.deep_svdd.objective == "soft_boundary"
        self.register_buffer("radius", torch.zeros(len(self.seeds)))

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (*super().settings_read(settings), "deep_svdd")

    def sphere_losses(self, squared: Tensor, semi_label: Tensor, epoch: float) -> dict[str, Tensor]:
        chosen = self.settings.deep_svdd
        if not self.soft:
            return {"loss": squared.mean(-1)}
        terms = {
            "loss": soft_boundary_loss(squared, self.radius, chosen.nu),
            "radius": self.radius.clone(),
        }
        if self.training and epoch >= chosen.radius_warmup:
            distances = squared.detach().sqrt().to(self.radius.dtype)
            self.radius.copy_(torch.quantile(distances, 1 - chosen.nu, dim=-1))
        return terms

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        squared = self.squared_distance(x) - self.radius.square()[:, None]
        return single_term(self._without_seeds(squared))
