"""The supervised classifier that completes the spectrum (paper 6.5): Deep SAD's encoder and one logit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from esad.models.detector import NETWORK, TRAINING, Method, Phase, single_term
from esad.models.networks import SeedLinear
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch


class SupervisedMethod(Method):
    """Binary cross-entropy of labelled anomalies against all others, unlabelled ones taken for normal; score: logit."""

    title: ClassVar[str] = "Supervised classifier"
    needs_anomalies: ClassVar[bool] = True

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        self.encoder = self._encoder("encoder1", bias_free=True)
        self.head = SeedLinear(self.seeds, self._sizes()[1], 1, bias=True, name="head")

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return tuple(
            name for name in (*NETWORK, *TRAINING) if name != "network.upsample"
        )  # it has no decoder

    def phases(self) -> list[Phase]:
        return [Phase("train", [*self.parameters()], self.settings.train, labelled=True)]

    def logits(self, x: Tensor) -> Tensor:
        """(S, B), of being an anomaly."""
        return self.head(self._rows(self.encoder(x)).mT)[:, 0]  # rows last, as inside the encoder

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        logits = batch.whole(self.logits(batch.x))
        target = (self._rows(batch.whole_semi_label) < 0).to(logits)
        loss = binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)
        return {"loss": self._without_seeds(loss)}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        return single_term(self._without_seeds(self.logits(x)))
