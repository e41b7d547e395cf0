"""Lambda curves of real trainings, by the command, and what else is drawn of tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from esad.pipeline.cli.app import call
from esad.pipeline.runs.run_folder import open_run
from tests.pipeline.commands import words
from tests.pipeline.drawing.runs import train
from tests.pipeline.stores import QUICK_TABLE, make_store


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A store of table rows and scored runs of it that differ in lambda1 and seed; one has been evaluated."""
    folder = tmp_path_factory.mktemp("tables")
    make_store(folder)
    for value in (0.1, 10):
        for seed in (0, 1):
            settings = {**QUICK_TABLE, "train.steps": 20, "loss.lambda1": value, "seed": seed}
            train(folder / "store", folder / f"run-{value}-{seed}", settings)
    assert call(["evaluate", str(folder / "run-10-1")]) == 0
    return folder


def runs_of(tables: Path) -> list[str]:
    return sorted(str(path) for path in tables.glob("run-*"))


def test_a_curve_has_the_means_of_the_scores_own_auc(tables, tmp_path):
    out = tmp_path / "out"
    assert call(["figures", *runs_of(tables), "--out", str(out), "--only", "lambda"]) == 0
    areas = {}
    for run in runs_of(tables):
        scores = pd.read_parquet(Path(run) / "scores/store/scores.parquet")
        test = scores[scores["part"] == "test"]
        areas[Path(run).name] = roc_auc_score(test["label"].astype(int), test["score"])
    runs = pd.read_csv(out / "lambda-runs.csv").set_index("run")
    assert runs["auc"].to_dict() == pytest.approx(areas)
    assert runs.loc["run-0.1-1", ["lambda1", "seed", "method", "data_set"]].tolist() == [
        0.1,
        1,
        "esad",
        "store",
    ]
    points = pd.read_csv(out / "lambda1.csv")
    assert points["value"].tolist() == [0.1, 10]
    for value, auc, std in points[["value", "auc", "std"]].to_numpy():
        both = [areas[f"run-{value:g}-{seed}"] for seed in (0, 1)]
        assert auc == pytest.approx(np.mean(both))
        assert std == pytest.approx(np.std(both, ddof=1))
    assert points["runs"].tolist() == [2, 2]
    assert "mean ± standard deviation over 2 runs" in (out / "README.md").read_text()
    assert not (out / "lambda2.csv").exists()


def test_figures_of_an_evaluated_run_are_those_of_its_metrics(tables, tmp_path):
    copies = [shutil.copytree(run, tmp_path / Path(run).name) for run in runs_of(tables)]
    path = copies[-1] / "scores/store/metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auc": 0.125}))
    assert call(["figures", *map(str, copies), "--out", str(tmp_path / "out"), "--only", "lambda"]) == 0
    assert pd.read_csv(tmp_path / "out/lambda-runs.csv")["auc"].iloc[-1] == 0.125


