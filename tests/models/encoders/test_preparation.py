"""From stored pictures to an encoder's input: by its own description, or asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from esad.models.encoders.preparation import Preparation, UnknownEncoder, beside, from_mapping

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    "content",
    [
        {
            "architecture": "x",
            "pretrained_cfg": {"input_size": [3, 224, 196], "interpolation": "bicubic", **IMAGENET},
        },
        {
            "image_mean": IMAGENET["mean"],
            "image_std": IMAGENET["std"],
            "size": {"height": 224, "width": 196},
            "interpolation": "bicubic",
        },
        {"mean": IMAGENET["mean"], "scale": IMAGENET["std"], "size": [224, 196], "interpolation": "bicubic"},
    ],
)
def test_descriptions_of_timm_transformers_and_a_person_say_the_same(content):
    wanted = Preparation((224, 196), tuple(IMAGENET["mean"]), tuple(IMAGENET["std"]), interpolation="bicubic")
    assert from_mapping(content, "a.json") == wanted


def test_a_description_lies_beside_the_file_or_in_its_folder(tmp_path):
    (tmp_path / "a.yaml").write_text("mean: 0.5\n")
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "vit", "pretrained_cfg": {"std": [0.25], "input_size": [3, 32, 32]}})
    )
    found, content = beside(tmp_path / "a.onnx")
    assert (found.mean, found.scale, found.size) == ((0.5,), (0.25,), (32, 32))
    assert content["architecture"] == "vit"
    (tmp_path / "a.yaml").write_text("[1, 2]")
    with pytest.raises(UnknownEncoder, match=r"a\.yaml: expected names and values"):
        beside(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (Preparation(), "--size N"),
        (Preparation((8, 8)), "--mean and --scale"),
        (Preparation((8, 8), (0.5,)), "--mean and --scale"),
        (Preparation((8, 8), (123.7, 116.3, 103.5), (58.4,)), r"not of values in \[0, 1\]"),
        (Preparation((8, 8), (0.5, 0.5), (1.0,)), "2 numbers of mean for 3 channels"),
    ],
)
def test_what_is_not_stated_is_asked_for(known, told):
    with pytest.raises(UnknownEncoder, match=told):
        known.check("uni.onnx")


def test_pictures_are_resized_and_normalised():
    pictures = torch.full((2, 4, 6, 3), 51, dtype=torch.uint8)
    pictures[..., 2] = 255
    x = Preparation((8, 8), (0.1,), (0.5,)).apply(pictures)
    assert x.shape == (2, 3, 8, 8)
    assert torch.allclose(x[:, 0], torch.tensor(0.2))
    assert torch.allclose(x[:, 2], torch.tensor(1.8))


def test_grey_is_repeated_and_colour_reduced():
    grey = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1)
    x = Preparation((4, 4), (0.0,), (1.0,)).apply(grey)
    assert torch.equal(x[0, 0], x[0, 2])
    colour = torch.tensor([[[[100, 50, 200]]]], dtype=torch.uint8)
    one = Preparation((1, 1), (0.0,), (1 / 255,), channels=1).apply(colour)
    assert one.item() == pytest.approx(0.299 * 100 + 0.587 * 50 + 0.114 * 200, rel=1e-5)
    with pytest.raises(UnknownEncoder, match="pictures of 4 channels"):
        Preparation((1, 1)).apply(torch.zeros(1, 1, 1, 4, dtype=torch.uint8))


def test_bytes_stay_bytes_where_the_encoder_takes_them():
    x = Preparation((2, 2), raw=True).check("a.onnx").apply(torch.full((1, 2, 2, 3), 200, dtype=torch.uint8))
    assert x.unique().tolist() == [200]


def test_a_file_that_is_not_there_is_no_description(tmp_path):
    assert beside(Path(tmp_path / "a.onnx")) == (Preparation(), {})


def test_an_interpolation_that_is_stated_is_not_taken_from_a_later_description(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"interpolation": "bilinear"}))
    (tmp_path / "config.json").write_text(json.dumps({"interpolation": "bicubic"}))
    assert beside(tmp_path / "a.onnx")[0].interpolation == "bilinear"
    assert beside(tmp_path / "b.onnx")[0].interpolation == "bicubic"
    assert (
        Preparation().or_else(Preparation(interpolation="bicubic")).described()["interpolation"] == "bicubic"
    )
    assert Preparation().described()["interpolation"] == "bilinear"
