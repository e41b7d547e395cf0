"""Scoring: what the table holds, stores new to the run, stores that do not fit."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from esad.pipeline.evaluate import evaluate
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.report import report
from esad.pipeline.score import score
from esad.pipeline.scoring.overlays import FOOT, PANEL
from esad.pipeline.scoring.scores import score_of
from esad.pipeline.scoring.slides.slide_maps import slide_names
from esad.pipeline.settings.config import ImageSettings, TableSettings
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.tables import tables
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store


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
    assert strip.shape[0] == PANEL + FOOT
    assert evaluate(folder / "run").summary["auc"] > 0.9
    page = report([folder / "run"], None).out.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "data:image/png;base64" in page


def everything(folder):
    """All that is to be the same: but the log, which holds the time."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path: (folder / path).read_bytes() for path in files if path.parts[0] != "log"}


def test_other_overlays_are_drawn_without_scoring_again(folder, tmp_path, monkeypatch):
    """And leave the very bytes that asking for them at once would; figures made of the scores stay."""
    at_once, later = tmp_path / "at-once", tmp_path / "later"
    score(folder / "run", out=at_once, overlays="worst:4")
    score(folder / "run", out=later, overlays="none")
    metrics = evaluate(later).out.read_bytes()
    monkeypatch.setattr("esad.pipeline.scoring.scores_table.score_shard", None)
    outcome = score(folder / "run", out=later, overlays="worst:4")
    assert "Drew overlays, scores kept" in outcome.message
    assert (later / "metrics.json").read_bytes() == metrics
    (later / "metrics.json").unlink()
    assert everything(later) == everything(at_once)
    assert score(folder / "run", out=later, overlays="none").summary["overlays"] == 0
    assert "Left alone" in score(folder / "run", out=later, overlays="none").message