def test_rows_of_a_table_have_maps_and_curves_and_no_examples(tables, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(["figures", *runs_of(tables)[1:3], "--out", str(out)]) == 0
    assert {path.stem for path in out.glob("*.png")} == {"tsne", "lambda1"}
    table = pd.read_csv(out / "tsne.csv")
    counts = [int((open_run(Path(run)).assignments["part"] == "test").sum()) for run in runs_of(tables)[1:3]]
    assert table.groupby(["run", "code"], sort=False).size().tolist() == np.repeat(counts, 2).tolist()
    assert set(table["kind"]) == {"normal", "anomaly"}
    assert table["class_name"].isna().all()
    assert "rows of a table are no pictures" in (out / "README.md").read_text()
    assert call(["figures", runs_of(tables)[0], "--out", str(tmp_path / "no"), "--only", "examples"]) == 1
    assert (
        "--only examples: nothing to draw. run-0.1-0: rows of a table are no pictures"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "no").exists()


def test_a_sweep_gives_curves_once_its_runs_are_scored(tmp_path, capsys):
    make_store(tmp_path)
    sweep, out = tmp_path / "sweep", str(tmp_path / "out")
    quick = words({**QUICK_TABLE, "train.steps": 10, "data.validation_share": 0.3})
    over = ["--over", "loss.lambda1=0.1,1,10", "--over", "loss.lambda2=0,1"]
    assert call(["sweep", str(tmp_path / "store"), "--out", str(sweep), *quick, *over]) == 0
    assert call(["figures", str(sweep), "--out", out]) == 1
    told = capsys.readouterr().err
    assert (
        f"{sweep}: 6 of its runs are not scored yet. Run esad score RUN --overlays none for each folder in"
        in told
    )
    cells = sorted((sweep / "cells").iterdir())
    for cell in cells[:-1]:
        assert call(["score", str(cell)]) == 0
    assert call(["figures", str(sweep), "--out", out]) == 3
    assert "1 of its runs are not scored yet" in (tmp_path / "out/README.md").read_text()
    assert call(["score", str(cells[-1])]) == 0
    assert call(["figures", str(sweep), "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == ["lambda1", "lambda2"]
    points = pd.read_csv(tmp_path / "out/lambda1.csv")
    assert points["curve"].unique().tolist() == ["store, lambda2 0", "store, lambda2 1"]
    assert points.groupby("curve")["value"].apply(list).tolist() == [[0.1, 1, 10]] * 2
    (cells[0] / "model.safetensors").unlink()
    assert call(["figures", str(sweep), "--out", str(tmp_path / "other")]) == 3
    assert f"{cells[0]}: training has not finished" in capsys.readouterr().err


def test_a_curve_may_average_over_another_setting(tables, tmp_path):
    runs = runs_of(tables)[::2]
    for number, run in enumerate(runs_of(tables)[::2]):
        copy = shutil.copytree(run, tmp_path / f"copy{number}")
        config = yaml.safe_load((copy / "config.yaml").read_text())
        config["data"]["gamma_p"] = 0.25
        (copy / "config.yaml").write_text(yaml.safe_dump(config))
        runs.append(str(copy))
    apart, together = tmp_path / "apart", tmp_path / "together"
    assert call(["figures", *runs, "--out", str(apart), "--only", "lambda"]) == 0
    assert pd.read_csv(apart / "lambda1.csv")["curve"].unique().tolist() == [
        "store, data.gamma_p 0.0", "store, data.gamma_p 0.25",
    ]  # fmt: skip
    assert (
        call(["figures", *runs, "--out", str(together), "--only", "lambda", "--across", "data.gamma_p"]) == 0
    )
    assert pd.read_csv(together / "lambda1.csv")["runs"].tolist() == [2, 2]


def test_runs_of_different_stores_make_no_one_curve(tables, tmp_path, capsys):
    make_store(tmp_path, seed=1, name="other")
    run = tmp_path / "run-other"
    train(tmp_path / "other", run, {**QUICK_TABLE, "train.steps": 10, "loss.lambda1": 3.0})
    first = runs_of(tables)[0]
    assert call(["figures", first, str(run), "--out", str(tmp_path / "out"), "--only", "lambda"]) == 1
    told = capsys.readouterr().err
    assert "loss.lambda1 = 0.1" in told
    assert "loss.lambda1 = 3" in told
    assert "a curve is of one store" in told
    assert (
        call(["figures", first, str(run), "--out", str(tmp_path / "out"), "--items", "20"]) == 0
    )  # the maps are drawn
    assert "a curve is of one store" in (tmp_path / "out/README.md").read_text()
    assert len(pd.read_csv(tmp_path / "out/tsne.csv")["run"].unique()) == 2


def test_scores_on_another_store_show_its_items(tables, tmp_path):
    new, run = make_store(tmp_path, name="new", seed=3), runs_of(tables)[0]
    assert call(["score", run, str(new.root), "--out", str(tmp_path / "scores")]) == 0
    assert call(["figures", str(tmp_path / "scores"), "--out", str(tmp_path / "out"), "--items", "60"]) == 0
    table = pd.read_csv(tmp_path / "out/tsne.csv")
    table = table[table["code"] == "z"]
    assert table["label"].value_counts().to_dict() == {0: 30, 1: 30}
    assert (new.manifest["label"].iloc[table["row"]].to_numpy() == table["label"].to_numpy()).all()
    assert table["run"].iloc[0] == "run-0.1-0, scores scores"
    assert "all labelled" in (tmp_path / "out/README.md").read_text()
