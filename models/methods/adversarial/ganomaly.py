"""GANomaly (Akcay et al. 2018): encoder, decoder and second encoder against a discriminator; score: how far the codes are apart.

docs/explanation/other-methods.md#ganomaly has its losses and what differs from the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from esad.models.detector import Method, Phase, Turn, phase_of_turns, single_term
from esad.models.methods.adversarial.dcgan import DcDecoder, DcEncoder, Frame, judged
from esad.models.networks import PictureScaler
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of


class GanomalyMethod(Method):
    """The discriminator's turn, then the generator's, on one batch of unlabelled items."""

    title: ClassVar[str] = "GANomaly (Akcay et al. 2018)"
    pictures_only: ClassVar[bool] = True

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        assert isinstance(self.scaler, PictureScaler)
        channels, height, width = self.scaler.scaled_shape
        self.frame, own = Frame(height, width), settings.ganomaly
        sizes = (channels, self.frame.side, own.base)
        self.encoder1 = self._seeded(lambda: DcEncoder(*sizes, own.code), "encoder1")
        self.decoder = self._seeded(lambda: DcDecoder(*sizes, own.code), "decoder")
        self.encoder2 = self._seeded(lambda: DcEncoder(*sizes, own.code), "encoder2")
        self.discriminator = self._seeded(lambda: DcEncoder(*sizes, 1), "discriminator")

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return (*PLAYED, "ganomaly")

    def phases(self) -> list[Phase]:
        generator = parameters_of(self.encoder1, self.decoder, self.encoder2)
        turns = [Turn("discriminator", parameters_of(self.discriminator)), Turn("generator", generator)]
        return [phase_of_turns("train", turns, self.settings.train)]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x = self.frame.squares(batch.x)
        z = self.encoder1(x)
        x_hat = self.decoder(z)
        if batch.turn == "discriminator":
            real, made = self.discriminator(x), self.discriminator(x_hat.detach())
            return {"loss": judged(real, True) + judged(made, False)}
        own = self.settings.ganomaly
        features, made = self.discriminator.features(x), self.discriminator.features(x_hat)
        terms = {
            "adversarial": (features.detach() - made).square().mean(),
            "reconstruction": (x - x_hat).abs().mean(),
            "association": (z - self.encoder2(x_hat)).square().mean(),
        }
        loss = own.adversarial * terms["adversarial"] + own.reconstruction * terms["reconstruction"]
        return {"loss": loss + own.association * terms["association"], **terms}

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.frame.pictures(self.decoder(self.encoder1(self.frame.squares(x))))

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder1(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        z = self.encoder1(self.frame.squares(x))
        made = self.decoder(z)
        apart = (z - self.encoder2(made)).square().flatten(1).mean(1)
        return {**single_term(apart), "x_hat": self.frame.pictures(made)}


PLAYED = (
    "network.channels", *(f"train.{name}" for name in (
        "optimiser", "learning_rate", "momentum", "beta1", "beta2", "weight_decay", "schedule", "milestone", "epochs", "steps",
        "batch_size", "restarts", "compile",
    )),
)  # fmt: skip
"""The settings that methods of several players read."""
