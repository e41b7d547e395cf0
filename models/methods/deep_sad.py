"""Deep SAD (Ruff et al. 2020): unlabelled codes near a centre, labelled anomalies far from it.

docs/explanation/other-methods.md#deep-sad has it step by step.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from esad.models.detector import group_mean
from esad.models.methods.hypersphere import HypersphereMethod
from esad.models.settings import DeepSadSettings, MethodSettings


def deep_sad_loss(squared: Tensor, semi_label: Tensor, settings: DeepSadSettings) -> Tensor:
    """Mean over the mixed batch of d^2, or of eta (d^2 + eps)^semi_label where labelled; (S, B) twice to (S,)."""
    labelled = settings.eta * torch.where(
        semi_label < 0, 1 / (squared + settings.eps), squared + settings.eps
    )
    return torch.where(semi_label == 0, squared, labelled).mean(-1)


class DeepSadMethod(HypersphereMethod):
    """All training items take part in the pre-training, in the centre and in one joint mean; the score is d^2."""

    title: ClassVar[str] = "Deep SAD (Ruff et al. 2020)"
    uses_labels = True

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (*super().settings_read(settings), "deep_sad")

    def sphere_losses(self, squared: Tensor, semi_label: Tensor, epoch: float) -> dict[str, Tensor]:
        return {
            "loss": deep_sad_loss(squared, semi_label, self.settings.deep_sad),
            "squared_distance_unlabelled": group_mean(squared, semi_label == 0).detach(),
            "squared_distance_anomaly": group_mean(squared, semi_label < 0).detach(),
        }
