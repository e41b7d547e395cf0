"""Held-out normals that a reader corrects to anomalies are told wherever thresholds are, until the run is trained again."""

from __future__ import annotations

import pandas as pd

from esad.pipeline.evaluate import evaluate
from esad.pipeline.score import score
from esad.pipeline.thresholds.relabelled import relabelled
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK_TABLE, make_store


def test_the_items_named_are_references_that_are_labelled_anomalies():
    normals = pd.DataFrame({"item_id": ["a", "b", "c"]})
    table = pd.DataFrame({"item_id": list("abcd"), "label": pd.array([1, 0, None, 1], "Int8")})
    assert relabelled(normals, table) == ["a"]


def test_a_correction_in_the_store_is_told_when_it_is_scored_and_evaluated(tmp_path):
    store = make_store(tmp_path)
    run = tmp_path / "run"
    train(store.root, run, None, [{**QUICK_TABLE, "data.validation_share": 0.3}])
    outcome = score(run, overlays="none")
    assert "by the store's labels now" not in outcome.message
    assert evaluate(run).summary["relabelled"] is None
    normals = pd.read_parquet(run / "normals.parquet")
    worst = normals.nlargest(3, "score")["item_id"]
    manifest = store.manifest
    manifest.loc[manifest["item_id"].isin(worst), "label"] = 1
    manifest.to_parquet(store.root / "manifest.parquet", index=False)
    outcome = score(run, overlays="none")
    assert (
        f"3 of the {len(normals)} reference normals are anomalies by the store's labels now"
        in outcome.message
    )
    assert "train again with: esad train STORE --out" in outcome.message
    assert outcome.summary["relabelled_normals"] == 3
    outcome = evaluate(run)
    assert outcome.summary["relabelled"]["items"] == 3
    assert f"3 of the {len(normals)} reference normals are anomalies" in outcome.message
    make_store(tmp_path, name="other", seed=4)
    assert "by the store's labels now" not in score(run, tmp_path / "other", overlays="none").message


def test_labels_that_were_given_for_a_run_are_no_correction_of_the_store(tmp_path):
    store = make_store(tmp_path)
    anomalies = store.manifest.loc[store.manifest["label"] == 1, "item_id"]
    given = pd.DataFrame({"item_id": anomalies.iloc[:10], "label": 0})
    given.to_csv(tmp_path / "marks.csv", index=False)
    run = tmp_path / "run"
    settings = {**QUICK_TABLE, "data.validation_share": 0.0}
    train(store.root, run, None, [settings], labels=tmp_path / "marks.csv")
    assert "by the store's labels now" not in score(run, overlays="none").message
    assert evaluate(run).summary["relabelled"] is None
