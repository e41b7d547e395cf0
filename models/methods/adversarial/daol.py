"""DAOL (Tang et al. 2019), after its description: an encoder at each end of a generator, and two discriminators.

docs/explanation/other-methods.md#daol says what the paper leaves open and what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from esad.models.detector import Phase, Turn, item_mean, phase_of_turns
from esad.models.methods.adversarial.dcgan import DcEncoder, begin, judged
from esad.models.methods.adversarial.ganomaly import GanomalyNetworks
from esad.models.methods.adversarial.players import AdversarialMethod, normal
from esad.models.methods.readings import READINGS
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of


class PairDiscriminator(nn.Module):
    """Squares (B, C, side, side) and codes (B, code, 1, 1) to logits (B, 1): whether the code is that of the square."""

    def __init__(self, channels: int, side: int, base: int, code: int) -> None:
        super().__init__()
        self.of_square = DcEncoder(channels, side, base, code)
        self.of_both = nn.Sequential(nn.Linear(2 * code, 2 * code), nn.LeakyReLU(0.2), nn.Linear(2 * code, 1))
        self.of_both.apply(begin)

    def forward(self, square: Tensor, code: Tensor) -> Tensor:
        return self.of_both(torch.cat([self.of_square(square), code], 1).flatten(1))


class DaolMethod(AdversarialMethod):
    """Three adversarial objectives: real pictures, pairs of picture and code, features. Score: error and features."""

    title: ClassVar[str] = READINGS["daol"]

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        own = settings.daol
        sizes = (self.channels, self.frame.side, own.base, own.code)
        self.networks = self._seeded(lambda: GanomalyNetworks(*sizes), "daol")
        self.of_pairs = self._seeded(lambda: PairDiscriminator(*sizes), "of_pairs")

    def phases(self) -> list[Phase]:
        turns = [
            Turn("discriminators", parameters_of(self.networks.discriminator, self.of_pairs)),
            Turn("generators", self.networks.generators()),
        ]
        return [phase_of_turns("train", turns, self.settings.train)]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own, networks = self.frame.squares(batch.x), self.settings.daol, self.networks
        z, x_hat, z_hat = networks(x)
        drawn = normal(z.shape, batch.numbers("code"), z)
        made = networks.decoder(drawn)
        judge = networks.discriminator
        if batch.turn == "discriminators":
            pictures = judged(judge(x), True) + judged(judge(x_hat.detach()), False)
            pairs = judged(self.of_pairs(x, z.detach()), True) + judged(
                self.of_pairs(made.detach(), drawn), False
            )
            return {"loss": pictures + pairs, "pictures": pictures, "pairs": pairs}
        terms = {
            "pictures": judged(judge(x_hat), True),
            "pairs": judged(self.of_pairs(x, z), False) + judged(self.of_pairs(made, drawn), True),
            "features": (judge.features(x).detach() - judge.features(x_hat)).square().mean(),
            "reconstruction": (x - x_hat).abs().mean(),
            "latent": (z - z_hat).square().mean(),
        }
        adversarial = terms["pictures"] + terms["pairs"] + terms["features"]
        loss = adversarial + own.reconstruction * terms["reconstruction"] + own.latent * terms["latent"]
        return {"loss": loss, **terms}

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.frame.pictures(self.networks.decoder(self.latents(x)["z"]))

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.networks.encoder1(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        squares, judge = self.frame.squares(x), self.networks.discriminator
        made = self.networks.decoder(self.networks.encoder1(squares))
        error = item_mean((squares - made).abs())
        features = item_mean((judge.features(squares) - judge.features(made)).square())
        score = error + self.settings.daol.score_features * features
        return {"eq9": score, "reconstruction": error, "norm": features, "x_hat": self.frame.pictures(made)}
