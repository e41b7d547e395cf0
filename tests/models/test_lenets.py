"""Deep SAD's LeNets layer by layer: as its code has them, their sizes by hand, and what does not fit them."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import (
    batch_norm,
    conv2d,
    conv_transpose2d,
    interpolate,
    leaky_relu,
    linear,
    max_pool2d,
)

from esad.models.lenets import PLANS, LeNet
from esad.models.methods.registry import build
from esad.models.settings import MethodSettings

SHAPES = {"lenet-mnist": (1, 28, 28), "lenet-fashion-mnist": (1, 28, 28), "lenet-cifar10": (3, 32, 32)}
CODES = {"lenet-mnist": 32, "lenet-fashion-mnist": 64, "lenet-cifar10": 128}


def as_published(form: str) -> LeNet:
    return LeNet(form, SHAPES[form], 1.0, affine=False, bias=False)


def activated(x: torch.Tensor) -> torch.Tensor:
    """BatchNorm of a batch, and LeakyReLU."""
    return leaky_relu(batch_norm(x, None, None, training=True, eps=1e-4), 0.01)


def pooled(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return max_pool2d(activated(conv2d(x, weight, padding=2)), 2)


def doubled(x: torch.Tensor) -> torch.Tensor:
    return interpolate(x, scale_factor=2)


def encoded(form: str, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """The encoder of Deep SAD's code, written out."""
    *convolutions, last = weights
    if form == "lenet-fashion-mnist":
        first, second, dense = convolutions
        x = pooled(pooled(x, first), second).flatten(1)
        return linear(activated(linear(x, dense)), last)
    for weight in convolutions:
        x = pooled(x, weight)
    return linear(x.flatten(1), last)


