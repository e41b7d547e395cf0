"""PIAD (Tuluptceva et al. 2019): an adversarial autoencoder with a Wasserstein critic at each end; score: reconstruction error.

docs/explanation/other-methods.md#piad says what stands for the perceptual loss, and how the loss is weighed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from esad.models.detector import Phase, Turn, error_term, item_mean, phase_at_once, phase_of_turns
from esad.models.methods.adversarial.anogan import widths
from esad.models.methods.adversarial.dcgan import LEAST
from esad.models.methods.adversarial.players import PLAYED, AdversarialMethod, gradient_penalty, normal
from esad.models.methods.pretrained.backbone import CAUTION, Backbone
from esad.models.methods.pretrained.perceptual import RelativePerceptualError
from esad.models.settings import MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool
from esad.models.training.turns import parameters_of

CRITICS_RATE = 2.5
"""Learning rate of the critics as a multiple of encoder's and decoder's: 5e-4 to 2e-4."""
SLOPE = 0.2


class Block(nn.Module):
    """Activation and convolution of 3 x 3, twice, beside a convolution of 1 x 1; twice or half the side, or the same."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.beside = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale > 1:
            x = functional.interpolate(x, scale_factor=2)
        deep = self.second(functional.leaky_relu(self.first(functional.leaky_relu(x, SLOPE)), SLOPE))
        out = deep + self.beside(x)
        return functional.avg_pool2d(out, 2) if self.scale < 1 else out


def downwards(channels: int, sizes: Sequence[int], outputs: int) -> nn.Sequential:
    """Squares (B, C, side, side) to (B, outputs, 1, 1), by the channels `sizes`."""
    blocks = [Block(a, b, 0.5) for a, b in pairwise(sizes)]
    last = (nn.LeakyReLU(SLOPE), nn.Conv2d(sizes[-1], outputs, LEAST))
    return nn.Sequential(
        nn.Conv2d(channels, sizes[0], 3, padding=1), Block(sizes[0], sizes[0]), *blocks, *last
    )


def upwards(channels: int, sizes: Sequence[int], code: int) -> nn.Sequential:
    """The mirror: codes (B, code, 1, 1) to squares (B, C, side, side) in [-1, 1]."""
    turned = [*reversed(sizes)]
    blocks = [Block(a, b, 2.0) for a, b in pairwise(turned)]
    last = (
        Block(sizes[0], sizes[0]),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(sizes[0], channels, 3, padding=1),
        nn.Tanh(),
    )
    return nn.Sequential(nn.ConvTranspose2d(code, turned[0], LEAST), *blocks, *last)


class ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied: one loss weighs otherwise for what lies before than for what lies behind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.saved_tensors[0], None


