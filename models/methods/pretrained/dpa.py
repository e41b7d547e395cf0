"""DPA, the deep perceptual autoencoder (Shvetsova et al. 2021): a small autoencoder judged by what a frozen network sees.

docs/explanation/other-methods.md#dpa has its networks and what differs from the published code, its network first of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from esad.models.detector import UNLABELLED_TRAINING, Method, Phase, error_term, phase_at_once
from esad.models.methods.adversarial.dcgan import LEAST, Frame
from esad.models.methods.pretrained.backbone import CAUTION, Backbone
from esad.models.methods.pretrained.perceptual import RelativePerceptualError
from esad.models.networks import PictureScaler, at_least_float32
from esad.models.settings import DpaSettings, MethodSettings
from esad.models.training.batch import Batch
from esad.models.training.item_pool import ItemPool

SLOPE = 0.2


class Residual(nn.Module):
    """Twice LeakyReLU and 3x3 convolution, no normalisation, beside a shortcut; half or twice the side, or the same."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        deep = self._scaled(functional.leaky_relu(x, SLOPE))
        kept = self._scaled(x)
        deep = self.second(functional.leaky_relu(self.first(deep), SLOPE))
        return deep + (kept if self.shortcut is None else self.shortcut(kept))

    def _scaled(self, x: Tensor) -> Tensor:
        if self.scale < 1:
            return functional.avg_pool2d(x, 2)
        return functional.interpolate(x, scale_factor=2) if self.scale > 1 else x


def encoder(channels: int, side: int, own: DpaSettings) -> nn.Sequential:
    """Squares (B, C, side, side) to codes (B, code, s, s) of the side s of the settings."""
    width, last = own.width, LEAST if own.side == 1 else own.side
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, padding=1),
        Residual(width, width),
        Residual(width, width),
    ]
    while side > last:
        layers += [Residual(width, width, 0.5), Residual(width, width)]
        side //= 2
    if own.side == 1:
        return begun(*layers, nn.LeakyReLU(SLOPE), nn.Conv2d(width, own.code, LEAST))
    return begun(*layers, Residual(width, own.code))


def decoder(channels: int, side: int, own: DpaSettings) -> nn.Sequential:
    """Codes to squares, not limited to [-1, 1]."""
    width, now = own.width, LEAST if own.side == 1 else own.side
    layers: list[nn.Module] = [Residual(own.code, width)]
    if own.side == 1:  # padded by 3, a kernel of 4 makes 4 x 4 of 1 x 1
        layers = [nn.LeakyReLU(SLOPE), nn.Conv2d(own.code, width, LEAST, padding=LEAST - 1)]
    while now < side:
        layers += [Residual(width, width, 2.0), Residual(width, width)]
        now *= 2
    return begun(*layers, nn.LeakyReLU(SLOPE), nn.Conv2d(width, channels, 3, padding=1))


def begun(*layers: nn.Module) -> nn.Sequential:
    """The layers with the first weights of the published code."""
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, SLOPE, "fan_out", "leaky_relu")
    return network


class DpaMethod(Method):
    """Statistics of the backbone's channels, then an autoencoder; unlabelled items only."""

    title: ClassVar[str] = "DPA (Shvetsova et al. 2021), with EfficientNet-Lite0"
    caution: ClassVar[str] = CAUTION
    pictures_only: ClassVar[bool] = True

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds)
        assert isinstance(self.scaler, PictureScaler)
        channels, height, width = self.scaler.scaled_shape
        own, self.frame = settings.dpa, Frame(height, width)
        self.encoder = self._seeded(lambda: encoder(channels, self.frame.side, own), "encoder1")
        self.decoder = self._seeded(lambda: decoder(channels, self.frame.side, own), "decoder")
        self.error = RelativePerceptualError(Backbone(settings.backbone, channels), own.layer, own.divisor)

    @classmethod
    def settings_read(cls, settings: MethodSettings) -> tuple[str, ...]:
        return ("network.channels", "backbone", "dpa", *UNLABELLED_TRAINING)

    def phases(self) -> list[Phase]:
        trained = [*self.encoder.parameters(), *self.decoder.parameters()]
        return [
            phase_at_once("statistics"),
            Phase("train", trained, self.settings.train, labelled=False),
        ]

    def begin(self, phase: str, items: ItemPool, validation: ItemPool) -> None:
        if phase == "statistics":
            self.error.fit_to_unlabelled(items)

    def reconstruct(self, x: Tensor) -> Tensor:
        made = self.decoder(self.encoder(self.frame.squares(x)))
        return at_least_float32(self.frame.pictures(made))

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        loss = self.error(batch.x, self.reconstruct(batch.x)).mean()
        return {"loss": loss, "reconstruction": loss.detach()}

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.encoder(self.frame.squares(x))}

    def score_terms(self, x: Tensor) -> dict[str, Tensor]:
        x_hat = self.reconstruct(x)
        return error_term(self.error(x, x_hat), x_hat)
