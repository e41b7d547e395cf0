"""AnoGAN (Schlegl et al. 2017) and f-AnoGAN (2019): how well a generator of normal pictures can make an item.

docs/explanation/other-methods.md#anogan has both games, the search, and what differs from the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from esad.models.detector import Phase, Turn, item_mean, phase_of_turns, reduce_items
from esad.models.methods.adversarial.dcgan import LEAST, DcDecoder, DcEncoder, judged
from esad.models.methods.adversarial.players import (
    PLAYED,
    AdversarialMethod,
    gradient_penalty,
    in_evaluation,
    normal,
    start_codes,
)
from esad.models.settings import MethodSettings, OptimiserSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of


def widths(side: int, base: int) -> list[int]:
    """Channels of the residual blocks that halve a side down to 4: 64 pixels have 2, 4, 8, 8 times `base`."""
    found: list[int] = []
    place = side
    while place > LEAST:
        found.append(min(8, 2 ** (len(found) + 1)) * base)
        place //= 2
    return found


class UpBlock(nn.Module):
    """Twice the side; BatchNorm, ReLU and a convolution of 3 x 3, twice, beside a convolution of 1 x 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.beside = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.interpolate(functional.relu(self.norm1(x)), scale_factor=2)
        deep = self.second(functional.relu(self.norm2(self.first(wide))))
        return deep + self.beside(functional.interpolate(x, scale_factor=2))


class DownBlock(nn.Module):
    """Half the side, by means; LayerNorm does not tie the items of a batch together, which the gradient penalty forbids."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, inputs), nn.GroupNorm(1, inputs)
        self.first = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.second = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.beside = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.second(functional.relu(self.norm2(self.first(functional.relu(self.norm1(x))))))
        return functional.avg_pool2d(deep, 2) + self.beside(functional.avg_pool2d(x, 2))


class ResidualGenerator(nn.Module):
    """Codes (B, code, 1, 1) to squares (B, C, side, side) in [-1, 1]."""

    def __init__(self, channels: int, side: int, base: int, code: int) -> None:
        super().__init__()
        sizes = [*reversed(widths(side, base)), base]
        self.first = nn.Linear(code, sizes[0] * LEAST**2)
        blocks = [UpBlock(a, b) for a, b in pairwise(sizes)]
        self.body = nn.Sequential(*blocks, nn.BatchNorm2d(base), nn.ReLU())
        self.last = nn.Conv2d(base, channels, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        start = self.first(code.flatten(1)).reshape(len(code), -1, LEAST, LEAST)
        return torch.tanh(self.last(self.body(start)))


class ResidualCritic(nn.Module):
    """Squares (B, C, side, side) to (B, outputs, 1, 1): a critic of one number, an encoder of many."""

    def __init__(self, channels: int, side: int, base: int, outputs: int) -> None:
        super().__init__()
        sizes = [base, *widths(side, base)]
        blocks = [DownBlock(a, b) for a, b in pairwise(sizes)]
        self.body = nn.Sequential(nn.Conv2d(channels, base, 3, padding=1), *blocks)
        self.last = nn.Linear(sizes[-1] * LEAST**2, outputs)

    def features(self, x: Tensor) -> Tensor:
        """The last map, (B, width, 4, 4)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x).flatten(1))[..., None, None]


