"""ADGAN (Deecke et al. 2018): how near a generator of normal pictures comes to an item when code and generator are fitted to it.

docs/explanation/other-methods.md#adgan says what differs from the published code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from esad.models.detector import Phase, Turn, error_term, item_mean, phase_of_turns
from esad.models.methods.adversarial.dcgan import LEAST
from esad.models.methods.adversarial.players import AdversarialMethod, gradient_penalty, normal, start_codes
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.turns import parameters_of

BETA1 = 0.5
"""Of Adam, in the search."""


class Generator(nn.Module):
    """Codes (B, code) to squares (B, C, side, side) in [-1, 1]."""

    def __init__(self, channels: int, side: int, base: int, code: int) -> None:
        super().__init__()
        doublings = (side // LEAST).bit_length() - 1
        sizes = [4 * base, *([2 * base] if doublings > 1 else []), *[base] * (doublings - 2)]
        self.first = nn.Linear(code, sizes[0] * LEAST**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(sizes[0]), nn.ReLU()]
        for a, b in pairwise(sizes):
            layers += [nn.ConvTranspose2d(a, b, 3, 2, 1, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(sizes[-1], channels, 3, 2, 1, 1), nn.Tanh())

    def forward(self, code: Tensor) -> Tensor:
        return self.body(self.first(code).reshape(len(code), -1, LEAST, LEAST))


class Critic(nn.Module):
    """Squares (B, C, side, side) to (B,). LayerNorm in place of BatchNorm, which would tie the items of a batch together."""

    def __init__(self, channels: int, side: int, base: int) -> None:
        super().__init__()
        halvings = (side // LEAST).bit_length() - 1
        sizes = [channels, *(base * 2**place for place in range(halvings))]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(1, b), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(sizes[-1] * LEAST**2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, 0]


class AdganMethod(AdversarialMethod):
    """A Wasserstein game with a gradient penalty; then, for each item and start, codes and a copy of the generator are fitted."""

    title: ClassVar[str] = "ADGAN (Deecke et al. 2018)"
    has_gradient: bool = False
    searches: bool = True

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        own, side = settings.adgan, self.frame.side
        self.generator = self._seeded(lambda: Generator(self.channels, side, own.base, own.code), "generator")
        self.critic = self._seeded(lambda: Critic(self.channels, side, own.base), "critic")

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        unused = () if settings.adgan.adapt_generator else ("adgan.generator_rate", "adgan.at_once")
        read = super().settings_read(settings)[:-1]
        return (
            *read,
            *(
                name
                for name in (f"adgan.{field}" for field in type(settings.adgan).model_fields)
                if name not in unused
            ),
        )

    def phases(self) -> list[Phase]:
        critic = Turn(
            "critic", parameters_of(self.critic), repeats=self.settings.adgan.critic_steps, fresh=True
        )
        turns = [critic, Turn("generator", parameters_of(self.generator))]
        return [phase_of_turns("train", turns, self.settings.train)]

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own = self.frame.squares(batch.x), self.settings.adgan
        made = self.generator(normal((len(x), own.code), batch.numbers("code"), x))
        if batch.turn == "generator":
            return {"loss": -self.critic(made).mean()}
        made = made.detach()
        distance = self.critic(x).mean() - self.critic(made).mean()
        penalty = gradient_penalty(self.critic, x, made, batch.numbers("penalty"))
        return {"loss": own.penalty * penalty - distance, "distance": distance, "penalty": penalty}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        own = self.settings.adgan
        errors, made, held = torch.zeros(len(x)).to(x), torch.zeros_like(x), []
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone()
            squares = self.frame.squares(x)
            for number in range(own.starts):
                codes = start_codes(x, self.seeds[0], own.code, number).clone()
                found = torch.cat([*self._searches(squares, codes)])
                errors = errors + item_mean((squares - found).square()) / own.starts
                made = made + self.frame.pictures(found) / own.starts
                held.append(found)
        return {**error_term(errors.detach(), made.detach()), "held": torch.stack(held, 1)}

    def held_terms(self, x: Tensor, held: Tensor) -> dict[str, Tensor]:
        """By the squares `held` (B, starts, C, side, side) that the searches ended with."""
        squares = self.frame.squares(x)
        errors = (squares[:, None] - held).square().flatten(2).mean(2).mean(1)
        return error_term(errors, self.frame.pictures(held.mean(1)))

    def _searches(self, squares: Tensor, codes: Tensor) -> Iterator[Tensor]:
        """What the generator makes at the end of each item's search, some items at a time."""
        own = self.settings.adgan
        size = own.at_once if own.adapt_generator else max(1, len(squares))
        for start in range(0, len(squares), size):
            here = slice(start, start + size)
            yield (
                self._adapted(squares[here], codes[here])
                if own.adapt_generator
                else self._coded(squares[here], codes[here])
            )

    def _coded(self, squares: Tensor, codes: Tensor) -> Tensor:
        """The search of codes alone."""
        own, z = self.settings.adgan, codes.requires_grad_()
        optimiser = torch.optim.Adam([z], lr=own.code_rate, betas=(BETA1, 0.999))
        for _ in range(own.search_steps + 1):
            error = item_mean((squares - self.generator(z)).square()).sum()
            z.grad = torch.autograd.grad(error, z)[0]
            optimiser.step()
        return self.generator(z).detach()

    def _adapted(self, squares: Tensor, codes: Tensor) -> Tensor:
        """The search of codes and generators in turns, a copy of all weights for each item: what one item does to its copy no
        other sees, and the method's own weights stay as they are."""
        own, z = self.settings.adgan, codes.detach().clone().requires_grad_()
        weights = {
            name: value.detach().expand(len(z), *value.shape).clone().requires_grad_()
            for name, value in self.generator.named_parameters()
        }
        buffers = {name: value.clone() for name, value in self.generator.named_buffers()}
        # functional_call puts weights in for a moment: threads must not meet
        generator = deepcopy(self.generator)

        def make(own_weights: dict[str, Tensor], code: Tensor) -> Tensor:
            return functional_call(generator, (own_weights, buffers), (code[None],))[0]

        made = vmap(make, randomness="error")
        of_codes = torch.optim.Adam([z], lr=own.code_rate, betas=(BETA1, 0.999))
        of_weights = torch.optim.Adam([*weights.values()], lr=own.generator_rate, betas=(BETA1, 0.999))
        for _ in range(own.search_steps):
            z.grad = torch.autograd.grad(item_mean((squares - made(weights, z)).square()).sum(), z)[0]
            of_codes.step()
            error = item_mean((squares - made(weights, z)).square()).sum()
            for value, gradient in zip(
                weights.values(), torch.autograd.grad(error, [*weights.values()]), strict=True
            ):
                value.grad = gradient
            of_weights.step()
        z.grad = torch.autograd.grad(item_mean((squares - made(weights, z)).square()).sum(), z)[0]
        of_codes.step()
        return made(weights, z).detach()
