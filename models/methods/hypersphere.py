"""What Deep SAD and Deep SVDD share: an encoder pre-trained in an autoencoder, and the distance to a fixed centre."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from esad.models.detector import LABELLED_ITEMS, Method, Phase, reduce_items, single_term
from esad.models.methods.cae import autoencoder_loss
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool


def push_from_zero(centre: Tensor, gap: float) -> Tensor:
    """`centre` with coordinates nearer to 0 than `gap` moved to +-gap; exact zeros stay.

    A unit whose target is 0 could be matched by zero weights (docs/explanation/other-methods.md#deep-sad).
    """
    return torch.where(centre.abs() < gap, gap * centre.sign(), centre)


def centre_of(
    items: ItemPool, chosen: Sequence[np.ndarray], codes: Callable[[Tensor], Tensor], like: Tensor, gap: float
) -> Tensor:
    """Mean code (S, 1, K), as `like`, of each seed's chosen items, pushed from zero by `gap`."""
    total = torch.zeros_like(like)
    for x, present in items.batches(chosen):
        total += (codes(x) * present[..., None]).sum(1, keepdim=True)
    counts = torch.tensor([len(places) for places in chosen]).to(total)
    return push_from_zero(total / counts[:, None, None], gap)


class HypersphereMethod(Method):
    """Autoencoder pre-training, then the encoder alone; its layers have no biases, so that it cannot be constant."""

    uses_labels: ClassVar[bool]
    """Labelled items take part in both phases and in the centre."""

    centre: Tensor
    """(S, 1, K): mean code of the training items after pre-training."""

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        self.encoder = self._encoder("encoder1", bias_free=True)
        self.decoder = self._decoder("decoder")
        self.register_buffer("centre", torch.zeros(len(self.seeds), 1, self._sizes()[1]))

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        read = (*super().settings_read(settings), "loss.reconstruction", "deep_sad.centre_gap")
        return read if cls.uses_labels else tuple(name for name in read if name not in LABELLED_ITEMS)

    def phases(self) -> list[Phase]:
        train, encoder = self.settings.train, [*self.encoder.parameters()]
        both = [*encoder, *self.decoder.parameters()]
        return [
            Phase("pretraining", both, train.warmup, labelled=self.uses_labels),
            Phase("train", encoder, train, labelled=self.uses_labels),
        ]

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if phase != "train":
            return
        chosen = [np.flatnonzero(self.uses_labels | (labels == 0)) for labels in items.labels]
        gap = self.settings.deep_sad.centre_gap
        self.centre.copy_(centre_of(items, chosen, self.codes, self.centre, gap))

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        if phase == "train":
            squared = batch.whole(self.squared_distance(batch.x))
            terms = self.sphere_losses(squared, self._rows(batch.whole_semi_label), batch.epoch)
            return {name: self._without_seeds(value) for name, value in terms.items()}
        x_hat = self.decoder(self.encoder(batch.x))
        reduction = self.settings.loss.reconstruction
        # labelled anomalies are reconstructed, too, where they take part (other-methods.md#deep-sad)
        return autoencoder_loss(batch, x_hat, reduction, anomalies=True)

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder(x)}

    def codes(self, x: Tensor) -> Tensor:
        """Codes of scaled items as rows (S, B, K)."""
        return self._rows(self.encoder(x))

    def squared_distance(self, x: Tensor) -> Tensor:
        """(S, B): |code - centre|^2, summed over the code's entries (other-methods.md#deep-sad)."""
        return reduce_items((self.codes(x) - self.centre).square(), 2, "sum")

    @abstractmethod
    def sphere_losses(self, squared: Tensor, semi_label: Tensor, epoch: float) -> dict[str, Tensor]:
        """Terms of the second phase, each (S,), from squared distances (S, B), semi-labels (S, B) and passes so far."""

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        return single_term(self._without_seeds(self.squared_distance(x)))
