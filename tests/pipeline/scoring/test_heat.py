"""Where a run looks: a planted spot is found, the scales come from normals, what is averaged is bounded."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from esad.models.training.augment import Augmentation
from esad.pipeline.evaluate import evaluate
from esad.pipeline.runs.items import evenly
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.scoring.heat import MOST_AVERAGED, mean_picture
from esad.pipeline.scoring.scores import score_weights
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, make_store

REGION = {"region_x": 4.0, "region_y": 4.0, "region_width": 5.0, "region_height": 5.0}
"""Where `make_store` plants its bright spot."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on pictures whose anomalies carry a spot in a known place."""
    folder = tmp_path_factory.mktemp("heat")
    store = make_store(folder, "images")
    table = store.manifest
    for name, value in REGION.items():
        table[name] = np.where(table["label"] == 1, value, np.nan)
    table.to_parquet(store.root / "manifest.parquet", index=False)
    train(folder / "store", folder / "run", None, [{**QUICK, "checkpoint_seconds": 60, "train.steps": 400}])
    return folder / "run"


def test_the_spot_contributes_most_to_the_score(run):
    scores = score(run, overlays="none").out
    found = evaluate(scores).summary["localisation"]
    table = pd.read_parquet(scores / "scores.parquet")
    assert found["items"] == ((table["part"] == "test") & (table["label"] == 1)).sum() > 10
    # four times chance; over seeds and processors it is 0.67 to 0.82
    assert found["hit_rate"] >= 0.4
    assert found["chance"] == pytest.approx(25 / 256)


def test_hot_points_are_of_items_with_an_overlay_or_a_region_only(run):
    table = pd.read_parquet(score(run, overlays="worst:2", out=run / "two").out / "scores.parquet")
    drawn = table["item_id"].isin([path.stem for path in (run / "two" / "overlays").glob("*.png")])
    marked = (table["label"] == 1).to_numpy(dtype=bool)
    assert drawn.any()
    assert np.array_equal(table["hot_x"].notna(), drawn | marked)
    assert table.loc[drawn | marked, ["hot_x", "hot_y", "error_x", "error_y"]].isin(range(16)).all(axis=None)


def test_scales_are_quantiles_over_held_out_normals(run):
    scales = json.loads((run / "heat.json").read_text())
    for values in scales.values():
        assert list(values) == ["0.5", "0.9", "0.99", "0.999"]
        assert sorted(values.values()) == list(values.values())
    assert open_run(run).mean_normal.shape == (16, 16, 1)


def test_the_mean_picture_is_of_the_central_crop_and_bounded():
    items = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 20, 24, 3), dtype=np.uint8))
    mean = mean_picture(items, np.array([3, 7, 9]), Augmentation(16))
    assert np.allclose(mean, items[[3, 7, 9], 2:18, 4:20].float().mean(0), atol=1e-3)
    assert mean.dtype == np.float32
    chosen = evenly(np.arange(10_000), MOST_AVERAGED)
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST_AVERAGED, 0, 9999)
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(evenly(np.arange(5), 7), np.arange(5))


def test_weights_follow_the_kind_of_score():
    normals = pd.DataFrame({"reconstruction": [1.0, 2, 3, 4, 5], "norm": [7.0] * 5})
    assert score_weights("eq9", normals) == {"eq9": 1.0}
    assert score_weights("standardised", normals) == {
        "reconstruction": 1.0,
        "norm": 1 / 7,
    }  # one value: its size
