"""What scores of a table say of columns, for every method that takes tables: numbers, names, sums, files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from esad.models.attribution.explain import OF_ROWS
from esad.models.methods.registry import METHODS
from esad.pipeline.report import report
from esad.pipeline.score import score
from esad.pipeline.scoring.columns.numbers import NUMBERS, PICTURE, SHEET, TOP
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK_TABLE, make_store

OF_TABLES = [name for name, method in METHODS.items() if not method.pictures_only]
HYBRID = [f"{name}, hybrid" for name in ("isolation_forest", "oc_svm", "ssad")]
EACH = [f"contribution_{number}" for number in range(5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("rows"), "table", shards=3)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    train(store.root, out, None, [{**QUICK_TABLE, "train.steps": 300, "checkpoint_seconds": 60}])
    return out


def said(scores):
    return json.loads((scores / "overlays" / "explanation.json").read_text())


@pytest.mark.parametrize("variant", [*OF_TABLES, *HYBRID])
def test_contributions_of_every_method_add_up_to_its_scores(store, tmp_path, variant):
    name, _, hybrid = variant.partition(",")
    more = {f"{name}.input": "hybrid"} if hybrid else {}
    if name == "isolation_forest":
        more["isolation_forest.trees"] = 20
    settings = {**QUICK_TABLE, **more, "method": name, "checkpoint_seconds": 60}
    train(store.root, tmp_path / "run", None, [settings])
    out = score(tmp_path / "run", overlays="all").out
    table, told = pd.read_parquet(out / "scores.parquet"), said(out)
    shares = table[EACH].to_numpy(dtype=float)
    assert np.isfinite(shares).all()
    rise = table["score"].to_numpy(dtype=float) - told["start"]
    assert np.abs(shares.sum(1) - rise).max() <= 1e-4 * np.abs(rise).max()
    assert told["largest_gap"] <= 1e-4 * np.abs(rise).max()
    way = told["explained_by"]
    assert told["contributions"].endswith(OF_ROWS[way]) or way == "gradients"
    assert (way == "permutations") == (variant == "isolation_forest, hybrid")
    highest = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
    for rank in range(TOP):
        assert (table[f"top_column_{rank + 1}"] == highest[:, rank].astype(str)).all()
        expected = np.take_along_axis(shares, highest[:, [rank]], 1)[:, 0]
        assert np.array_equal(table[f"top_contribution_{rank + 1}"].to_numpy(dtype=float), expected)
    numbers = pd.read_parquet(out / "overlays" / NUMBERS)
    assert numbers["item_id"].tolist() == table["item_id"].tolist()
    assert np.array_equal(numbers[EACH].to_numpy(dtype=float), shares)
    assert np.array_equal(numbers[[f"value_{n}" for n in range(5)]].to_numpy(), store.read())


def test_the_planted_columns_contribute_most(run):
    out = score(run, overlays="all", out=run / "all").out
    table = pd.read_parquet(out / "scores.parquet")
    anomalies = table[(table["label"] == 1) & (table["part"] == "test")]
    assert len(anomalies) > 10
    assert anomalies["top_column_1"].isin(["0", "1"]).mean() > 0.8


def test_rows_that_are_not_explained_have_no_contributions(run):
    out = score(run, overlays="worst:4", out=run / "few").out
    table, told = pd.read_parquet(out / "scores.parquet"), said(out)
    explained = table["top_column_1"].notna()
    assert 4 <= explained.sum() == told["rows"] == told["drawn"] < 20
    assert (table[EACH].notna().all(axis=1) == explained).all()
    assert (table[EACH].notna().any(axis=1) == explained).all()
    whole = pd.read_parquet(score(run, overlays="all", out=run / "all").out / "scores.parquet")
    spread = whole[EACH].abs().max(axis=None)
    assert np.allclose(table.loc[explained, EACH], whole.loc[explained, EACH], atol=1e-5 * spread)
    sheet = pd.read_csv(out / "overlays" / SHEET)
    assert len(sheet) == 5 * told["rows"]
    order = sheet["item_id"].drop_duplicates().tolist()
    worst = table[explained].sort_values("score", ascending=False, kind="stable")
    assert order == worst["item_id"].tolist()
    assert np.allclose(sheet["median"][:5], told["medians"])
    picture = Image.open(out / "overlays" / PICTURE)
    assert min(picture.size) > 100


def test_no_overlays_leave_empty_columns_and_no_folder(run):
    out = run / "none"
    outcome = score(run, overlays="none", out=out)
    table = pd.read_parquet(out / "scores.parquet")
    assert table[[*EACH, "top_column_1"]].isna().all(axis=None)
    assert not (out / "overlays").exists()
    assert outcome.summary["overlays"] == 0
    assert "the columns of 0 in overlays" in outcome.message
    drawn = score(run, overlays="worst:2", out=out)
    assert (
        drawn.summary["overlays"] == pd.read_parquet(out / "scores.parquet")["top_column_1"].notna().sum() > 0
    )
    assert "scores kept" in drawn.message
    score(run, overlays="none", out=out)
    assert pd.read_parquet(out / "scores.parquet")[EACH].isna().all(axis=None)
    assert not (out / "overlays").exists()


def test_many_columns_are_named_by_the_top_ones_alone(run, monkeypatch):
    monkeypatch.setattr("esad.pipeline.scoring.columns.numbers.MOST_IN_SCORES", 4)
    out = score(run, overlays="worst:3", out=run / "wide").out
    names = pq.read_schema(out / "scores.parquet").names
    assert "top_column_3" in names
    assert not [name for name in names if name.startswith("contribution_")]
    assert set(EACH) < set(pq.read_schema(out / "overlays" / NUMBERS).names)


def test_a_run_without_scales_has_a_heat_map_all_the_same(run, tmp_path, monkeypatch):
    """Runs of earlier versions have no heat.json."""
    monkeypatch.setattr("esad.pipeline.scoring.columns.numbers.run_scale", lambda *_: None)
    out = score(run, overlays="worst:3", out=tmp_path / "older").out
    assert (out / "overlays" / PICTURE).is_file()
    assert json.loads((run / "heat.json").read_text())["contribution"]["0.999"] > 0


def test_finished_scores_of_an_earlier_version_get_their_heat_map(run, tmp_path, monkeypatch):
    out = score(run, overlays="worst:3", out=tmp_path / "scores").out
    whole = {path.name: path.read_bytes() for path in (out / "overlays").iterdir()}
    table = pd.read_parquet(out / "scores.parquet")
    older = table.drop(columns=[name for name in table if name.startswith(("top_", "contribution_"))])
    older.to_parquet(out / "scores.parquet", index=False)
    shutil.rmtree(out / "overlays")
    monkeypatch.setattr("esad.pipeline.scoring.scores_table.score_shard", None)
    assert "Drew overlays, scores kept" in score(run, overlays="worst:3", out=out).message
    assert {path.name: path.read_bytes() for path in (out / "overlays").iterdir()} == whole
    assert pd.read_parquet(out / "scores.parquet").equals(table)
    assert "Left alone" in score(run, overlays="worst:3", out=out).message


def test_the_report_shows_the_heat_map_and_the_worst_rows(run):
    out = score(run, overlays="worst:3", out=run / "reported").out
    page = report([out]).out.read_text()
    told, table = said(out), pd.read_parquet(out / "scores.parquet")
    assert "Which columns the scores come from" in page
    assert told["contributions"] in page
    assert page.count("data:image/png") == 1
    worst = table[table["top_column_1"].notna()].nlargest(10, "score")
    for item in worst["item_id"]:
        assert item in page
    first = worst.iloc[0]
    assert f"<td>{first['top_contribution_1']:.3g}</td>" in page
    assert f"<td>{told['medians'][int(first['top_column_1'])]:.6g}</td>" in page


def test_a_column_without_a_median_is_shown_without_one(run, tmp_path):
    out = score(run, overlays="worst:3", out=tmp_path / "scores").out
    told = said(out)
    (out / "overlays" / "explanation.json").write_text(
        json.dumps({**told, "medians": [None] * len(told["medians"])})
    )
    assert "<td>missing</td>" in report([out]).out.read_text()


@pytest.mark.parametrize("name", [NUMBERS, PICTURE, "explanation.json"])
def test_damaged_files_of_overlays_are_named_by_the_report(run, tmp_path, name):
    out = score(run, overlays="worst:3", out=tmp_path / "scores").out
    (out / "overlays" / name).write_text("")
    if name == PICTURE:
        (out / "overlays" / name).unlink()
    with pytest.raises(EsadError, match=name):
        report([out])
