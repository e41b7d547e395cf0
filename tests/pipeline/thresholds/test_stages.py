"""p-values and thresholds through `esad score`, `evaluate`, `report` and `export`."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.open_scores import read_scores_table
from esad.pipeline.thresholds.conformal import p_values, threshold
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, make_store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on radiographs of two projections, a group to four items."""
    folder = tmp_path_factory.mktemp("thresholds")
    make_store(folder, "radiographs", settings={"crop": 0.75, "size": 16})
    more = {"train.steps": 20, "train.warmup.steps": 10, "data.validation_share": 0.4}
    train(folder / "store", folder / "run", None, [{**QUICK, **more}])
    return folder / "run"


def scored(run, *words, status=0):
    assert call(["score", str(run), "--overlays", "none", *words]) == status
    folder = run / "scores" / "store"
    return pd.read_parquet(folder / "scores.parquet"), json.loads((folder / "scores.json").read_text())


def test_thresholds_change_without_scoring_again_and_stay_as_they_are(run, monkeypatch, capsys):
    references = open_run(run).normals
    assert {"group", "view", "source", "part"} <= set(references)
    table, marker = scored(run)
    assert table["p_value"].to_numpy() == pytest.approx(1 - table["percentile"].to_numpy())
    assert list(table.columns[4:7]) == ["percentile", "p_value", "threshold"]
    assert f"Only {len(references)} normal items were held out, and 1 % needs 99" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr("esad.pipeline.scoring.scores_table.raw_terms", None)  # nothing is scored again
        by_view, marker = scored(run, "--by", "view", "--false-alarms", "0.25")
        again, same = scored(run)
    for view in ("AP", "PA"):
        own = references.loc[references["view"] == view, "score"].to_numpy()
        rows = by_view[by_view["view"] == view]
        assert rows["p_value"].to_numpy() == pytest.approx(p_values(rows["score"].to_numpy(), own))
        assert (rows["threshold"] == threshold(own, 0.25)).all()
    assert [each["name"] for each in marker["thresholds"]["sets"]] == ["AP", "PA"]
    assert same == marker
    pd.testing.assert_frame_equal(again, by_view)
    grouped, marker = scored(run, "--per-group", "--false-alarms", "0.25")
    highest = references.groupby("group")["score"].max().to_numpy()
    assert (grouped["threshold"] == threshold(highest, 0.25)).all()
    assert marker["thresholds"]["by"] is None
    anew, other = scored(run, "--force", "--per-group", "--false-alarms", "0.25")
    assert other == marker
    pd.testing.assert_frame_equal(anew, grouped)


def test_scores_of_an_earlier_version_get_theirs(run):
    table, marker = scored(run, "--false-alarms", "0.1")
    folder = run / "scores" / "store"
    table.drop(columns=["p_value", "threshold"]).to_parquet(folder / "scores.parquet")
    (folder / "scores.json").write_text(
        json.dumps({name: marker[name] for name in marker if name != "thresholds"})
    )
    old = read_scores_table(folder)
    assert old["p_value"].to_numpy() == pytest.approx(1 - table["percentile"].to_numpy())
    assert ((old["score"] > old["threshold"]) == (old["percentile"] >= 0.99)).all()
    assert call(["evaluate", str(run)]) == 0
    renewed, again = scored(run, "--false-alarms", "0.1")
    assert again == marker
    pd.testing.assert_frame_equal(renewed, table)


def test_evaluate_and_report_say_what_was_promised_and_what_came(run, capsys):
    table, marker = scored(run, "--false-alarms", "0.1")
    assert call(["evaluate", str(run), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)["alarms"]
    test = table[table["part"] == "test"]
    normal, anomaly = (test[test["label"] == label] for label in (0, 1))
    found = content["achieved"]
    assert found["achieved"] == pytest.approx((normal["score"] > normal["threshold"]).mean())
    assert found["anomalies_found"] == pytest.approx((anomaly["score"] > anomaly["threshold"]).mean())
    assert found["promised"] == pytest.approx(marker["thresholds"]["sets"][0]["level"])
    assert content["by"]["view"]["AP"]["normals"] == int((normal["view"] == "AP").sum())
    assert content["splits"]["splits"] == 100
    assert content["likeness"]["items"] == len(normal)
    assert call(["report", str(run)]) == 0
    page = (run / "scores" / "store" / "report.html").read_text()
    assert "False alarms promised" in page
    assert f"False alarms among {len(normal)} normals, promised and reached" in page


def test_an_archive_of_another_kind_is_said(run, tmp_path, capsys):
    make_store(tmp_path, "radiographs", "bright", {"crop": 0.75, "size": 16}, seed=1)
    shards = sorted((tmp_path / "bright").rglob("*.npy"))
    assert shards
    for path in shards:
        pixels = np.load(path)
        np.save(
            path,
            np.where(np.arange(pixels[0].size).reshape(pixels[0].shape) % 2, 255, pixels // 2).astype(
                np.uint8
            ),
        )
    assert call(["score", str(run), str(tmp_path / "bright"), "--overlays", "none"]) == 0
    assert call(["evaluate", str(run / "scores" / "bright")]) == 0
    told = capsys.readouterr().err
    assert "These items are not like the normals of training" in told
    assert "Thresholds, p-values and percentiles do not hold for them" in told


@pytest.mark.parametrize("words", [("--by", "colour"), ("--by", "site"), ("--false-alarms", "0")])
def test_wrong_use(run, words):
    assert call(["score", str(run), *words]) == 2


def test_exports_carry_the_threshold(run, tmp_path):
    onnx = pytest.importorskip("onnx")
    assert call(["export", str(run), "--to", "onnx", "--out", str(tmp_path / "onnx")]) == 0
    model = onnx.load(next((tmp_path / "onnx").glob("*.onnx")))
    told = {each.key: each.value for each in model.metadata_props}
    references = open_run(run).normals["score"].to_numpy()
    assert float(told["esad.threshold"]) == threshold(references, 0.01)
    assert float(told["esad.false_alarm_rate"]) == pytest.approx(1 / (len(references) + 1))
    assert told["esad.normals_held_out"] == "true"
