"""One score of several runs' scores: by hand, through the stages after it, kept up to date, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.inspection.details import item_details
from esad.pipeline.inspection.listing import Listing
from esad.pipeline.inspection.marks import Marks
from esad.pipeline.inspection.subject import Subject
from tests.pipeline.commands import made
from tests.pipeline.stores import make_store

FOREST = ("--set", "method=isolation_forest", "--set", "data.validation_share=0.4")


def train(folder, name, store, *settings):
    """A scored run of an isolation forest."""
    words = [word for each in settings for word in ("--set", each)]
    made("train", folder / store, "--out", folder / name, *FOREST, *words)
    made("score", folder / name, "--overlays", "none")
    return folder / name


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A store of rows and scored runs on it: two seeds of one split, and a third of another split."""
    folder = tmp_path_factory.mktemp("combine")
    make_store(folder)
    for name, *settings in (("one", "seed=0", "data.split_seed=5"), ("two", "seed=1", "data.split_seed=5")):
        train(folder, name, "store", *settings)
    train(folder, "three", "store", "seed=2", "data.split_seed=6")
    return folder


@pytest.fixture
def folder(made_once, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(made_once, tmp_path / "all")
    return tmp_path / "all"


def scores_of(run):
    return pd.read_parquet(run / "scores/store/scores.parquet")


def standardised(run, values):
    """(values - median) / median absolute deviation of the run's held-out normals."""
    normals = pd.read_parquet(run / "normals.parquet")["score"].to_numpy()
    middle = np.median(normals)
    return (values - middle) / np.median(np.abs(normals - middle))


def test_the_score_is_the_mean_of_standardised_scores_and_refers_to_their_normals(folder):
    runs = [folder / "one", folder / "two"]
    made("combine", *runs, "--out", folder / "both")
    table = scores_of(folder / "both")
    by_hand = np.mean([standardised(run, scores_of(run)["score"].to_numpy()) for run in runs], axis=0)
    np.testing.assert_allclose(table["score"], by_hand, rtol=1e-6)
    np.testing.assert_allclose(table[["member_1", "member_2"]].mean(axis=1), by_hand, rtol=1e-6)
    held = table[(table["part"] == "validation") & (table["label"] == 0)]
    normals = pd.read_parquet(folder / "both" / "normals.parquet").set_index("item_id")["score"]
    np.testing.assert_allclose(held.set_index("item_id")["score"], normals[held["item_id"]], rtol=1e-6)
    above = (normals.to_numpy()[None] >= table["score"].to_numpy()[:, None] - 1e-9).sum(axis=1)
    np.testing.assert_allclose(table["p_value"], (1 + above) / (1 + len(normals)), rtol=1e-9)
    for column in ("item_id", "label", "part", "group", "source"):
        pd.testing.assert_series_equal(table[column], scores_of(runs[0])[column])


def test_figures_page_and_viewer_take_it_and_the_terms_add_up(folder):
    made("combine", folder / "one", folder / "two", "--out", folder / "both")
    made("evaluate", folder / "both")
    metrics = json.loads((folder / "both/scores/store/metrics.json").read_text())
    assert metrics["evaluated"] == "test part"
    assert metrics["auc"] > 0.9
    made("report", folder / "both")
    page = (folder / "both/scores/store/report.html").read_text()
    assert "The score of an item is the mean of the scores of 2 runs" in page
    assert "The scores of 2 runs on store as one" in page
    made("suggest", folder / "both")
    subject = Subject([folder / "both"])
    marks = Marks(folder / "marks.sqlite")
    details = item_details(subject, Listing(subject, marks), marks, 3)["runs"][0]
    assert [term["name"] for term in details["terms"]] == ["member_1", "member_2"]
    assert sum(term["part"] for term in details["terms"]) == pytest.approx(details["score"])


def test_it_is_left_alone_until_a_member_changes(folder, capsys):
    words = ["combine", str(folder / "one"), str(folder / "two"), "--out", str(folder / "both")]
    assert call(words) == 0
    made("evaluate", folder / "both")
    assert call(words) == 0
    assert "Left alone" in capsys.readouterr().err
    assert (folder / "both/scores/store/metrics.json").exists()
    path = folder / "two/scores/store/scores.parquet"
    pd.read_parquet(path).assign(score=lambda table: table["score"] * 2).to_parquet(path)
    assert call(words) == 0
    assert "Wrote" in capsys.readouterr().err
    assert not (folder / "both/scores/store/metrics.json").exists()


def test_thresholds_may_be_others(folder):
    made("combine", folder / "one", folder / "two", "--out", folder / "both", "--false-alarms", 0.2)
    rule = json.loads((folder / "both/scores/store/scores.json").read_text())["thresholds"]
    assert rule["level"] == 0.2
    table = scores_of(folder / "both")
    assert (table["threshold"] == rule["sets"][0]["threshold"]).all()


def test_what_one_run_trained_on_is_never_counted(folder):
    made("combine", folder / "one", folder / "three", "--out", folder / "both")
    parts = [scores_of(folder / name)["part"] for name in ("one", "three", "both")]
    trained = (parts[0] == "train") | (parts[1] == "train")
    assert (parts[2][trained] == "train").all()
    assert (parts[0][parts[2] == "test"] == "test").all()
    assert (parts[1][parts[2] == "test"] == "test").all()
    normals = pd.read_parquet(folder / "both/normals.parquet")["item_id"]
    both = [set(pd.read_parquet(folder / name / "normals.parquet")["item_id"]) for name in ("one", "three")]
    assert set(normals) == both[0] & both[1]


def refused(capsys, words):
    status = call([str(word) for word in words])
    return status, capsys.readouterr().err.strip().splitlines()[-1]


def test_what_does_not_belong_together_is_refused(folder, capsys):
    one, two, out = folder / "one", folder / "two", folder / "new"
    assert refused(capsys, ["combine", one, "--out", out]) == (
        2,
        "error: 1 scores given; expected 2 to 20: esad combine RUN1 RUN2 --out FOLDER.",
    )
    status, said = refused(capsys, ["combine", one, one, "--out", out])
    assert (status, "given twice" in said) == (2, True)
    shutil.copytree(one, folder / "copy")
    status, said = refused(capsys, ["combine", one, folder / "copy", "--out", out])
    assert (status, "same weights" in said) == (2, True)
    path = two / "scores/store/scores.parquet"
    table = pd.read_parquet(path)
    other = table.assign(label=table["label"].where(table.index != 7, 1 - table["label"]))
    other.to_parquet(path)
    status, said = refused(capsys, ["combine", one, two, "--out", out])
    assert (status, f"{table['item_id'][7]}: " in said, "another label" in said) == (1, True, True)
    table.iloc[:-1].to_parquet(path)
    status, said = refused(capsys, ["combine", one, two, "--out", out])
    assert "other items" in said
    assert "(119 and 120, '" in said
    assert not out.exists()


def test_scores_of_another_archive_are_refused(folder, capsys):
    """Item ids come from names of files, which another archive may have, too."""
    path = folder / "two/scores/store/scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "inputs": "another"}))
    status, said = refused(capsys, ["combine", folder / "one", folder / "two", "--out", folder / "new"])
    assert (status, "scores of another archive than" in said) == (1, True)


def test_runs_without_a_common_normal_are_refused(folder, capsys):
    path = folder / "two/normals.parquet"
    normals = pd.read_parquet(path)
    normals.assign(item_id="x" + normals["item_id"]).to_parquet(path)
    status, said = refused(capsys, ["combine", folder / "one", folder / "two", "--out", folder / "new"])
    assert (status, "no normal item was held out by all" in said, "data.split_seed" in said) == (
        1,
        True,
        True,
    )


def test_a_folder_of_something_else_stays(folder, capsys):
    words = ["combine", folder / "one", folder / "two", "--force", "--out"]
    status, said = refused(capsys, [*words, folder / "three"])
    assert (status, "holds no combination" in said) == (1, True)
    made("combine", folder / "one", folder / "two", "--out", folder / "both")
    words = ["combine", folder / "one", folder / "three", "--out", folder / "both"]
    status, said = refused(capsys, words)
    assert "combines other scores" in said
    made(*words, "--force")


def test_it_has_no_model(folder, capsys):
    made("combine", folder / "one", folder / "two", "--out", folder / "both")
    for words in (
        ["score", folder / "both"],
        ["export", folder / "both", "--to", "onnx"],
        ["audit", folder / "both"],
    ):
        status, said = refused(capsys, words)
        assert (status, "holds combined scores and no model" in said) == (1, True)
    status, said = refused(capsys, ["combine", folder / "both", folder / "one", "--out", folder / "new"])
    assert (status, "is itself a combination" in said) == (1, True)
