"""TLSAD (Feng et al. 2021), after its description: a Deep SAD whose encoder also learns what a frozen network sees.

docs/explanation/other-methods.md#tlsad says what the paper leaves open and what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from esad.models.detector import TRAINING, Method, Phase, group_mean, item_mean, phase_at_once, single_term
from esad.models.methods.hypersphere import centre_of
from esad.models.methods.pretrained.backbone import BATCH, CAUTION, Backbone
from esad.models.methods.readings import READINGS
from esad.models.networks import PictureScaler, at_least_float32, table6_widths
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool

LEAST_SQUARE = 1e-6
"""Squared distances of labelled anomalies are at least this, so that the logarithm is finite."""
LEAST_DEVIATION = 1e-2
"""The same of a column's standard deviation, whose maps are of the order of 1."""


def sphere_terms(squared: Tensor, semi_label: Tensor) -> dict[str, Tensor]:
    """Means () of a batch's squared distances (B,): unlabelled ones by weight, labelled normal ones, labelled anomalies.

    An unlabelled item weighs exp(-d^2 / median d^2), a constant for the gradient: what lies far out may be pollution. An
    anomaly's term is -log(1 - exp(-d^2)), which falls as it moves away.
    """
    unlabelled, fixed = semi_label == 0, squared.detach()
    median = fixed[unlabelled].median() if bool(unlabelled.any()) else fixed.new_ones(())
    weights = torch.exp(-fixed / median.clamp(min=LEAST_SQUARE))
    away = -torch.log(-torch.expm1(-squared.clamp(min=LEAST_SQUARE)))
    return {
        "unlabelled": group_mean(weights * squared, unlabelled),
        "normal": group_mean(squared, semi_label > 0),
        "anomaly": group_mean(away, semi_label < 0),
    }


class TlsadMethod(Method):
    """Statistics of the frozen network's means, an encoder that learns them, then the sphere beside them."""

    title: ClassVar[str] = READINGS["tlsad"]
    needs_anomalies: ClassVar[bool] = True
    caution: ClassVar[str] = CAUTION
    pictures_only: ClassVar[bool] = True
    centre: Tensor
    mean: Tensor
    deviation: Tensor
    """(G,) each: of the columns that the frozen network gives, over all training items."""

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        assert isinstance(self.scaler, PictureScaler)
        self.backbone = Backbone(settings.backbone, self.scaler.channels)
        columns = sum(self.backbone.channels(layer) for layer in settings.tlsad.layers)
        inner = table6_widths(settings.network.width)[-1]
        self.encoder = self._encoder("encoder1", bias_free=True)
        self.head = self._seeded(lambda: nn.Linear(inner, columns), "head")
        self.register_buffer("centre", torch.zeros(1, 1, self._sizes()[1]))
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        own = ("network.channels", "network.width", "deep_sad.centre_gap", "backbone", "tlsad")
        return (*own, *TRAINING, "train.warmup")

    def phases(self) -> list[Phase]:
        train, both = self.settings.train, [*self.encoder.parameters(), *self.head.parameters()]
        return [
            phase_at_once("statistics", labelled=True),
            Phase("transfer", both, train.warmup, labelled=True),
            Phase("train", both, train, labelled=True),
        ]

    def seen(self, x: Tensor) -> Tensor:
        """(B, G): means over place of the frozen network's layers, one after the other."""
        return self.backbone.means(x, self.settings.tlsad.layers)

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        everything = [np.arange(len(items.labels[0]))]
        if phase == "statistics":
            rows = torch.cat([self.seen(x).double() for x, _ in items.batches(everything, BATCH)])
            self.mean.copy_(rows.mean(0))
            self.deviation.copy_(rows.std(0, correction=0).clamp(min=LEAST_DEVIATION))
        elif phase == "train":
            gap = self.settings.deep_sad.centre_gap
            self.centre.copy_(centre_of(items, everything, self.codes, self.centre, gap))

    def codes(self, x: Tensor) -> Tensor:
        """Codes of scaled items as rows (1, B, K)."""
        return self._rows(self.encoder(x))

    def squared_distance(self, x: Tensor) -> Tensor:
        """(B,): the mean over the code's entries, so that exp(-d^2) of a large code is not 0."""
        return (self.codes(x) - self.centre).square().mean(2)[0]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        z = self.encoder(batch.x)
        guess = at_least_float32(self.head(z.mean((2, 3))))
        known = (self.seen(batch.x) - self.mean) / self.deviation
        transfer = item_mean((guess - known).square()).mean()
        if phase == "transfer":
            return {"loss": transfer, "transfer": transfer.detach()}
        squared = (z.flatten(1) - self.centre[0]).square().mean(1)
        terms = sphere_terms(squared, batch.semi_label)
        loss = sum(terms.values(), self.settings.tlsad.transfer * transfer)
        named = {name: value.detach() for name, value in terms.items()}
        return {"loss": loss, "transfer": transfer.detach(), **named}

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder(x)}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        return single_term(self.squared_distance(x))