def decoded(form: str, z: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """The decoder of Deep SAD's code, written out."""
    if form == "lenet-cifar10":
        one, two, three, four = weights
        x = activated(conv_transpose2d(leaky_relu(z.reshape(-1, 8, 4, 4), 0.01), one, padding=2))
        x = activated(conv_transpose2d(doubled(x), two, padding=2))
        x = activated(conv_transpose2d(doubled(x), three, padding=2))
        return torch.sigmoid(conv_transpose2d(doubled(x), four, padding=2))
    if form == "lenet-mnist":
        one, two, three = weights
        x = leaky_relu(z.reshape(-1, 2, 4, 4), 0.01)
    else:
        dense, one, two, three = weights
        x = activated(linear(z, dense)).reshape(-1, 8, 4, 4)
    x = activated(conv_transpose2d(doubled(x), one, padding=2))
    x = activated(conv_transpose2d(doubled(x), two, padding=3))
    return torch.sigmoid(conv_transpose2d(doubled(x), three, padding=2))


@pytest.mark.parametrize("form", PLANS)
def test_codes_and_pictures_are_those_of_deep_sads_code(form):
    lenet = as_published(form)
    encoder, decoder = lenet.encoder().double(), lenet.decoder().double()
    x = torch.rand(6, *SHAPES[form], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = encoder(x)
    assert z.shape == (6, CODES[form]) == (6, lenet.code)
    torch.testing.assert_close(z, encoded(form, x, [*encoder.parameters()]))
    x_hat = decoder(z)
    assert x_hat.shape == x.shape
    torch.testing.assert_close(x_hat, decoded(form, z, [*decoder.parameters()]))


@pytest.mark.parametrize("form", PLANS)
@pytest.mark.parametrize("bias", [True, False])
def test_by_squares_codes_pictures_and_gradients_are_those_of_the_layers_one_by_one(form, bias, monkeypatch):
    """Of the pictures, too, which is another way for few channels; `bias`: as convolutions have it once BatchNorm is folded."""
    lenet = as_published(form)
    parts = lenet.encoder().double(), lenet.decoder().double()
    for module in (layer for part in parts for layer in part.modules()):
        if bias and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.bias = nn.Parameter(torch.rand(module.out_channels, dtype=torch.float64))
    parameters = [parameter for part in parts for parameter in part.parameters()]
    x = torch.rand(6, *SHAPES[form], dtype=torch.float64, requires_grad=True)
    results = []
    for squares in (True, False):
        monkeypatch.setattr("esad.models.lenets._by_squares", lambda _, squares=squares: squares)
        z = parts[0](x)
        x_hat = parts[1](z)
        results.append([z, x_hat, *torch.autograd.grad(x_hat.square().sum(), [x, *parameters])])
    for ours, layers in zip(*results, strict=True):
        torch.testing.assert_close(ours, layers)


@pytest.mark.parametrize(
    ("form", "of_encoder", "of_decoder"),
    [
        ("lenet-mnist", 25 * (1 * 8 + 8 * 4) + 4 * 49 * 32, 25 * (2 * 4 + 4 * 8 + 8 * 1)),
        (
            "lenet-fashion-mnist",
            25 * (1 * 16 + 16 * 32) + 32 * 49 * 128 + 128 * 64,
            64 * 128 + 25 * (8 * 32 + 32 * 16 + 16 * 1),
        ),
        (
            "lenet-cifar10",
            25 * (3 * 32 + 32 * 64 + 64 * 128) + 128 * 16 * 128,
            25 * (8 * 128 + 128 * 64 + 64 * 32 + 32 * 3),
        ),
    ],
)
def test_the_number_of_weights(form, of_encoder, of_decoder):
    """Without biases and scales, which Deep SAD's have nowhere."""
    lenet = as_published(form)
    for part, count in ((lenet.encoder(), of_encoder), (lenet.decoder(), of_decoder)):
        assert sum(parameter.numel() for parameter in part.parameters()) == count


@pytest.mark.parametrize(("form", "features"), [("lenet-mnist", 2 * (8 + 4)), ("lenet-cifar10", 2 * 224)])
def test_scale_shift_and_bias_are_added_where_they_are_asked_for(form, features):
    plain, whole = as_published(form), LeNet(form, SHAPES[form], 1.0, affine=True, bias=True)
    more = [
        sum(parameter.numel() for parameter in build(whole).parameters())
        - sum(parameter.numel() for parameter in build(plain).parameters())
        for build in (LeNet.encoder, LeNet.decoder)
    ]
    assert more == [features + CODES[form], features + SHAPES[form][0]]


def test_methods_without_biases_have_none_in_their_encoder_and_a_decoder_as_the_settings_say():
    method = build(MethodSettings(method="deep_sad", network={"form": "lenet-fashion-mnist"}), (28, 28, 1))
    assert all(parameter.dim() > 1 for parameter in method.encoder.parameters())
    norms = [
        module for module in method.decoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    assert all(norm.affine and norm.eps == 1e-4 for norm in norms)
    assert len(norms) == 3


def test_colour_has_xaviers_weights_in_the_decoder():
    for layer in as_published("lenet-cifar10").decoder().modules():
        if isinstance(layer, nn.ConvTranspose2d):
            bound = math.sqrt(2 / (1 + 0.01**2)) * math.sqrt(
                6 / (25 * (layer.in_channels + layer.out_channels))
            )
            assert 0.98 * bound < layer.weight.abs().max() <= bound


@pytest.mark.parametrize(("height", "width", "code"), [(32, 32, 128), (64, 48, 384), (24, 8, 24)])
def test_a_code_in_colour_has_8_numbers_for_8_pixels_each_way(height, width, code):
    lenet = LeNet("lenet-cifar10", (3, height, width), 0.125, affine=True, bias=True)
    x = torch.rand(2, 3, height, width)
    z = lenet.encoder()(x)
    assert z.shape == (2, code)
    assert lenet.decoder()(z).shape == x.shape


@pytest.mark.parametrize("form", PLANS)
def test_width_scales_channels_and_leaves_the_code(form):
    wide, narrow = (LeNet(form, SHAPES[form], width, affine=False, bias=False) for width in (2.0, 1e-3))
    assert wide.convolutions == [2 * channels for channels in PLANS[form].convolutions]
    assert narrow.convolutions == [2] * len(PLANS[form].convolutions)
    x = torch.rand(2, *SHAPES[form])
    for lenet in (wide, narrow):
        z = lenet.encoder()(x)
        assert z.shape == (2, CODES[form])
        assert lenet.decoder()(z).shape == x.shape


@pytest.mark.parametrize(
    ("network", "shape", "told"),
    [
        (
            {"form": "lenet-mnist"},
            (32, 32, 1),
            r"lenet-mnist takes pictures of 1 channel and 28 x 28 pixels; these have 1 and 32 x 32 .*--size 28 --colour grey",
        ),
        ({"form": "lenet-fashion-mnist", "channels": 3}, (28, 28, 1), r"these have 3 and 28 x 28.*network\.channels = null"),
        ({"form": "lenet-cifar10"}, (32, 32, 1), r"3 channels.*these have 1 and 32 x 32.*network\.channels = 3 repeats grey"),
        ({"form": "lenet-cifar10"}, (28, 32, 3), r"multiples of 8 pixels; these have 3 and 28 x 32.*--size 32"),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit_are_refused_with_what_to_do(network, shape, told):
    with pytest.raises(ValueError, match=told):
        build(MethodSettings(network=network), shape)


def test_grey_repeated_fits_the_network_for_colour():
    method = build(MethodSettings(network={"form": "lenet-cifar10", "channels": 3}), (32, 32, 1))
    x = method.scaler(torch.randint(0, 256, (2, 32, 32, 1), dtype=torch.uint8))
    assert method.reconstruct(x).shape == (2, 3, 32, 32)


def test_a_linear_code_beside_a_code_without_places_is_refused():
    with pytest.raises(
        ValidationError, match=r"network\.linear\n.*network\.form = lenet-mnist has a code without places"
    ):
        MethodSettings(network={"form": "lenet-mnist", "linear": 5})


def test_a_method_of_pictures_as_they_are_pads_them_as_before():
    """Its networks are none, and `network.form` is said to have no effect."""
    forms = [
        build(MethodSettings(method="oc_svm", network={"form": form}), (28, 28, 1))
        for form in ("table6", "lenet-mnist")
    ]
    assert [method.scaler.scaled_shape for method in forms] == [(1, 32, 32)] * 2


def test_errors_of_blocks_are_padded_where_sides_are_no_multiples():
    """28 pixels are 4 blocks of 8, of which those at the border have 2 pixels of zeros."""
    loss = {"score_block": 8}
    method = build(MethodSettings(network={"form": "lenet-mnist"}, loss=loss), (28, 28, 1))
    x, x_hat = torch.zeros(1, 1, 28, 28), torch.zeros(1, 1, 28, 28)
    x_hat[0, 0, 0, 0] = 64.0  # in a corner: mean 1 of its block
    x_hat[0, 0, 27, 27] = 128.0
    assert method.score_error(x, x_hat).item() == pytest.approx((1 + 4) / 16)
