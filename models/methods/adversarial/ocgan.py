"""OCGAN (Perera et al. 2019): an autoencoder whose whole space of codes is to be made into normal pictures.

docs/explanation/other-methods.md#ocgan says what differs from the published code, which does not run as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from esad.models.detector import Phase, Turn, error_term, item_mean, phase_of_turns
from esad.models.methods.adversarial.dcgan import begin, judged
from esad.models.methods.adversarial.players import AdversarialMethod, normal, part_of, uniform
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of

SIDE = 61
"""Pictures are made this large: 61, 29, 13 and 5 pixels follow by convolutions of 5 x 5 without a border."""


class Encoder(nn.Module):
    """Squares (B, C, 61, 61) to codes (B, code, 1, 1) in (-1, 1)."""

    def __init__(self, channels: int, base: int, code: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise([channels, base, 2 * base, 4 * base]):
            layers += [nn.Conv2d(a, b, 5, 2), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(4 * base, code, 5), nn.Tanh())
        self.apply(begin)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Decoder(nn.Module):
    """Codes (B, code, 1, 1) to squares (B, C, 61, 61) in [-1, 1]."""

    def __init__(self, channels: int, base: int, code: int) -> None:
        super().__init__()
        self.width = 4 * base
        self.first = nn.Sequential(
            nn.ConvTranspose2d(code, self.width, 5), nn.BatchNorm2d(self.width), nn.ReLU()
        )
        layers: list[nn.Module] = []
        for a, b in pairwise([self.width, 2 * base, base]):
            layers += [nn.ConvTranspose2d(a, b, 5, 2), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(base, channels, 5, 2), nn.Tanh())
        self.apply(begin)

    def forward(self, code: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (B, 4 * base, 5, 5), 0 or 2, is dropout's part, in training."""
        wide = self.first(code)
        return self.body(wide if kept is None else wide * kept)


def judge(channels: int, base: int) -> nn.Sequential:
    """Squares (B, C, 61, 61) to logits (B, 1, 1, 1): the discriminator of pictures, and the classifier."""
    layers: list[nn.Module] = []
    for a, b in pairwise([channels, base, 2 * base, 4 * base]):
        layers += [nn.Conv2d(a, b, 5, 2), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    found = nn.Sequential(*layers, nn.Conv2d(4 * base, 1, 5))
    return found.apply(begin)


def judge_of_codes(code: int) -> nn.Sequential:
    """Codes (B, code, 1, 1) to one logit (B, 1)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise([code, 128, 64, 32, 16]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(16, 1))


class OcganMethod(AdversarialMethod):
    """Discriminators, classifier, then encoder and decoder; in the last share of the training on codes that were mined."""

    title: ClassVar[str] = "OCGAN (Perera et al. 2019)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        own = settings.ocgan
        self.encoder = self._seeded(lambda: Encoder(self.channels, own.base, own.code), "encoder")
        self.decoder = self._seeded(lambda: Decoder(self.channels, own.base, own.code), "decoder")
        self.of_pictures = self._seeded(lambda: judge(self.channels, own.judge_base), "of_pictures")
        self.of_codes = self._seeded(lambda: judge_of_codes(own.code), "of_codes")
        self.classifier = self._seeded(lambda: judge(self.channels, own.judge_base), "classifier")

    def squares(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] to (B, C, 61, 61) in [-1, 1]."""
        return functional.interpolate(2 * x - 1, size=(SIDE, SIDE), mode="bilinear", align_corners=False)

    def restored(self, made: Tensor, x: Tensor) -> Tensor:
        """Squares back to (B, C, H, W) in [0, 1], as large as `x`."""
        return (functional.interpolate(made, size=x.shape[-2:], mode="bilinear", align_corners=False) + 1) / 2

    def phases(self) -> list[Phase]:
        turns = [
            Turn("discriminators", parameters_of(self.of_pictures, self.of_codes)),
            Turn("classifier", parameters_of(self.classifier)),
            Turn("autoencoder", parameters_of(self.encoder, self.decoder)),
        ]
        train, mined = self.settings.train, self.settings.ocgan.mining
        return [
            phase_of_turns("train", turns, part_of(train, 1 - mined)),
            phase_of_turns("mining", turns, part_of(train, mined)),
        ]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own = self.squares(batch.x), self.settings.ocgan
        noise = own.noise**0.5 * normal(x.shape, batch.numbers("noise"), x)
        code = self.encoder(x + noise)
        free = uniform(code.shape, batch.numbers("code"), code)
        drawn = torch.rand(2, len(x), self.decoder.width, 5, 5, generator=batch.numbers("dropout"))
        kept = ((drawn < 0.5) * 2.0).to(x)
        if batch.turn == "classifier":
            made, again = self.decoder(free, kept[0]), self.decoder(code, kept[1])
            return {"loss": judged(self.classifier(made), False) + judged(self.classifier(again), True)}
        if phase == "mining":
            free = self.mined(free, kept[0])
        made = self.decoder(free, kept[0])
        if batch.turn == "discriminators":
            codes = judged(self.of_codes(free), True) + judged(self.of_codes(code), False)
            pictures = judged(self.of_pictures(x), True) + judged(self.of_pictures(made), False)
            return {"loss": (codes + pictures) / 2, "codes": codes, "pictures": pictures}
        terms = {
            "latent": judged(self.of_codes(code), True),
            "adversarial": judged(self.of_pictures(made), True),
            "reconstruction": (x - self.decoder(code, kept[1])).square().mean() / 2,
        }
        loss = (
            own.latent * terms["latent"] + terms["adversarial"] + own.reconstruction * terms["reconstruction"]
        )
        return {"loss": loss, **terms}

    def mined(self, free: Tensor, kept: Tensor) -> Tensor:
        """Codes after one step towards what the classifier calls made up: where the decoder is worst."""
        inner = torch.atanh(free.detach().clamp(-0.999, 0.999)).requires_grad_()
        with torch.enable_grad():
            loss = judged(self.classifier(self.decoder(torch.tanh(inner), kept)), False) * len(free)
            gradient = torch.autograd.grad(loss, inner)[0]
        return torch.tanh(inner - 2 * gradient).detach()

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.restored(self.decoder(self.encoder(self.squares(x))), x)

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder(self.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        squares = self.squares(x)
        made = self.decoder(self.encoder(squares))
        return error_term(item_mean((squares - made).square()), self.restored(made, x))
