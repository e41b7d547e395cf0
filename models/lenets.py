"""Deep SAD's LeNets for pictures of 28 and 32 pixels, the "shallow" networks of the paper's Table 5.

Pictures are (B, C, H, W) float in [0, 1], codes are vectors (B, K). other-methods.md#lenets has the layers one by one.

`PAGE.md#…` are headings of the pages in docs/explanation/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from esad.models.networks import at_least_float32

EPS, SLOPE = 1e-4, 0.01
"""Of BatchNorm and of LeakyReLU, in all of Deep SAD's networks (other-methods.md#deep-sad-networks)."""
GREY_SIDE = 28
GREY_PLACES = 4
"""Side of the map that the decoder of 28 pixels begins with; doubled three times, and cut by a pixel all round on the way."""
LEAST_CHANNELS = 2


@dataclass(frozen=True)
class Plan:
    """What the three LeNets differ in."""

    convolutions: tuple[int, ...]
    """Channels of the encoder's convolutions; the decoder has them backwards."""
    start: int
    """Channels of the map that the decoder begins with."""
    colour: bool
    """Pictures of three channels and sides of a multiple of 8, or grey ones of 28 x 28."""
    dense: bool = False
    """A hidden layer, as long as the decoder's first map, between the last map and the code."""
    grey_code: int = 0
    """Size of the code of a picture of 28 x 28. In colour it is the decoder's first map: 8 numbers for each 8 x 8 pixels."""


PLANS = {
    "lenet-mnist": Plan((8, 4), start=2, colour=False, grey_code=32),
    "lenet-fashion-mnist": Plan((16, 32), start=8, colour=False, dense=True, grey_code=64),
    "lenet-cifar10": Plan((32, 64, 128), start=8, colour=True),
}


class LeNet:
    """Builds encoders and decoders of one of PLANS for pictures of one shape."""

    def __init__(
        self, form: str, shape: tuple[int, int, int], width: float, affine: bool, bias: bool
    ) -> None:
        """`form` of PLANS, `shape` (C, H, W) of scaled pictures, `width`: share of the convolutions' channels.

        `affine`: BatchNorm with scale and shift, `bias`: the last layer with bias; Deep SAD's have neither.
        ValueError for pictures that the network is not made for.
        """
        self.plan, self.channels, (height, across) = PLANS[form], shape[0], shape[1:]
        self._check(form, shape)
        self.affine, self.bias = affine, bias
        self.convolutions = [max(LEAST_CHANNELS, round(each * width)) for each in self.plan.convolutions]
        pools = 2 ** len(self.convolutions)
        self.flat = self.convolutions[-1] * (height // pools) * (across // pools)
        places = (height // 8, across // 8) if self.plan.colour else (GREY_PLACES, GREY_PLACES)
        self.first = (self.plan.start, *places)
        self.hidden = self.plan.start * places[0] * places[1]
        self.code = self.plan.grey_code or self.hidden

    def _check(self, form: str, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        if self.plan.colour:
            fits, wanted = (
                channels == 3 and height % 8 == 0 and width % 8 == 0,
                "pictures of 3 channels whose sides are multiples of 8 pixels",
            )
            remedy = "esad images --size 32 resizes, and network.channels = 3 repeats grey"
        else:
            fits = (channels, height, width) == (1, GREY_SIDE, GREY_SIDE)
            wanted = f"pictures of 1 channel and {GREY_SIDE} x {GREY_SIDE} pixels"
            remedy = f"esad images --size {GREY_SIDE} --colour grey makes such, with network.channels = null"
        if not fits:
            raise ValueError(
                f"network.form = {form} takes {wanted}; these have {channels} and {height} x {width} (height x width). "
                f"{remedy}; network.form = table6 takes any."
            )

    def encoder(self) -> LeNetStack:
        """(B, C, H, W) -> (B, `code`)."""
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([self.channels, *self.convolutions]):
            layers += [
                nn.Conv2d(inputs, outputs, 5, padding=2, bias=False),
                *self._activated(nn.BatchNorm2d, outputs),
            ]
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        last = self.flat
        if self.plan.dense:
            last = self.hidden
            layers += [nn.Linear(self.flat, last, bias=False), *self._activated(nn.BatchNorm1d, last)]
        return LeNetStack(*layers, nn.Linear(last, self.code, bias=self.bias))

    def decoder(self) -> LeNetStack:
        """(B, `code`) -> (B, C, H, W) in [0, 1]."""
        layers: list[nn.Module] = []
        if self.plan.dense:
            layers += [
                nn.Linear(self.code, self.hidden, bias=False),
                nn.BatchNorm1d(self.hidden, EPS, affine=self.affine),
            ]
        layers += [nn.Unflatten(1, self.first), nn.LeakyReLU(SLOPE)]
        widths = [self.plan.start, *self.convolutions[::-1], self.channels]
        for place, (inputs, outputs) in enumerate(pairwise(widths)):
            final = place == len(widths) - 2
            if place or not self.plan.colour:
                layers.append(nn.Upsample(scale_factor=2))
            cut = place == 1 and not self.plan.colour  # 16 x 16 to 14 x 14
            layers.append(
                nn.ConvTranspose2d(inputs, outputs, 5, padding=3 if cut else 2, bias=self.bias and final)
            )
            if self.plan.colour:
                nn.init.xavier_uniform_(layers[-1].weight, nn.init.calculate_gain("leaky_relu"))  # type: ignore[arg-type]
            if not final:
                layers += self._activated(nn.BatchNorm2d, outputs)
        return LeNetStack(*layers, nn.Sigmoid())

    def _activated(self, norm: Callable[..., nn.Module], features: int) -> list[nn.Module]:
        return [norm(features, EPS, affine=self.affine), nn.LeakyReLU(SLOPE, inplace=True)]


class LeNetStack(nn.Module):
    """Layers one after the other; what comes out is no 16-bit type."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_float32(self.layers(x))