class AnoganMethod(AdversarialMethod):
    """A generator against a discriminator; the code of an item is searched for, or given by an encoder trained afterwards."""

    title: ClassVar[str] = "AnoGAN (Schlegl et al. 2017), f-AnoGAN (2019)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        own = settings.anogan
        sizes = (self.channels, self.frame.side, own.base)
        self.searches = own.search == "latent"
        self.has_gradient = not self.searches
        self.generator: nn.Module
        self.discriminator: DcEncoder | ResidualCritic
        if self.searches:
            self.generator = self._seeded(lambda: DcDecoder(*sizes, own.code), "generator")
            self.discriminator = self._seeded(lambda: DcEncoder(*sizes, 1), "discriminator")
        else:
            self.generator = self._seeded(lambda: ResidualGenerator(*sizes, own.code), "generator")
            self.discriminator = self._seeded(lambda: ResidualCritic(*sizes, 1), "discriminator")
            self.encoder = self._seeded(lambda: ResidualCritic(*sizes, own.code), "encoder")

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        latent = settings.anogan.search == "latent"
        chosen = ("feature_weight", "search_steps", "search_rate") if latent else (
            "critic_steps", "penalty", "kappa", "encoder_steps", "encoder_rate",
        )  # fmt: skip
        return (*PLAYED, *(f"anogan.{name}" for name in ("search", "base", "code", *chosen)))

    def phases(self) -> list[Phase]:
        own, generator = self.settings.anogan, Turn("generator", parameters_of(self.generator))
        discriminator = parameters_of(self.discriminator)
        if self.searches:
            return [
                phase_of_turns(
                    "train", [Turn("discriminator", discriminator), generator], self.settings.train
                )
            ]
        critic = Turn("discriminator", discriminator, repeats=own.critic_steps, fresh=True)
        slow = OptimiserSettings(
            optimiser="rmsprop", learning_rate=own.encoder_rate, schedule="constant", steps=own.encoder_steps
        )
        encoder = Turn("encoder", parameters_of(self.encoder))
        return [
            phase_of_turns("train", [critic, generator], self.settings.train),
            phase_of_turns("encoder", [encoder], slow),
        ]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own = self.frame.squares(batch.x), self.settings.anogan
        if phase == "encoder":
            in_evaluation(self.generator, self.discriminator)
            pixels, features = (term.mean() for term in self.encoded_terms(x)[:2])
            return {"loss": pixels + own.kappa * features, "pixels": pixels, "features": features}
        made = self.generator(normal((len(x), own.code, 1, 1), batch.numbers("code"), x))
        if batch.turn == "generator":
            verdict = self.discriminator(made)
            return {"loss": judged(verdict, True) if self.searches else -verdict.mean()}
        made = made.detach()
        if self.searches:
            return {"loss": judged(self.discriminator(x), True) + judged(self.discriminator(made), False)}
        distance = self.discriminator(x).mean() - self.discriminator(made).mean()
        penalty = gradient_penalty(self.discriminator, x, made, batch.numbers("penalty"))
        return {"loss": own.penalty * penalty - distance, "distance": distance, "penalty": penalty}

    def encoded_terms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f-AnoGAN's two terms (B,) of squares `x`, and what the generator made of their codes."""
        made = self.generator(self.encoder(x))
        features = self.discriminator.features(x) - self.discriminator.features(made)
        return item_mean((x - made).square()), item_mean(features.square()), made

    def searched_terms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """AnoGAN's two terms (B,) of pictures `x` (B, C, H, W), and the square, at the end of a search per item.

        The sum over the batch is minimised, in which each item's code has its own part, by Adam, whose steps are each number's
        own: no item sees another.
        """
        own = self.settings.anogan
        with torch.inference_mode(False), torch.enable_grad():
            squares = self.frame.squares(x.detach().clone())
            features = self.discriminator.features(squares).detach()
            z = start_codes(x, self.seeds[0], own.code)[..., None, None].clone().requires_grad_()
            optimiser = torch.optim.Adam([z], lr=own.search_rate)
            for step in range(own.search_steps + 1):
                made = self.generator(z)
                pixels = reduce_items((squares - made).abs(), 1, "sum")
                apart = reduce_items((features - self.discriminator.features(made)).abs(), 1, "sum")
                if step < own.search_steps:
                    loss = (1 - own.feature_weight) * pixels + own.feature_weight * apart
                    z.grad = torch.autograd.grad(loss.sum(), z)[0]
                    optimiser.step()
        return pixels.detach(), apart.detach(), made.detach()

    def reconstruct(self, x: Tensor) -> Tensor | None:
        """By the encoder; a search is for scores alone."""
        return (
            None
            if self.searches
            else self.frame.pictures(self.generator(self.encoder(self.frame.squares(x))))
        )

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {} if self.searches else {"z": self.encoder(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        if self.searches:
            pixels, features, made = self.searched_terms(x)
            found = {"x_hat": self.frame.pictures(made), "held": made}
            return {**self._searched_score(pixels, features), **found}
        pixels, features, made = self.encoded_terms(self.frame.squares(x))
        score = pixels + self.settings.anogan.kappa * features
        return {"eq9": score, "reconstruction": pixels, "norm": features, "x_hat": self.frame.pictures(made)}

    def held_terms(self, x: Tensor, held: Tensor) -> dict[str, Tensor]:
        """By the squares `held` (B, C, side, side) that the search ended with."""
        squares, judge = self.frame.squares(x), self.discriminator
        pixels = reduce_items((squares - held).abs(), 1, "sum")
        return self._searched_score(
            pixels, reduce_items((judge.features(squares) - judge.features(held)).abs(), 1, "sum")
        )

    def _searched_score(self, pixels: Tensor, features: Tensor) -> dict[str, Tensor]:
        weight = self.settings.anogan.feature_weight
        return {
            "eq9": (1 - weight) * pixels + weight * features, "reconstruction": pixels, "norm": features,
        }  # fmt: skip
