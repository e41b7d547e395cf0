"""Deep SAD's LeNets for pictures of 28 and 32 pixels, the "shallow" networks of the paper's Table 5.

Pictures are (B, C, H, W) float in [0, 1], codes are vectors (B, K). other-methods.md#lenets has the layers one by one.

`PAGE.md#…` are headings of the pages in docs/explanation/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
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
        layers: list[nn.Module] = [
            PooledConvolution(
                nn.Conv2d(inputs, outputs, 5, padding=2, bias=False),
                *self._activated(nn.BatchNorm2d, outputs),
                nn.MaxPool2d(2),
            )
            for inputs, outputs in pairwise([self.channels, *self.convolutions])
        ]
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
            cut = place == 1 and not self.plan.colour  # 16 x 16 to 14 x 14
            convolution = nn.ConvTranspose2d(
                inputs, outputs, 5, padding=3 if cut else 2, bias=self.bias and final
            )
            if self.plan.colour:
                nn.init.xavier_uniform_(convolution.weight, nn.init.calculate_gain("leaky_relu"))
            doubled = place > 0 or not self.plan.colour
            block = [convolution, *([] if final else self._activated(nn.BatchNorm2d, outputs))]
            layers += [DoubledConvolution(nn.Upsample(scale_factor=2), *block)] if doubled else block
        return LeNetStack(*layers, nn.Sigmoid())

    def _activated(self, norm: Callable[..., nn.Module], features: int) -> list[nn.Module]:
        return [norm(features, EPS, affine=self.affine), nn.LeakyReLU(SLOPE, inplace=True)]


def _shares(taps: int) -> Tensor:
    """(5, 2, taps) 0 and 1: which weight u of five joins an even (0) or odd (1) output to which of its inputs.

    An output is a convolution of inputs that go by pairs. Taps are 3 where both of a pair are the same number, as in
    a doubled row (pairs -1, 0, 1 around the output's), and 6 where each has its own: the pair times 2, plus 0 or 1.
    """
    shares = torch.zeros(5, 2, taps)
    for odd in range(2):
        for u in range(5):
            place = odd + u  # counted from the first input of the pair before
            shares[u, odd, place // 2 if taps == 3 else place] = 1
    return shares


def _in_both_axes(shares: Tensor) -> Tensor:
    """The same of rows and columns: (25, 4, taps, taps) from (5, 2, taps)."""
    taps = shares.shape[-1]
    return torch.einsum("upa,vqb->uvpqab", shares, shares).reshape(25, 4, taps, taps)


OF_DOUBLED = _in_both_axes(_shares(3)).flip(0)  # flipped: a transposed convolution turns its weights round
OF_PAIRS = (
    _in_both_axes(_shares(6))
    .unflatten(2, (3, 2))
    .unflatten(4, (3, 2))
    .permute(0, 1, 3, 5, 2, 4)
    .flatten(2, 3)
)
"""(25, 4 places of an output in its square of 2 x 2, 4 of an input, 3, 3)."""


class PooledConvolution(nn.Sequential):
    """A convolution of 5 x 5, what follows it, and 2 x 2 max pooling, faster on a CPU for few channels.

    Vectors there are 16 channels long. So the four outputs that are pooled into one become channels of a convolution of 3 x 3
    over squares of 2 x 2 pixels: the same sums, each weight at its places, and zeros elsewhere. BatchNorm does not mind where
    in a map a number stands, and LeakyReLU, which rises everywhere, gives the same after the pooling, of a quarter as many.
    """

    def forward(self, x: Tensor) -> Tensor:
        convolution, *norm, activation, _ = self
        assert isinstance(convolution, nn.Conv2d)
        outputs, inputs = convolution.weight.shape[:2]
        few = inputs == 1 or outputs < 16 or (inputs < 16 and x.requires_grad)
        if not few or not _by_squares(x):
            return super().forward(x)
        weight = (convolution.weight.flatten(2) @ OF_PAIRS.to(x).flatten(1)).unflatten(2, (4, 4, 3, 3))
        weight = weight.permute(2, 0, 3, 1, 4, 5).flatten(2, 3).flatten(0, 1)
        bias = None if convolution.bias is None else convolution.bias.repeat(4)
        squares = x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
        y = nn.functional.conv2d(squares.permute(0, 3, 1, 2), weight, bias, padding=1)
        y = y.permute(0, 2, 3, 1).unflatten(3, (4, outputs)).flatten(2, 3).permute(0, 3, 1, 2)
        for layer in norm:
            y = layer(y)
        return activation(nn.functional.max_pool2d(y, (1, 4)))


class DoubledConvolution(nn.Sequential):
    """A map doubled by nearest neighbours, a transposed convolution of 5 x 5, and what follows it, faster on a CPU.

    Of a doubled map, 5 x 5 numbers are 3 x 3 different ones. So the four outputs of a square of 2 x 2 become channels of a
    convolution of 3 x 3 over the map as it was, with sums of the weights: about a third of the products.
    """

    def forward(self, x: Tensor) -> Tensor:
        convolution = self[1]
        assert isinstance(convolution, nn.ConvTranspose2d)
        if not _by_squares(x):
            return super().forward(x)
        weight = (convolution.weight.flatten(2) @ OF_DOUBLED.to(x).flatten(1)).unflatten(2, (4, 3, 3))
        weight = weight.permute(1, 2, 0, 3, 4).flatten(0, 1)
        bias = None if convolution.bias is None else convolution.bias.repeat_interleave(4)
        y = nn.functional.pixel_shuffle(nn.functional.conv2d(x, weight, bias, padding=1), 2)
        if convolution.padding[0] == 3:
            y = y[..., 1:-1, 1:-1].contiguous(memory_format=torch.channels_last)
        for layer in list(self)[2:]:
            y = layer(y)
        return y


def _by_squares(x: Tensor) -> bool:
    """Whether maps are computed by squares of 2 x 2: an exported network has its layers as they are."""
    return x.device.type == "cpu" and not torch.compiler.is_exporting()


class LeNetStack(nn.Module):
    """Layers one after the other; what comes out is no 16-bit type."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_float32(self.layers(x))
