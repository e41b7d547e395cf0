"""ONNX encoders: size, layout and type by their signature, layers by name, and what they do not say is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from onnx import TensorProto

from esad.models.encoders.loading import load_encoder
from esad.models.encoders.preparation import UnknownEncoder
from esad.models.encoders.request import EncoderRequest
from tests.pipeline.tiny_encoders import MEAN, SCALE, WIDTH, write_onnx

CPU = torch.device("cpu")
PICTURES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8))
STATED = {"mean": MEAN, "scale": SCALE}


def loaded(path, **stated):
    return load_encoder(EncoderRequest(str(path), **stated), CPU)


def test_the_vectors_are_the_models(tmp_path):
    encoder = loaded(write_onnx(tmp_path / "a.onnx"), **STATED)
    found = encoder(PICTURES)
    assert found.shape == (5, WIDTH)
    x = encoder.preparation.apply(PICTURES)
    assert x.shape == (5, 3, 8, 8)
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(WIDTH, 3, 3, 3)).astype(np.float32))
    wanted = torch.nn.functional.conv2d(x, weight, padding=1).relu().mean((2, 3))
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("how", [{"last": True}, {"batch": 1}, {"batch": 2}, {"kind": TensorProto.FLOAT16}])
def test_layout_batch_and_type_follow_from_the_signature(tmp_path, how):
    plain = loaded(write_onnx(tmp_path / "a.onnx"), **STATED)(PICTURES)
    other = loaded(write_onnx(tmp_path / "b.onnx", **how), **STATED)(PICTURES)
    assert torch.allclose(other, plain, atol=2e-2 if "kind" in how else 1e-5)


def test_an_encoder_of_bytes_needs_no_mean(tmp_path):
    encoder = loaded(write_onnx(tmp_path / "a.onnx", kind=TensorProto.UINT8))
    assert encoder.preparation.raw
    assert encoder(PICTURES).shape == (5, WIDTH)


def test_mean_and_scale_are_asked_for_and_found_in_the_file_or_beside_it(tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    with pytest.raises(UnknownEncoder, match=r"a\.onnx does not say by which mean and scale"):
        loaded(path)
    (tmp_path / "a.json").write_text(json.dumps({"mean": MEAN, "std": SCALE}))
    beside = loaded(path)(PICTURES)
    other = write_onnx(tmp_path / "b.onnx", metadata={"mean": json.dumps(MEAN), "std": json.dumps(SCALE)})
    assert torch.equal(loaded(other)(PICTURES), beside)
    assert torch.equal(loaded(path, **STATED)(PICTURES), beside)


def test_the_size_is_asked_for_where_the_signature_leaves_it_open(tmp_path):
    path = write_onnx(tmp_path / "a.onnx", size=None)
    with pytest.raises(UnknownEncoder, match="does not say how large its pictures are"):
        loaded(path, **STATED)
    assert loaded(path, size=10, **STATED).preparation.size == (10, 10)
    with pytest.raises(UnknownEncoder, match="8 x 8 pixels alone"):
        loaded(write_onnx(tmp_path / "b.onnx"), size=10, **STATED)


def test_inner_layers_are_pooled_and_joined(tmp_path):
    path = write_onnx(tmp_path / "a.onnx")
    joined = loaded(path, layers=("positive", "vector"), **STATED)(PICTURES)
    plain = loaded(path, **STATED)(PICTURES)
    assert torch.allclose(joined, torch.cat([plain, plain], 1), atol=1e-5)
    with pytest.raises(
        UnknownEncoder, match=r"no tensor 'nothing'; its last ones are map, positive, mean, vector"
    ):
        loaded(path, layers=("nothing",), **STATED)


def test_the_digest_is_the_files(tmp_path):
    one, other = (loaded(write_onnx(tmp_path / f"{seed}.onnx", seed=seed), **STATED) for seed in (0, 1))
    assert one.digest != other.digest
    assert len(one.digest) == 64


def test_no_onnx_and_no_file_are_said_in_words(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(UnknownEncoder, match=r"a\.onnx: no ONNX model"):
        loaded(tmp_path / "a.onnx", **STATED)
    with pytest.raises(UnknownEncoder, match="no such file"):
        loaded(tmp_path / "b.onnx")
    with pytest.raises(UnknownEncoder, match="expected imagenet, or a file"):
        loaded("uni")


@pytest.mark.parametrize(
    "metadata",
    [
        {"interpolation": "bicubic"},
        {"interpolation": '"bicubic"'},
        {"pretrained_cfg": '{"interpolation": "bicubic"}'},
    ],
)
def test_the_interpolation_that_the_file_states_is_taken(tmp_path, metadata):
    encoder = loaded(write_onnx(tmp_path / "a.onnx", metadata=metadata), **STATED)
    wanted = torch.nn.functional.interpolate(
        PICTURES.permute(0, 3, 1, 2).float(), (8, 8), mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 255)
    x = encoder.preparation.apply(PICTURES)
    mean, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, SCALE))
    assert torch.allclose(x * scale + mean, wanted / 255, atol=1e-5)
    (tmp_path / "a.json").write_text(json.dumps({"interpolation": "bilinear"}))
    assert loaded(tmp_path / "a.onnx", **STATED).preparation.interpolation == "bilinear"
