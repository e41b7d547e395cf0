"""A run trained on one archive scores another one, through the command line, as a hospital would do it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.synthesis.radiographs import make_radiographs
from esad.pipeline.synthesis.slides import make_slides
from esad.preprocessing.store.store import Store

QUICK = [
    "--set", "train.steps=40", "--set", "train.warmup.steps=20", "--set", "train.batch_size=16",
    "--set", "network.width=0.0625", "--set", "checkpoint_seconds=60",
]  # fmt: skip


def esad(*words, status=0):
    assert call([str(word) for word in words]) == status


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A run on three slides with outlines; the settings differ from the defaults, so that --like matters."""
    folder = tmp_path_factory.mktemp("slides")
    make_slides(folder / "old", slides=3, abnormal=1, size=2048, seed=1, annotations=folder / "outlines")
    make_slides(folder / "new", slides=1, abnormal=0, size=2048, seed=2)
    options = ["--tile-size", 48, "--stain-scope", "tile", "--annotations", folder / "outlines"]
    esad("tile", folder / "old", "--out", folder / "tiles", *options)
    esad("train", folder / "tiles", "--out", folder / "run", *QUICK)
    return folder


def test_new_slides_without_labels_are_scored_and_reported(slides):
    esad("tile", slides / "new", "--out", slides / "more", "--like", slides / "run")
    old, new = Store(slides / "tiles"), Store(slides / "more")
    assert new.shape == old.shape == (48, 48, 3)
    assert new.settings["stain_scope"] == "tile"
    assert new.manifest["label"].isna().all()
    esad("score", slides / "run", slides / "more", "--overlays", "worst:3")
    scores = slides / "run" / "scores" / "more"
    table = pd.read_parquet(scores / "scores.parquet")
    assert len(table) == len(new)
    assert np.isfinite(table["score"]).all()
    assert table["part"].isna().all()
    assert len(list((scores / "overlays").glob("*.png"))) == 3
    assert [path.name for path in (scores / "slides").glob("*.png")] == ["normal_001.png"]
    esad("evaluate", scores)
    esad("report", scores)
    metrics = json.loads((scores / "metrics.json").read_text())
    assert metrics["auc"] is None
    page = (scores / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert "normal_001" in page


def test_slides_tiled_otherwise_are_refused_by_setting_with_the_remedy(slides, capsys):
    esad("tile", slides / "new", "--out", slides / "other", "--tile-size", 48)
    esad("score", slides / "run", slides / "other", status=1)
    message = capsys.readouterr().err
    assert "stain_scope: 'tile' -> 'slide'" in message
    assert f"--like {slides / 'run'}" in message


def test_new_radiographs_without_labels_are_scored(tmp_path):
    make_radiographs(tmp_path / "old", count=30, abnormal=8, size=128, seed=1)
    make_radiographs(tmp_path / "new", count=6, abnormal=0, size=128, seed=2)
    for name in ("labels.csv", "regions.csv"):
        (tmp_path / "new" / name).unlink()
    old = tmp_path / "old"
    options = ["--labels", old / "labels.csv", "--metadata", old / "regions.csv", "--crop", 0.9, "--size", 32]
    esad("radiographs", old, "--out", tmp_path / "store", *options)
    esad("train", tmp_path / "store", "--out", tmp_path / "run", *QUICK)
    esad("radiographs", tmp_path / "new", "--out", tmp_path / "more", "--like", tmp_path / "run")
    assert Store(tmp_path / "more").settings["crop"] == 0.9
    esad("score", tmp_path / "run", tmp_path / "more", "--out", tmp_path / "scores", "--overlays", "all")
    table = pd.read_parquet(tmp_path / "scores" / "scores.parquet")
    assert len(table) == len(list((tmp_path / "scores" / "overlays").glob("*.png"))) == 6
    esad("report", tmp_path / "scores")


def test_staintools_normalises_through_the_same_stage(tmp_path):
    pytest.importorskip("staintools", reason="staintools is not installed (make install does)")
    make_slides(tmp_path / "slides", slides=1, abnormal=0, size=1024, seed=1)
    stores = {}
    for stain in ("none", "staintools", "vahadane"):
        # staintools takes a second a tile
        options = ["--stain", stain, "--tile-size", 64, "--stain-scope", "tile"]
        esad("tile", tmp_path / "slides", "--out", tmp_path / stain, *options)
        stores[stain] = Store(tmp_path / stain)
    assert 2 <= len(stores["none"]) <= 16
    pictures = {name: store.read().astype(int) for name, store in stores.items()}
    assert np.abs(pictures["staintools"] - pictures["none"]).mean() > 5
    assert np.abs(pictures["staintools"] - pictures["vahadane"]).mean() < 2
