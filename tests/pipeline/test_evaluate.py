"""Which items count, what metrics.json says, and messages that name the command."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from esad.pipeline.evaluate import evaluate
from esad.pipeline.stage.errors import EsadError


def fabricate(folder, kind="radiographs", **columns):
    """A run with scores of 40 items, the abnormal half above the normal one; `columns` replace or add columns."""
    run = folder / "run"
    scores = run / "scores" / "store"
    scores.mkdir(parents=True)
    store = {
        "path": str(folder / "store"),
        "name": "store",
        "kind": kind,
        "shape": [16, 16, 1],
        "settings": {},
    }
    sections = {name: {} for name in ("data", "network", "loss", "train", "score")}
    config = {"seed": 0, "method": "esad", **sections, "store": {"inputs": "", **store}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    label = pd.array([0, 1] * 20, dtype="Int8")
    table = pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(40)], "score": np.arange(40.0) + 40 * (np.arange(40) % 2)}
    )
    table = table.assign(label=label, source="a.png", group=[f"g{n // 4}" for n in range(40)], part="test")
    table = table.assign(percentile=0.5, norm=-table["score"], reconstruction=table["score"]).assign(
        **columns
    )
    table["part"] = table["part"].astype("string")
    table.to_parquet(scores / "scores.parquet")
    marker = {"kind": kind, "run": str(run), "store": str(folder / "store"), "score": "eq9"}
    marker |= {"model": "", "inputs": "", "items": len(table), "overlays": "none"}
    (scores / "scores.json").write_text(json.dumps(marker))
    return run


def test_metrics_of_a_run_and_of_its_scores_are_the_same_file(tmp_path):
    run = fabricate(tmp_path, view=["AP", "AP", "PA", "PA"] * 10)
    outcome = evaluate(run)
    content = json.loads((run / "scores/store/metrics.json").read_text())
    assert evaluate(run / "scores/store").summary == outcome.summary == content
    assert (content["auc"], content["average_precision"], content["evaluated"]) == (1.0, 1.0, "test part")
    assert (content["items"], content["normal"], content["anomaly"]) == (40, 20, 20)
    low, high = content["auc_interval"]
    assert 0.5 < low < 0.95
    assert high == 1
    assert content["by"]["view"]["AP"]["items"] == content["by"]["view"]["PA"]["items"] == 20
    assert content["scores"]["norm"]["auc"] == 0.0


def test_figures_need_no_torch(tmp_path):
    """It takes 260 MB and seconds to import."""
    words = ["evaluate", str(fabricate(tmp_path))]
    program = (
        f"import sys; from esad.pipeline.cli.app import call; print(call({words}), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


def test_only_the_test_part_counts(tmp_path):
    run = fabricate(tmp_path, part=["test"] * 20 + ["train"] * 10 + ["validation"] * 5 + [None] * 5)
    assert evaluate(run).summary["items"] == 20


def test_without_a_test_part_no_training_item_counts(tmp_path):
    content = evaluate(fabricate(tmp_path, part=["train"] * 10 + ["validation"] * 10 + [None] * 20)).summary
    assert (content["items"], content["evaluated"]) == (20, "all labelled")


def test_without_labels_the_figures_are_null_and_the_message_says_so(tmp_path):
    outcome = evaluate(fabricate(tmp_path, label=pd.array([None] * 40, dtype="Int8")))
    assert int(outcome.exit_status) == 0
    assert "no item new to the run has a label" in outcome.message
    assert outcome.summary["auc"] is outcome.summary["average_precision"] is None


def test_each_class_is_measured_and_says_whether_it_was_labelled_in_training(tmp_path):
    names = [["shirt", "coat"], ["shirt", "bag"]] * 10
    run = fabricate(tmp_path, "images", class_name=[name for pair in names for name in pair])
    outcome = evaluate(run)
    found = outcome.summary["by"]["class"]
    assert [(name, each["auc"], each["normal"], each["anomaly"]) for name, each in found.items()] == [
        ("bag", 1.0, 0, 10), ("coat", 1.0, 0, 10), ("shirt", None, 20, 0),
    ]  # fmt: skip
    assert found["bag"]["auc_interval"][0] < 1
    assert {each["labelled"] for each in found.values()} == {None}  # of a run that does not say
    provenance = {"seed": 0, "device": "cpu", "steps": 1, "versions": {}, "labelled_classes": {"bag": 7}}
    (run / "provenance.json").write_text(json.dumps(provenance))
    outcome = evaluate(run)
    assert {name: each["labelled"] for name, each in outcome.summary["by"]["class"].items()} == {
        "bag": 7, "coat": 0, "shirt": 0,
    }  # fmt: skip
    assert (
        "AUC of each of 2 classes against the normal items: from 1.000 (bag, labelled in training)"
        in outcome.message
    )


def test_the_pointing_game_counts_items_with_regions(tmp_path):
    region = {"region_x": [None, 4.0] * 20, "region_y": 4.0, "region_width": 8.0, "region_height": 8.0}
    hot = {"hot_x": [8.0] * 20 + [1.0] * 20, "hot_y": 8.0, "error_x": [1.0] * 10 + [8.0] * 30, "error_y": 8.0}
    content = evaluate(fabricate(tmp_path, **region, **hot)).summary["localisation"]
    assert content == {"items": 20, "hit_rate": 0.5, "error_hit_rate": 0.75, "chance": 0.25}


def test_slides_are_hit_where_the_highest_tile_touches_the_outline(tmp_path):
    sources = ["a"] * 20 + ["b"] * 20
    fraction = [0.0] * 19 + [0.3] + [0.6] + [0.0] * 19
    content = evaluate(fabricate(tmp_path, "tiles", source=sources, tumour_fraction=fraction)).summary[
        "slides"
    ]
    assert {name: one["hit"] for name, one in content["by_slide"].items()} == {"a": True, "b": False}
    assert (content["hit_rate"], content["chance"]) == (0.5, 0.05)


def test_missing_scores_name_the_command(tmp_path):
    run = fabricate(tmp_path)
    (run / "scores/store/scores.json").unlink()
    with pytest.raises(EsadError, match=f"not scored yet. Run: esad score {run}"):
        evaluate(run)
    with pytest.raises(EsadError, match="neither a run"):
        evaluate(tmp_path)


def test_a_score_that_is_no_number_names_the_item(tmp_path):
    with pytest.raises(EsadError, match="the score of i3 "):
        evaluate(fabricate(tmp_path, score=[0.0, 1, 2, np.nan] + [1.0] * 36))