class PiadMethod(AdversarialMethod):
    """The critics' turns, then encoder's and decoder's; how much they mind the reconstruction follows from gradients."""

    title: ClassVar[str] = "PIAD (Tuluptceva et al. 2019), with EfficientNet-Lite0 or L1"
    caution: ClassVar[str] = CAUTION
    weights: Tensor
    """(2,): of the reconstruction in the encoder's and the decoder's loss."""
    measured: Tensor
    """() whether `weights` were measured."""

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        own, side, channels = settings.piad, self.frame.side, self.channels
        sizes = [own.base, *widths(side, own.base)]
        judging = [own.base, *(min(4 * own.base, width) for width in sizes[1:])]
        hidden = own.hidden
        self.encoder = self._seeded(lambda: downwards(channels, sizes, own.code), "encoder")
        self.decoder = self._seeded(lambda: upwards(channels, sizes, own.code), "decoder")
        self.of_pictures = self._seeded(lambda: downwards(channels, judging, 1), "of_pictures")
        self.of_codes = self._seeded(
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(own.code, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, hidden),
                nn.LeakyReLU(SLOPE), nn.Linear(hidden, 1),
            ),
            "of_codes",
        )  # fmt: skip
        self.perceptual = (
            RelativePerceptualError(Backbone(settings.backbone, channels), own.layer, "deviation")
            if own.error == "perceptual"
            else None
        )
        self.register_buffer("weights", torch.ones(2))
        self.register_buffer("measured", torch.zeros(()))

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        own = tuple(f"piad.{name}" for name in type(settings.piad).model_fields if name != "layer")
        return (*PLAYED, *own, *(("backbone", "piad.layer") if settings.piad.error == "perceptual" else ()))

    def phases(self) -> list[Phase]:
        critics = parameters_of(self.of_pictures, self.of_codes)
        turns = [
            Turn("critics", critics, rate=CRITICS_RATE, repeats=self.settings.piad.critic_steps, fresh=True),
            Turn("autoencoder", parameters_of(self.encoder, self.decoder)),
        ]
        statistics = [phase_at_once("statistics")] if self.perceptual else []
        return [*statistics, phase_of_turns("train", turns, self.settings.train)]

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if phase == "statistics" and self.perceptual:
            self.perceptual.fit_to_unlabelled(items)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        x, own = self.frame.squares(batch.x), self.settings.piad
        drawn = normal((len(x), own.code, 1, 1), batch.numbers("code"), x)
        if batch.turn == "critics":
            made, z = self.decoder(drawn).detach(), self.encoder(x).detach()
            numbers = batch.numbers("penalty")
            pictures = self._critics_loss(self.of_pictures, x, made, numbers)
            codes = self._critics_loss(self.of_codes, drawn, z, numbers)
            return {"loss": pictures + codes, "pictures": pictures, "codes": codes}
        if (
            batch.keys[0][1] - (self.perceptual is not None)
        ) % own.reweigh_every == 0:  # after a step for statistics
            self._weigh(x, drawn)
        of_encoder, of_decoder = self.weights
        adversarial, reconstruction = self._aims(x, drawn, of_encoder / of_decoder)
        loss = adversarial + of_decoder * reconstruction
        return {
            "loss": loss, "adversarial": adversarial, "reconstruction": reconstruction, "encoder_weight": of_encoder.clone(),
            "decoder_weight": of_decoder.clone(),
        }  # fmt: skip

    def _critics_loss(
        self, critic: nn.Module, real: Tensor, made: Tensor, numbers: torch.Generator
    ) -> Tensor:
        own, on_real, on_made = self.settings.piad, critic(real), critic(made)
        drift = on_real.square().mean() + on_made.square().mean()
        penalty = gradient_penalty(critic, real, made, numbers)
        return on_made.mean() - on_real.mean() + own.penalty * penalty + own.drift * drift

    def _aims(self, x: Tensor, drawn: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        """What encoder and decoder have against the critics, and their error, its gradient times `factor` in the encoder."""
        z = self.encoder(x)
        adversarial = -self.of_pictures(self.decoder(drawn)).mean() - self.of_codes(z).mean()
        return adversarial, self._errors(x, self.decoder(ScaledGradient.apply(z, factor))).mean()

    def _errors(self, x: Tensor, made: Tensor) -> Tensor:
        """(B,) of squares in [-1, 1]."""
        if self.perceptual is None:
            return item_mean((x - made).abs())
        return self.perceptual(self.frame.pictures(x), self.frame.pictures(made))

    def _weigh(self, x: Tensor, drawn: Tensor) -> None:
        """Move each network's weight to the median ratio, over its tensors, of the norms of the two aims' gradients."""
        groups = [[*self.encoder.parameters()], [*self.decoder.parameters()]]
        everything = [each for group in groups for each in group]
        aims = self._aims(x, drawn, torch.ones(()).to(x))
        norms = [
            [gradient.norm() for gradient in torch.autograd.grad(aim, everything, retain_graph=True)]
            for aim in aims
        ]
        ratios = torch.stack([against / own.clamp(min=1e-12) for against, own in zip(*norms, strict=True)])
        split = len(groups[0])
        found = torch.stack([ratios[:split].median(), ratios[split:].median()]).clamp(1e-6, 1e6)
        share = torch.where(self.measured > 0, self.settings.piad.smoothing, 1.0)
        with torch.no_grad():
            self.weights.lerp_(found.to(self.weights), share.to(self.weights))
            self.measured.fill_(1.0)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.frame.pictures(self.decoder(self.encoder(self.frame.squares(x))))

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        squares = self.frame.squares(x)
        made = self.decoder(self.encoder(squares))
        return error_term(self._errors(squares, made), self.frame.pictures(made))
