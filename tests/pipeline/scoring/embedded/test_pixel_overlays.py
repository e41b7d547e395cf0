"""Overlays of embeddings: through the encoder to the pixels of the store that the vectors were made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.pipeline.commands import made, words
from tests.pipeline.stores import make_store
from tests.pipeline.tiny_encoders import STATED, embedding, timm, write_onnx, write_weights

__all__ = ["timm"]
QUICK = words({"train.steps": 20, "train.warmup.steps": 20, "network.hidden": [8, 4], "network.code": 2})


@pytest.fixture(scope="module")
def occluded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on vectors of an ONNX encoder, scored with overlays."""
    root = tmp_path_factory.mktemp("occluded")
    make_store(root, "images")
    made(
        *embedding(
            root / "store", write_onnx(root / "tiny.onnx", size=16, bright=True), root / "vectors", *STATED
        )
    )
    made("train", root / "vectors", "--out", root / "run", *QUICK)
    made("score", root / "run", "--out", root / "scores", "--overlays", "worst:3")
    return root


def test_the_bright_spot_is_where_the_score_comes_from(occluded):
    scores = pd.read_parquet(occluded / "scores" / "scores.parquet")
    drawn = scores[scores["hot_x"].notna()]
    assert len(drawn) >= 3
    assert {path.stem for path in (occluded / "scores" / "overlays").glob("*.png")} == set(drawn["item_id"])
    anomalies = drawn[drawn["label"] == 1]
    inside = anomalies["hot_x"].between(3, 9) & anomalies["hot_y"].between(3, 9)
    assert inside.mean() > 0.5
    told = json.loads((occluded / "scores" / "overlays" / "explanation.json").read_text())
    assert told["panels"] == ["input", "contribution (occlusion)"]
    assert told["contributions"].startswith("occlusion: the fall of the score")
    picture = Image.open(next((occluded / "scores" / "overlays").glob("*.png")))
    assert np.asarray(picture).ndim == 3


def test_overlays_are_drawn_where_they_are_asked_for_alone(occluded, tmp_path):
    made("score", occluded / "run", "--out", tmp_path / "scores")
    assert not (tmp_path / "scores" / "overlays").exists()
    made("score", occluded / "run", "--out", tmp_path / "scores", "--overlays", "worst:1")
    assert list((tmp_path / "scores" / "overlays").glob("*.png"))
    made("score", occluded / "run", "--out", tmp_path / "scores", "--overlays", "none")
    assert not (tmp_path / "scores" / "overlays").exists()


def test_the_report_shows_them(occluded):
    made("report", occluded / "scores")
    assert (
        "each pixel&#39;s contribution to the score (occlusion"
        in (occluded / "scores" / "report.html").read_text()
    )


def test_an_encoder_or_a_store_that_is_gone_leaves_scores_without_overlays(occluded, tmp_path, capsys):
    made(*embedding(occluded / "store", occluded / "tiny.onnx", tmp_path / "vectors", *STATED))
    store = json.loads((tmp_path / "vectors" / "store.json").read_text())
    for change, told in (
        ({"path": str(tmp_path / "gone")}, "is gone"),
        ({"manifest": "blake3:0"}, "is not the store any more"),
        (
            {"request": {**store["made_of"]["request"], "encoder": str(tmp_path / "gone.onnx")}},
            "its encoder cannot be had",
        ),
    ):
        changed = {**store, "made_of": {**store["made_of"], **change}}
        (tmp_path / "vectors" / "store.json").write_text(json.dumps(changed))
        made(
            "score",
            occluded / "run",
            tmp_path / "vectors",
            "--out",
            tmp_path / "scores",
            "--overlays",
            "worst:1",
        )
        assert told in capsys.readouterr().err
        assert len(pd.read_parquet(tmp_path / "scores" / "scores.parquet")) == 120
        shutil.rmtree(tmp_path / "scores")


def test_other_weights_at_the_same_place_are_noticed(occluded, tmp_path, capsys):
    path = write_onnx(tmp_path / "tiny.onnx", size=16, bright=True)
    made(*embedding(occluded / "store", path, tmp_path / "vectors", *STATED))
    write_onnx(path, size=16, seed=5)
    made(
        "score", occluded / "run", tmp_path / "vectors", "--out", tmp_path / "scores", "--overlays", "worst:1"
    )
    assert "tiny.onnx has other weights now than those that made the vectors" in capsys.readouterr().err


def test_pictures_that_the_encoder_takes_otherwise_now_are_noticed(occluded, tmp_path, capsys):
    path = write_onnx(tmp_path / "tiny.onnx", size=16, bright=True)
    made(*embedding(occluded / "store", path, tmp_path / "vectors", *STATED))
    settings = json.loads((tmp_path / "vectors" / "store.json").read_text())["settings"]
    assert settings["input"]["interpolation"] == "bilinear"
    (tmp_path / "tiny.json").write_text('{"interpolation": "bicubic"}')
    made(
        "score", occluded / "run", tmp_path / "vectors", "--out", tmp_path / "scores", "--overlays", "worst:1"
    )
    told = capsys.readouterr().err
    assert "tiny.onnx takes its pictures otherwise now" in told
    assert "input.interpolation: 'bilinear' -> 'bicubic'" in told


def test_gradients_go_through_a_network_of_torch(occluded, tmp_path, timm):
    path = write_weights(tmp_path / "tiny.safetensors")
    made(*embedding(occluded / "store", path, tmp_path / "vectors", "--architecture", "tiny"))
    made("train", tmp_path / "vectors", "--out", tmp_path / "run", *QUICK)
    made("score", tmp_path / "run", "--out", tmp_path / "scores", "--overlays", "worst:2")
    told = json.loads((tmp_path / "scores" / "overlays" / "explanation.json").read_text())
    assert told["contributions"].startswith("integrated gradients through the encoder")
