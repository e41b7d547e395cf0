"""What the methods that are fitted at once share: their inputs, their one phase, one fit per seed (paper 6.5)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from esad.models.detector import NETWORK, Method, Phase, phase_at_once, single_term
from esad.models.methods.cae import autoencoder_loss
from esad.models.methods.classic.fitted import FittedTensors, stack_padded
from esad.models.settings import MethodSettings, ShallowSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool
from esad.models.training.randomness import generator

AUTOENCODER = (
    *NETWORK, "loss.reconstruction", "train.warmup", "train.batch_size", "train.precision", "train.compile",
    "train.restarts",
)  # fmt: skip
"""The settings of the plain autoencoder below a hybrid method."""


class CannotFit(ValueError):
    """The settings ask for what these items cannot give."""


@dataclass(frozen=True)
class Sample:
    """What one seed is fitted on: `x` (n, F) float64, `semi_label` (n,), `held_x` (m, F) and its `held_label` (m,).

    The held-out items (1 for anomalies) may be none.
    """

    seed: int
    x: np.ndarray
    semi_label: np.ndarray
    held_x: np.ndarray
    held_label: np.ndarray

    @property
    def can_choose(self) -> bool:
        """Whether held-out normals and anomalies are there to choose settings by."""
        return len(np.unique(self.held_label)) == 2


def draw_rows(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` places (k,), ascending; labelled items go first, up to a half, the rest is drawn."""
    order = torch.randperm(len(labels), generator=generator(seed, "rows")).numpy()
    labelled, unlabelled = order[labels[order] != 0], order[labels[order] == 0]
    kept = labelled[: max(most // 2, most - len(unlabelled))]
    return np.sort(np.concatenate([kept, unlabelled[: most - len(kept)]]))


class ShallowMethod(Method):
    """A fit on raw items or, `hybrid`, on codes of a plain autoencoder trained before (`train.warmup`)."""

    def __init__(
        self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int], names: Sequence[str]
    ) -> None:
        """`names` of the fitted tensors."""
        super().__init__(settings, shape, seeds)
        self.hybrid = self.own_settings.input == "hybrid"
        if self.hybrid:
            self.encoder1 = self._encoder("encoder1")
            self.decoder = self._decoder("decoder")
        self.fitted = FittedTensors(names)

    @classmethod
    def has_shared_encoder(cls, settings: MethodSettings) -> bool:
        own: ShallowSettings = getattr(settings, settings.method)
        return own.input == "hybrid"

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (
            settings.method,
            "network.channels",
            *(AUTOENCODER if cls.has_shared_encoder(settings) else ()),
        )

    @property
    @abstractmethod
    def own_settings(self) -> ShallowSettings:
        """The method's section of the settings."""

    @property
    @abstractmethod
    def most_rows(self) -> int:
        """Most training items that a fit uses."""

    @abstractmethod
    def fit_one(self, sample: Sample) -> dict[str, Tensor]:
        """The fitted tensors of one seed."""

    @abstractmethod
    def score_rows(self, fit: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Scores (B,) of rows (B, F) by the fitted tensors of one seed."""

    def phases(self) -> list[Phase]:
        once = phase_at_once("fit", labelled=True)
        if not self.hybrid:
            return [once]
        both = [*self.encoder1.parameters(), *self.decoder.parameters()]
        return [Phase("autoencoder", both, self.settings.train.warmup, labelled=False), once]

    def usable(self, labels: np.ndarray) -> np.ndarray:
        """Bool (n,): training items that the fit may use. An unsupervised one leaves labelled anomalies out."""
        return labels >= 0

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if phase != "fit":
            return
        chosen = []
        for seed, labels in zip(self.seeds, items.labels, strict=True):
            places = np.flatnonzero(self.usable(labels))
            chosen.append(places[draw_rows(labels[places], self.most_rows, seed)])
        held = [np.arange(len(labels)) for labels in validation.labels]
        x, held_x = items.collect(chosen, self.features), validation.collect(held, self.features)
        fits = []
        for s, seed in enumerate(self.seeds):
            known, held_known = items.labels[s][chosen[s]], validation.labels[s]
            fits.append(self.fit_one(Sample(seed, x[s].numpy(), known, held_x[s].numpy(), held_known)))
        self.fitted.replace(stack_padded(fits))

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x_hat = self.decoder(self.encoder1(batch.x))
        return autoencoder_loss(batch, x_hat, self.settings.loss.reconstruction, anomalies=False)

    def features(self, x: Tensor) -> Tensor:
        """(S, B, F): flattened items or their codes."""
        return self._rows(self.encoder1(x) if self.hybrid else x)

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        rows = self.features(x)
        scores = [self.score_rows(self.fitted.of(seed), rows[seed]) for seed in range(len(self.seeds))]
        return single_term(self._without_seeds(torch.stack(scores)))
