"""SS-DGM, model M2 (Kingma et al. 2014): a generative model of items and their class.

Pictures are flattened for the generative part. M1+M2, which the paper tries on pictures beside M2, is left
out (docs/explanation/other-methods.md#ss-dgm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, softplus

from esad.models.detector import group_mean
from esad.models.methods.supervised import SupervisedMethod
from esad.models.networks import PerceptronStack, table_widths
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.randomness import generator

SIZES = {
    "table6": ((128, 64), 32),
    "lenet-mnist": ((128, 64), 32),
    "lenet-fashion-mnist": ((256, 128), 64),
    "lenet-cifar10": ((512, 256), 128),
}
"""Pictures: hidden layers and size of z by `network.form`, Deep SAD's code's for each of its sets
(other-methods.md#ss-dgm); it has none for Table 6's network."""


def kl_to_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) | N(0, 1)) summed over the last axis."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def ss_dgm_losses(
    bound_normal: Tensor, bound_anomaly: Tensor, logits: Tensor, semi_label: Tensor, alpha: float
) -> dict[str, Tensor]:
    """J^alpha of Kingma et al., Eq. 9, each term a mean over its group: all inputs (S, B), results (S,).

    `bound_*` are -L(x, y), upper bounds of -log p(x, y), for both classes; `logits` of q(anomaly | x). Labelled items
    count with their class; for the others the classes are summed out: sum q(y|x) bound(y) - entropy of q(y|x).
    """
    anomaly = torch.where(semi_label < 0, 1.0, 0.0).to(logits)
    known = (1 - anomaly) * bound_normal + anomaly * bound_anomaly
    share = torch.sigmoid(logits)
    entropy = -(share * logsigmoid(logits) + (1 - share) * logsigmoid(-logits))
    unknown = (1 - share) * bound_normal + share * bound_anomaly - entropy
    labelled = semi_label != 0
    terms = {
        "labelled": group_mean(known, labelled),
        "unlabelled": group_mean(unknown, ~labelled),
        "cross_entropy": group_mean(softplus(logits) - anomaly * logits, labelled),
    }
    return {"loss": terms["labelled"] + terms["unlabelled"] + alpha * terms["cross_entropy"], **terms}


class SsDgmMethod(SupervisedMethod):
    """q(y|x) is the supervised classifier, q(z|x,y) and p(x|y,z) are perceptrons; the score is the logit of q(y|x)."""

    title: ClassVar[str] = "SS-DGM, M2 (Kingma et al. 2014)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        entries, code = self._sizes()
        chosen, network = settings.ss_dgm, settings.network.model_copy(update={"bias": True, "affine": True})
        layers, latent = SIZES[self.form] if self.pictures else (table_widths(entries, network)[1:-1], code)
        hidden, self.latent = chosen.hidden or layers, chosen.latent or latent
        down, up = [entries + 1, *hidden, 2 * self.latent], [self.latent + 1, *hidden[::-1], entries]
        self.inference = PerceptronStack(self.seeds, down, network, "inference", sigmoid=False)
        self.generation = PerceptronStack(self.seeds, up, network, "generation", sigmoid=False)

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (*super().settings_read(settings), "ss_dgm")

    def bounds(self, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of -log p(x, y) for y = normal and anomaly, (S, B) each; `rows` (S, B, F) and `noise` (S, 2B, latent)."""
        count = rows.shape[1]
        twice = torch.cat([rows, rows], 1)
        y = torch.zeros_like(twice[..., :1])
        y[:, count:] = 1
        mean, log_variance = self.inference(torch.cat([twice, y], -1)).chunk(2, -1)
        z = mean + noise * (0.5 * log_variance).exp()
        x_logits = self.generation(torch.cat([z, y], -1))
        error = binary_cross_entropy_with_logits(x_logits, twice.clamp(0, 1), reduction="none").sum(-1)
        bound = error + kl_to_standard(mean, log_variance) + math.log(2)
        return bound[:, :count], bound[:, count:]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        rows = self._rows(batch.x)
        shape = (2 * rows.shape[1], self.latent)
        drawn = [torch.randn(shape, generator=generator(seed, "ss_dgm", step)) for seed, step in batch.keys]
        bounds = self.bounds(rows, torch.stack(drawn).to(rows))
        semi = self._rows(batch.semi_label)
        terms = ss_dgm_losses(*bounds, self.logits(batch.x), semi, self.settings.ss_dgm.alpha)
        return {name: self._without_seeds(value) for name, value in terms.items()}
