"""Scoring: what the table holds, stores new to the run, stores that do not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.errors import EsadError, UsageError
from pipeline.evaluate import evaluate
from pipeline.report import report
from pipeline.score import score, standardised
from pipeline.train import train
from tests.pipeline.stores import QUICK, make_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on small pictures, and its store."""
    folder = tmp_path_factory.mktemp("scored")
    make_store(folder, "images")
    train(folder / "store", folder / "run", None, [{**QUICK, "checkpoint_seconds": 60, "train.steps": 120}])
    return folder


def test_scores_overlays_metrics_and_report(folder):
    outcome = score(folder / "run", overlays="worst:5")
    table = pd.read_parquet(outcome.out / "scores.parquet")
    assert list(table.columns[:5]) == ["item_id", "score", "reconstruction", "norm", "percentile"]
    assert len(table) == 120
    assert table["percentile"].between(0, 1).all()
    assert np.allclose(table["eq9"], table["reconstruction"] + table["norm"], rtol=1e-4)
    strip = np.asarray(Image.open(next((outcome.out / "overlays").glob("*.png"))))
    assert strip.shape[0] == 256
    assert evaluate(folder / "run").summary["auc"] > 0.9
    page = report([folder / "run"], None).out.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "data:image/png;base64" in page


def test_a_new_archive_without_labels_is_scored(folder):
    store = make_store(folder, "images", name="new", seed=9)
    table = store.manifest.assign(label=pd.array([None] * 120, dtype="Int8"))
    table.to_parquet(store.root / "manifest.parquet", index=False)
    outcome = score(folder / "run", store.root, overlays="none")
    assert pd.read_parquet(outcome.out / "scores.parquet")["part"].isna().all()
    assert evaluate(outcome.out).summary["auc"] is None


def test_a_store_of_other_settings_or_kind_is_refused_by_name(folder):
    other = make_store(folder, "images", name="resized", settings={"size": 16})
    with pytest.raises(EsadError, match=r"size: None -> 16.*--like"):
        score(folder / "run", other.root)
    table = make_store(folder, "table", name="rows")
    with pytest.raises(EsadError, match="a store of table"):
        score(folder / "run", table.root)


def test_overlays_option_is_checked(folder):
    with pytest.raises(UsageError, match="worst:50"):
        score(folder / "run", overlays="some")


def test_standardised_scores_by_hand():
    normals = pd.DataFrame({"reconstruction": [1.0, 2, 3, 4, 5], "norm": [0.0, 10, 20, 30, 40]})
    table = pd.DataFrame({"reconstruction": [5.0], "norm": [0.0]})
    assert standardised(table, normals) == pytest.approx([(5 - 3) / 1 + (0 - 20) / 10])
