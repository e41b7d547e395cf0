"""Encoders whose network timm builds: weights from a file, never unpickled; what does not fit is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from esad.models.encoders.loading import load_encoder
from esad.models.encoders.preparation import UnknownEncoder
from esad.models.encoders.request import EncoderRequest
from tests.pipeline.tiny_encoders import MEAN, TinyNetwork, timm, write_weights

__all__ = ["timm"]
PICTURES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8))


def loaded(path, **stated):
    return load_encoder(EncoderRequest(str(path), **stated), torch.device("cpu"))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_a_file_in_the_network_that_timm_builds(tmp_path, timm, name, prefix):
    path = write_weights(tmp_path / name, prefix)
    encoder = loaded(path, architecture="tiny")
    torch.manual_seed(0)
    network = TinyNetwork(5)
    x = encoder.preparation.apply(PICTURES)
    wanted = network.block(network.stem(x).relu()).mean((2, 3))
    assert torch.allclose(encoder(PICTURES), wanted, atol=1e-5)
    assert encoder.preparation.mean == MEAN
    assert encoder.preparation.interpolation == "bicubic"
    assert "timm's own description of tiny" in encoder.note


def test_layers_are_modules_by_name(tmp_path, timm):
    path = write_weights(tmp_path / "a.safetensors")
    assert loaded(path, architecture="tiny", layers=("stem", "block"))(PICTURES).shape == (3, 10)
    with pytest.raises(UnknownEncoder, match="tiny has no module 'neck'; it has stem, block, head"):
        loaded(path, architecture="tiny", layers=("neck",))


def test_a_config_beside_the_weights_says_architecture_and_mean(tmp_path, timm):
    path = write_weights(tmp_path / "model.safetensors")
    with pytest.raises(UnknownEncoder, match="--architecture NAME"):
        loaded(path)
    told = {
        "architecture": "tiny",
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "input_size": [3, 8, 8]},
    }
    (tmp_path / "config.json").write_text(json.dumps(told))
    encoder = loaded(path)
    assert encoder.preparation.size == (8, 8)
    assert encoder.preparation.mean == (0.1, 0.2, 0.3)


def test_what_does_not_fit_is_refused(tmp_path, timm):
    path = write_weights(tmp_path / "a.safetensors")
    with pytest.raises(UnknownEncoder, match="--architecture vit: timm does not make it"):
        loaded(path, architecture="vit")
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(UnknownEncoder, match=r"b\.pth is not of tiny: it lacks stem.bias and 2 more"):
        loaded(tmp_path / "b.pth", architecture="tiny")
    (tmp_path / "c.safetensors").write_bytes(b"no")
    with pytest.raises(UnknownEncoder, match=r"c\.safetensors: cannot be read as weights"):
        loaded(tmp_path / "c.safetensors", architecture="tiny")


class Trap:
    """Unpickled, it would run code."""

    def __reduce__(self):
        return (open, ("/tmp/esad-was-unpickled", "w"))


def test_a_pth_with_code_in_it_is_not_run(tmp_path, timm):
    torch.save({"state_dict": Trap()}, tmp_path / "a.pth")
    with pytest.raises(UnknownEncoder, match=r"a\.pth: cannot be read as weights"):
        loaded(tmp_path / "a.pth", architecture="tiny")


def test_without_timm_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnknownEncoder, match=r"pip install 'esad\[timm\]', or export the encoder to ONNX"):
        loaded(write_weights(tmp_path / "a.safetensors"), architecture="tiny")