def test_a_stop_while_overlays_are_drawn_costs_the_overlays_only(folder, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("esad.pipeline.scoring.overlays.write_strip", stop)
    with pytest.raises(KeyboardInterrupt):
        score(folder / "run", out=tmp_path / "scores", overlays="worst:4")
    monkeypatch.undo()
    with pytest.raises(EsadError, match="neither a run"):
        evaluate(tmp_path / "scores")
    monkeypatch.setattr("esad.pipeline.scoring.scores_table.score_shard", None)
    score(folder / "run", out=tmp_path / "scores", overlays="worst:4")
    monkeypatch.undo()
    score(folder / "run", out=tmp_path / "whole", overlays="worst:4")
    assert everything(tmp_path / "scores") == everything(tmp_path / "whole")


def test_new_scores_void_old_figures(folder, tmp_path):
    out = tmp_path / "scores"
    score(folder / "run", out=out, overlays="none")
    evaluate(out)
    (out / "scores.json").unlink()
    score(folder / "run", out=out, overlays="none")
    assert not (out / "metrics.json").exists()


def test_a_new_archive_without_labels_is_scored(folder):
    store = make_store(folder, "images", name="new", seed=9)
    table = store.manifest.assign(label=pd.array([None] * 120, dtype="Int8"), group="of this archive")
    table.to_parquet(store.root / "manifest.parquet", index=False)
    outcome = score(folder / "run", store.root, overlays="none")
    assert pd.read_parquet(outcome.out / "scores.parquet")["part"].isna().all()
    assert evaluate(outcome.out).summary["auc"] is None


def test_labels_given_after_scoring_reach_the_scores_without_scoring_again(folder, monkeypatch):
    store = make_store(folder, "images", name="late", seed=10)
    known = store.manifest
    known.assign(label=pd.array([None] * 120, dtype="Int8")).to_parquet(
        store.root / "manifest.parquet", index=False
    )
    outcome = score(folder / "run", store.root, overlays="none")
    before = pd.read_parquet(outcome.out / "scores.parquet")
    assert evaluate(outcome.out).summary["auc"] is None
    known.to_parquet(store.root / "manifest.parquet", index=False)
    monkeypatch.setattr("esad.pipeline.scoring.scores_table.score_shard", None)
    assert "Labels" not in score(folder / "run", store.root, overlays="worst:2").message
    assert pd.read_parquet(outcome.out / "scores.parquet")["label"].tolist() == known["label"].tolist()
    other = known.assign(label=1 - known["label"])
    other.to_parquet(store.root / "manifest.parquet", index=False)
    assert "Labels" in score(folder / "run", store.root, overlays="worst:2").message
    known.to_parquet(store.root / "manifest.parquet", index=False)
    again = score(folder / "run", store.root, overlays="worst:2")
    after = pd.read_parquet(outcome.out / "scores.parquet")
    assert after["label"].tolist() == known["label"].tolist()
    told = ["item_id", "score", "percentile", "source", "group", "part"]
    assert after[told].equals(before[told])
    assert evaluate(outcome.out).summary["auc"] > 0.9
    assert "Left alone" in again.message or "Labels" in again.message
    assert "Left alone" in score(folder / "run", store.root, overlays="worst:2").message


def test_a_store_of_other_settings_or_kind_is_refused_by_name(folder):
    other = make_store(folder, "images", name="resized", settings={"size": 16})
    with pytest.raises(EsadError, match=r"size: None -> 16.*--like"):
        score(folder / "run", other.root)
    table = make_store(folder, "table", name="rows")
    with pytest.raises(EsadError, match="a store of table"):
        score(folder / "run", table.root)


def test_a_moved_store_is_still_the_runs_own(folder, tmp_path):
    shutil.copytree(folder / "store", tmp_path / "moved")
    here = pd.read_parquet(score(folder / "run", overlays="none", out=tmp_path / "a").out / "scores.parquet")
    there = score(folder / "run", tmp_path / "moved", overlays="none", out=tmp_path / "b")
    assert pd.read_parquet(there.out / "scores.parquet")["part"].equals(here["part"])
    assert evaluate(there.out).summary["evaluated"] == "test part"


@pytest.mark.parametrize("same", [True, False])
def test_items_trained_on_do_not_count_in_another_store_of_the_same_file(folder, tmp_path, same):
    """The second store holds the first one's file and a further one; or a file of that name with other pictures."""
    numbers = np.random.default_rng(5)
    archive = tmp_path / "archive"
    shutil.copytree(folder / "archive-store", archive)
    np.savez(archive / "b.npz", x=numbers.integers(0, 255, (8, 16, 16, 1), dtype=np.uint8), y=[0, 1] * 4)
    if not same:
        content = dict(np.load(archive / "a.npz"))
        np.savez(archive / "a.npz", **{**content, "x": 255 - content["x"]})
    out = tmp_path / "store"
    images([archive], ImageSettings(), IngestOptions(out))
    shutil.copytree(folder / "run", tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config["store"]["settings"] = Store(out).settings
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    scores = score(tmp_path / "run", out, tmp_path / "scores", overlays="none").out
    table = pd.read_parquet(scores / "scores.parquet")
    assigned = pd.read_parquet(folder / "run" / "assignments.parquet")
    trained = assigned.loc[assigned["part"] != "test", "item_id"]
    assert table["part"].notna().sum() == (len(trained) if same else 0)
    assert evaluate(scores).summary["items"] == 128 - (len(trained) if same else 0)


def test_a_table_with_its_columns_in_another_order_is_refused(tmp_path):
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
    rows["y"] = [0, 0, 0, 1] * 10
    for name, columns in (("one", ["a", "b", "c", "y"]), ("two", ["b", "a", "c", "y"])):
        rows[columns].to_csv(tmp_path / f"{name}.csv", index=False)
        tables([tmp_path / f"{name}.csv"], TableSettings(), IngestOptions(tmp_path / name))
    train(tmp_path / "one", tmp_path / "run", None, [QUICK_TABLE])
    with pytest.raises(EsadError, match="column 'b' stands where 'a' was"):
        score(tmp_path / "run", tmp_path / "two")


def test_without_a_test_part_the_highest_scores_of_all_are_shown(folder, tmp_path):
    settings = {**QUICK, "data.test_share": 0, "data.validation_share": 0, "checkpoint_seconds": 60}
    train(folder / "store", tmp_path / "run", None, [settings])
    scores = score(tmp_path / "run", overlays="worst:3").out
    assert len(list((scores / "overlays").glob("*.png"))) >= 3


def test_one_reference_normal_gives_finite_standardised_scores():
    normals = pd.DataFrame({"reconstruction": [2.0], "norm": [0.0]})
    table = pd.DataFrame({"reconstruction": [3.0, 2.0], "norm": [0.5, 0.0]})
    assert score_of("standardised", table, normals) == pytest.approx([(3 - 2) / 2 + 0.5, 0])


def test_slides_that_would_share_a_name_have_maps_of_their_own():
    names = slide_names(["A/s1.svs", "A__s1.svs", "b.svs", "c.tif", "c.svs", "d/" * 90 + "e.svs"])
    assert len(set(names.values())) == 6
    assert names["b.svs"] == "b"
    assert max(map(len, names.values())) < 100


@pytest.mark.parametrize("source", ["../../up.svs", "/etc/up.svs", "..", "a/../../b.svs", ".svs"])
def test_no_slide_name_leaves_its_folder(source, tmp_path):
    (name,) = slide_names([source]).values()
    assert (tmp_path / f"{name}.npy").resolve().parent == tmp_path


def test_overlays_option_is_checked(folder):
    with pytest.raises(UsageError, match="worst:50"):
        score(folder / "run", overlays="some")


def test_standardised_scores_by_hand():
    normals = pd.DataFrame({"reconstruction": [1.0, 2, 3, 4, 5], "norm": [0.0, 10, 20, 30, 40]})
    table = pd.DataFrame({"reconstruction": [5.0], "norm": [0.0]})
    assert score_of("standardised", table, normals) == pytest.approx([(5 - 3) / 1 + (0 - 20) / 10])
