"""ALOCC (Sabokrou et al. 2018): a reconstructor that takes noise away, against a discriminator whose verdict is the score.

docs/explanation/other-methods.md#alocc says what differs from the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from esad.models.detector import Phase, Turn, phase_of_turns, single_term
from esad.models.methods.adversarial.dcgan import begin, judged
from esad.models.methods.adversarial.players import AdversarialMethod, normal
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of


class Reconstructor(nn.Module):
    """Squares (B, C, side, side) to an eighth of the side and back, in [-1, 1]."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        down, up = [channels, 2 * base, 4 * base, 8 * base], [8 * base, 2 * base, base]
        layers: list[nn.Module] = []
        for a, b in pairwise(down):
            layers += [nn.Conv2d(a, b, 5, 2, 2), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        for a, b in pairwise(up):
            layers += [nn.ConvTranspose2d(a, b, 5, 2, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.encoder = nn.Sequential(*layers[:9])
        self.decoder = nn.Sequential(*layers[9:], nn.ConvTranspose2d(base, channels, 5, 2, 2, 1), nn.Tanh())
        self.apply(begin)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Discriminator(nn.Module):
    """Squares (B, C, side, side) to logits (B,): positive for what looks real."""

    def __init__(self, channels: int, side: int, base: int) -> None:
        super().__init__()
        sizes = [channels, base, 2 * base, 4 * base, 8 * base]
        layers: list[nn.Module] = []
        for place, (a, b) in enumerate(pairwise(sizes)):
            layers += [nn.Conv2d(a, b, 5, 2, 2), *([nn.BatchNorm2d(b)] if place else []), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.last = nn.Linear(8 * base * (side // 16) ** 2, 1)
        self.apply(begin)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x).flatten(1))[:, 0]


class AloccMethod(AdversarialMethod):
    """The discriminator's turn, then the reconstructor's, twice, on one batch."""

    title: ClassVar[str] = "ALOCC (Sabokrou et al. 2018)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        channels, side, base = self.channels, self.frame.side, settings.alocc.base
        self.reconstructor = self._seeded(lambda: Reconstructor(channels, base), "reconstructor")
        self.discriminator = self._seeded(lambda: Discriminator(channels, side, base), "discriminator")

    def phases(self) -> list[Phase]:
        turns = [
            Turn("discriminator", parameters_of(self.discriminator)),
            Turn("reconstructor", parameters_of(self.reconstructor), repeats=2),
        ]
        return [phase_of_turns("train", turns, self.settings.train)]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own = self.frame.squares(batch.x), self.settings.alocc
        made = self.reconstructor(x + own.noise * normal(x.shape, batch.numbers("noise"), x))
        if batch.turn == "discriminator":
            return {
                "loss": judged(self.discriminator(x), True) + judged(self.discriminator(made.detach()), False)
            }
        terms = {
            "adversarial": judged(self.discriminator(made), True),
            "refinement": (x - made).square().mean(),
        }
        return {"loss": terms["adversarial"] + own.refinement * terms["refinement"], **terms}

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.frame.pictures(self.reconstructor(self.frame.squares(x)))

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.reconstructor.encoder(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        made = self.reconstructor(self.frame.squares(x))
        return {**single_term(-self.discriminator(made)), "x_hat": self.frame.pictures(made)}
