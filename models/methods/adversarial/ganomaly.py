"""GANomaly (Akcay et al. 2018): encoder, decoder and second encoder against a discriminator; score: how far the codes are apart.

docs/explanation/other-methods.md#ganomaly has its losses and what differs from the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from esad.models.adversarial_settings import GanomalySettings
from esad.models.detector import Phase, Turn, item_mean, phase_of_turns, single_term
from esad.models.methods.adversarial.dcgan import DcDecoder, DcEncoder, judged
from esad.models.methods.adversarial.players import AdversarialMethod
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of


class GanomalyNetworks(nn.Module):
    """The four networks and their losses, of squares (B, C, side, side) in [-1, 1]."""

    def __init__(self, channels: int, side: int, base: int, code: int) -> None:
        super().__init__()
        self.encoder1 = DcEncoder(channels, side, base, code)
        self.decoder = DcDecoder(channels, side, base, code)
        self.encoder2 = DcEncoder(channels, side, base, code)
        self.discriminator = DcEncoder(channels, side, base, 1)

    def generators(self) -> list[nn.Parameter]:
        """Parameters of all but the discriminator."""
        return parameters_of(self.encoder1, self.decoder, self.encoder2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The code, the square made of it, and the code of that."""
        z = self.encoder1(x)
        x_hat = self.decoder(z)
        return z, x_hat, self.encoder2(x_hat)

    def discriminator_loss(self, x: Tensor) -> Tensor:
        """Cross-entropy of real squares and of made ones."""
        made = self.decoder(self.encoder1(x)).detach()
        return judged(self.discriminator(x), True) + judged(self.discriminator(made), False)

    def generator_terms(self, x: Tensor, own: GanomalySettings) -> dict[str, Tensor]:
        """The generators' weighted loss and its terms."""
        return self.terms_of(x, self(x), own)

    def terms_of(
        self, x: Tensor, outputs: tuple[Tensor, Tensor, Tensor], own: GanomalySettings
    ) -> dict[str, Tensor]:
        """The same where what `forward` gives is known."""
        z, x_hat, z_hat = outputs
        features, made = self.discriminator.features(x), self.discriminator.features(x_hat)
        terms = {
            "adversarial": (features.detach() - made).square().mean(),
            "reconstruction": (x - x_hat).abs().mean(),
            "association": (z - z_hat).square().mean(),
        }
        loss = own.adversarial * terms["adversarial"] + own.reconstruction * terms["reconstruction"]
        return {"loss": loss + own.association * terms["association"], **terms}


class GanomalyMethod(AdversarialMethod):
    """The discriminator's turn, then the generator's, on one batch of unlabelled items."""

    title: ClassVar[str] = "GANomaly (Akcay et al. 2018)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        own = settings.ganomaly
        self.networks = self._seeded(
            lambda: GanomalyNetworks(self.channels, self.frame.side, own.base, own.code), "ganomaly"
        )

    def phases(self) -> list[Phase]:
        turns = [
            Turn("discriminator", parameters_of(self.networks.discriminator)),
            Turn("generator", self.networks.generators()),
        ]
        return [phase_of_turns("train", turns, self.settings.train)]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x = self.frame.squares(batch.x)
        if batch.turn == "discriminator":
            return {"loss": self.networks.discriminator_loss(x)}
        return self.networks.generator_terms(x, self.settings.ganomaly)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.frame.pictures(self.networks.decoder(self.latents(x)["z"]))

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.networks.encoder1(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        z, made, z_hat = self.networks(self.frame.squares(x))
        return {**single_term(item_mean((z - z_hat).square())), "x_hat": self.frame.pictures(made)}
