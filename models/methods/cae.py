"""The plain autoencoder (Masci et al., the paper's CAE): Enc1 and Dec alone, mean squared error as loss and score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from esad.models.detector import LABELLED_ITEMS, Method, Phase, error_term, group_mean, reduce_items
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool


def autoencoder_loss(batch: Batch, x_hat: Tensor, reduction: str, anomalies: bool) -> dict[str, Tensor]:
    """Mean squared error of a batch, with or without its labelled anomalies, as a method's terms of the loss."""
    error = batch.whole(reduce_items((x_hat - batch.x).square(), batch.semi_label.dim(), reduction))
    loss = group_mean(error, (batch.whole_semi_label >= 0) | anomalies)
    return {"loss": loss, "reconstruction": loss.detach()}


class CaeMethod(Method):
    """Trained on the unlabelled items for as many steps as ESAD's two phases have."""

    title: ClassVar[str] = "Plain autoencoder"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        self.encoder1 = self._encoder("encoder1")
        self.decoder = self._decoder("decoder")
        self.linear = self._linear_code()

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        read = (*super().settings_read(settings), "network.linear", "loss.reconstruction", "loss.score_block")
        return tuple(name for name in read if name not in LABELLED_ITEMS)

    def phases(self) -> list[Phase]:
        train = self.settings.train
        parameters = [*self.encoder1.parameters(), *self.decoder.parameters()]
        return [
            Phase("warmup", parameters, train.warmup, labelled=False),
            Phase("train", parameters, train, labelled=False),
        ]

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if self.linear is not None and not self.linear.is_fitted:
            self.linear.fit(items)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        reduction = self.settings.loss.reconstruction
        return autoencoder_loss(batch, self.reconstruct(batch.x), reduction, anomalies=False)

    def reconstruct(self, x: Tensor) -> Tensor:
        learnt = self.decoder(self.encoder1(x))
        return learnt if self.linear is None else self.linear.mean + self.linear(x) + learnt

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder1(x)}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        x_hat = self.reconstruct(x)
        return error_term(self.score_error(x, x_hat), x_hat)
