"""`esad benchmark` through the command line, on a tiny table and two seeds; parts, going on, comparison, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from esad.models.methods.classic import oc_svm
from esad.models.networks import ColumnScaler
from esad.models.training.fit import TrainingData
from esad.pipeline import tables as stage
from esad.pipeline.benchmarking import cells as cells_room
from esad.pipeline.benchmarking import measurement
from esad.pipeline.benchmarking.grid import cell_settings, cells, read_grid, runs_of
from esad.pipeline.benchmarking.tables import markdown, summarise
from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.score import score
from esad.pipeline.train import train

SHORT = {
    "train.steps": 8,
    "train.warmup.steps": 8,
    "train.batch_size": 16,
    "data.validation_share": 0,
    "network.width": 1.0,
}
GRID = {
    "title": "Tiny",
    "datasets": {"tiny-1": "some/tiny.npz"},
    "methods": {"esad": {}, "cae": {}},
    "splits": ["published", "clean"],
    "gamma_l": [0.05],
    "seeds": 2,
    "settings": SHORT,
    "paper": {"esad": {"tiny-1": [10.0, 0.5]}},
}


@pytest.fixture
def data(tmp_path):
    """A folder with one table of 90 normals and 30 anomalies."""
    numbers = np.random.default_rng(0)
    y = np.repeat([0, 1], [90, 30])
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "tiny.npz", X=numbers.normal(size=(120, 5)) + 3 * y[:, None], y=y)
    return folder


def grid_file(folder: Path, **changes: object) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))
    return path


def results(capsys: pytest.CaptureFixture, *words: object) -> list[dict]:
    """What --json prints; the command must succeed."""
    status = call(["benchmark", *map(str, words), "--json"])
    told = capsys.readouterr()
    assert status == 0, told.err
    return json.loads(told.out)


def without_clocks(told: str) -> list[dict]:
    """Printed results but for what a run took."""
    return [{key: line[key] for key in line if not key.endswith("_seconds")} for line in json.loads(told)]


def test_a_grid_gives_every_cell_its_figures_and_resumes_cell_by_cell(data, tmp_path, capsys):
    file, out = grid_file(tmp_path), tmp_path / "out"
    first = results(
        capsys, file, "--data", data, "--out", out, "--only", "dataset=TINY_1", "--only", "method=ESAD"
    )
    assert [(line["dataset"], line["method"], line["split"], line["runs"]) for line in first] == [
        ("tiny-1", "esad", "published", 2), ("tiny-1", "esad", "clean", 2),
    ]  # fmt: skip
    assert all(50 < line["mean"] <= 100 for line in first)
    before = {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert len(before) == 2
    every = results(capsys, file, "--data", data, "--out", out)
    assert every[:1] == first[:1]
    assert len(every) == 4
    assert all((out / "cells" / name).stat().st_mtime_ns == when for name, when in before.items())
    rows = pd.read_parquet(out / "results.parquet")
    assert len(rows) == 8
    for line in every:
        own = rows[(rows["method"] == line["method"]) & (rows["split"] == line["split"])]["auc"]
        assert line["mean"] == pytest.approx(own.mean())
        assert line["std"] == pytest.approx(own.std(ddof=1))
    published, clean = (rows[rows["split"] == split] for split in ("published", "clean"))
    assert (published["one_part"] > 0).all()
    assert (published["normals_trained_on"] > 0.3).all()
    assert (clean[[*measurement.AUDITED, "scaling_on_training", "normals_trained_on"]] == 0).all(axis=None)
    text = (out / "results.md").read_text()
    assert "10.0 +- 0.5" in text
    assert "beyond noise" in text


def test_a_seed_of_a_cell_is_the_run_that_the_stages_make(data, tmp_path, capsys):
    out = tmp_path / "out"
    results(
        capsys,
        grid_file(tmp_path),
        "--data",
        data,
        "--out",
        out,
        "--only",
        "method=esad",
        "--only",
        "split=clean",
    )
    rows = pd.read_parquet(out / "results.parquet").set_index("seed")
    settings = {**SHORT, "data.labelled": "ratio", "data.gamma_l": 0.05, "seed": 1}
    train(out / "stores" / "tiny-1", tmp_path / "run", None, [settings])
    score(tmp_path / "run")
    assert 100 * evaluate(tmp_path / "run").summary["auc"] == pytest.approx(rows.loc[1, "auc"], abs=0.5)


def test_a_cell_writes_nothing_into_the_store_that_others_read(data, tmp_path, capsys, monkeypatch):
    made = []
    original = stage.tables
    monkeypatch.setattr(
        stage,
        "tables",
        lambda inputs, _, options: (made.append(options.out.name), original(inputs, _, options)),
    )
    seen, cell = [], cells_room.run_cell

    def watched(grid, which, *words):
        folder = tmp_path / "out" / "stores" / which.dataset
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        cell(grid, which, *words)
        seen.append(before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")})

    monkeypatch.setattr(cells_room, "run_cell", watched)
    results(capsys, grid_file(tmp_path), "--data", data, "--out", tmp_path / "out")
    assert made == ["tiny-1"]
    assert seen == [True] * 4


def test_one_cell_that_cannot_be_trained_does_not_stop_the_others(data, tmp_path, capsys):
    changes = {
        "methods": {"cae": {}, "esad": {"train.learning_rate": 1e30, "train.restarts": 0}},
        "splits": ["clean"],
    }
    file = grid_file(tmp_path, **changes)
    status = call(["benchmark", str(file), "--data", str(data), "--out", str(tmp_path / "out"), "--json"])
    told = capsys.readouterr()
    assert status == 3
    assert [line["method"] for line in json.loads(told.out)] == ["cae"]
    assert "tiny-1-esad-clean-0.05-0-all cannot be trained" in told.err


def test_what_one_cell_cannot_have_does_not_stop_the_others(data, tmp_path, capsys):
    methods = {"esad": {}, "vast": {"method": "esad", "network.width": 1e6}}
    file = grid_file(tmp_path, gamma_l=[0.05, 0.9], methods=methods, splits=["clean"], paper={})
    out = tmp_path / "out"
    assert call(["benchmark", str(file), "--data", str(data), "--out", str(out)]) == 3
    said = capsys.readouterr().err
    assert "tiny-1-esad-clean-0.9-0-all cannot be trained: data.gamma_l = 0.9 asks for" in said
    assert "tiny-1-vast-clean-0.05-0-all cannot be trained: Out of memory" in said
    assert pd.read_parquet(out / "results.parquet")["name"].unique().tolist() == [
        "tiny-1-esad-clean-0.05-0-all"
    ]


def test_cells_of_other_settings_are_left_out_and_named(data, tmp_path, capsys):
    words = ["--data", data, "--out", tmp_path / "out", "--only", "split=clean"]
    results(capsys, grid_file(tmp_path), *words)
    changed = grid_file(tmp_path, settings={**SHORT, "train.steps": 9})
    status = call(["benchmark", str(changed), *map(str, words), "--only", "method=esad", "--force"])
    assert status == 0
    assert "tiny-1-cae-clean-0.05-0-all.json: left out of the results" in capsys.readouterr().err
    assert set(pd.read_parquet(tmp_path / "out" / "results.parquet")["method"]) == {"esad"}


def test_a_clean_split_that_fails_its_audit_is_said(data, tmp_path, capsys):
    stored = np.load(data / "tiny.npz")
    np.savez(data / "tiny.npz", X=np.repeat(stored["X"], 2, axis=0), y=np.repeat(stored["y"], 2))
    settings = {**SHORT, "data.copies_together": False}
    file = grid_file(tmp_path, splits=["clean"], methods={"cae": {}}, settings=settings, paper={})
    assert call(["benchmark", str(file), "--data", str(data), "--out", str(tmp_path / "out")]) == 0
    assert "tiny-1-cae-clean-0.05-0-all: the split fails identical_apart" in capsys.readouterr().err


def test_a_cluster_gives_the_cells_of_one_process_and_tells_what_they_told(
    data, tmp_path, dask_cluster, capsys, monkeypatch
):
    stored = np.load(data / "tiny.npz")
    np.savez(data / "tiny.npz", X=np.repeat(stored["X"], 2, axis=0), y=np.repeat(stored["y"], 2))
    broken = {"method": "esad", "train.learning_rate": 1e30, "train.restarts": 0}
    settings = {**SHORT, "data.copies_together": False}
    file = grid_file(
        tmp_path, methods={"cae": {}, "esad": {}, "broken": broken}, splits=["clean"], settings=settings
    )
    monkeypatch.chdir(tmp_path)  # relative paths are of this folder, not of the workers'
    words = ["benchmark", str(file), "--data", "data", "--json", "--out"]
    scheduler = ["--scheduler", dask_cluster.scheduler_address]
    assert call([*words, "here"]) == 3
    here = capsys.readouterr()
    assert call([*words, "there", *scheduler]) == 3
    there = capsys.readouterr()
    assert without_clocks(there.out) == without_clocks(here.out)
    assert "tiny-1-broken-clean-0.05-0-all cannot be trained" in there.err
    assert "tiny-1-cae-clean-0.05-0-all: the split fails identical_apart" in there.err
    one, other = (pd.read_parquet(tmp_path / name / "results.parquet") for name in ("here", "there"))
    clocks = ["train_seconds", "score_seconds"]
    pd.testing.assert_frame_equal(one.drop(columns=clocks), other.drop(columns=clocks))
    assert call([*words, "there", *scheduler, "--workers", "2"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_columns_scaled_by_other_rows_are_counted():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    data = TrainingData(rows, [np.arange(20), np.arange(10, 40)], [np.zeros(20), np.zeros(30)])
    method = SimpleNamespace(scaler=ColumnScaler(2, 5))
    method.scaler.fit(0, rows[:20])
    method.scaler.fit(1, rows)
    assert measurement._scaled(method, data, 0) == 0
    assert measurement._scaled(method, data, 1) > 0


@pytest.mark.slow
def test_two_workers_give_what_one_gives_and_report_what_cannot_be_trained(data, tmp_path, capsys):
    broken = {"method": "esad", "train.learning_rate": 1e30, "train.restarts": 0}
    file = grid_file(tmp_path, methods={"cae": {}, "esad": {}, "broken": broken}, splits=["clean"])
    found = []
    for workers in ("1", "2"):
        words = [
            "benchmark",
            str(file),
            "--data",
            str(data),
            "--out",
            str(tmp_path / workers),
            "--workers",
            workers,
        ]
        assert call([*words, "--json"]) == 3
        told = capsys.readouterr()
        assert "broken-clean-0.05-0-all cannot be trained" in told.err
        found.append(sorted(json.loads(told.out), key=lambda line: line["method"]))
    assert [line["method"] for line in found[0]] == ["cae", "esad"]
    for one, two in zip(*found, strict=True):
        assert two["mean"] == pytest.approx(one["mean"], abs=0.5)


@pytest.mark.parametrize(
    ("changes", "words", "status", "message"),
    [
        ({}, ["--only", "dataset=cardio"], 2, "no such dataset, only tiny-1"),
        ({}, ["--only", "seed=1"], 2, "dataset, method, split"),
        (
            {"methods": {"esad": {}, "supervised": {}}, "gamma_l": [0, 0.05], "paper": {}},
            ["--only", "method=supervised", "--only", "gamma_l=0"],
            2,
            "no cell of the grid is method=supervised and gamma_l=0",
        ),
        (
            {"methods": {"supervised": {}}, "gamma_l": [0], "paper": {}},
            [],
            2,
            "the grid has no cell",
        ),
        ({"methods": {"esda": {}}}, [], 2, "did you mean 'esad'"),
        ({"settings": {"train.stepz": 1}}, [], 2, "train.steps"),
        ({"methods": {"esad": 5}, "paper": {}}, [], 2, "expected settings by name"),
        (
            {"methods": {"esad x": {"method": "esad"}, "esad_x": {"method": "cae"}}, "paper": {}},
            [],
            2,
            "two cells",
        ),
        ({"methods": {"a/b": {"method": "esad"}}, "paper": {}}, [], 2, "slash"),
        ({"gamma_l": [0.05, 0.05], "paper": {}}, [], 2, "two cells"),
        ({"paper": {"isolation_forst": {"tiny-1": [1.0, 1.0]}}}, [], 2, "no method 'isolation_forst'"),
        ({"datasets": {"a": "gone.npz"}, "paper": {}}, [], 2, "gone.npz: no such file"),
        ({"splits": ["dirty"]}, [], 2, "splits"),
        (
            {"methods": {"oc_svm": {}}, "splits": ["validation"], "paper": {}},
            [],
            2,
            "oc_svm chooses its kernel",
        ),
    ],
)
def test_faults_are_found_before_anything_is_trained(data, tmp_path, capsys, changes, words, status, message):
    file = grid_file(tmp_path, **changes)
    found = call(["benchmark", str(file), "--data", str(data), "--out", str(tmp_path / "out"), *words])
    assert found == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("where", "message"),
    [({"label": "1"}, "here is one class only"), ({"ward": "3"}, "the store has no column 'ward'")],
)
def test_a_grid_keeps_the_items_that_it_asks_for(data, tmp_path, capsys, where, message):
    file = grid_file(tmp_path, settings={**SHORT, "data.where": where})
    assert call(["benchmark", str(file), "--data", str(data), "--out", str(tmp_path / "out")]) != 0
    assert message in capsys.readouterr().err


def test_other_settings_are_refused_by_name_and_force_replaces(data, tmp_path, capsys):
    part = [
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--only",
        "method=cae",
        "--only",
        "split=clean",
    ]
    results(capsys, grid_file(tmp_path), *part)
    file = grid_file(tmp_path, seeds=3)
    assert call(["benchmark", str(file), *part]) == 1
    assert "seeds: 2 -> 3" in capsys.readouterr().err
    assert results(capsys, file, *part, "--force")[0]["runs"] == 3


def test_a_difference_is_beyond_noise_above_two_standard_errors(tmp_path):
    grid = read_grid(str(grid_file(tmp_path, paper={"esad": {"tiny-1": [90.0, 3.0]}})))
    cell = cells(grid)[0]
    shared = {"normals_trained_on": 0.0, "anomalies_labelled": 0.0, "one_part": 0, "identical_apart": 0}
    for shift, beyond in ((3.9, False), (4.1, True)):  # in halves of two standard errors
        values = 90 + shift / 2 * np.sqrt(8 / 2 + 9 / 10) + np.array([-2, 2])  # the paper's is of ten runs
        rows = pd.DataFrame(
            [
                {
                    **cell.values(),
                    "line": cell.line,
                    "oracle": False,
                    "name": cell.name,
                    "seed": seed,
                    "auc": value,
                    **shared,
                }
                for seed, value in enumerate(values)
            ]
        )
        table = summarise(rows, grid)
        assert table["std"].iloc[0] == pytest.approx(np.sqrt(8))
        assert bool(table["beyond_noise"].iloc[0]) is beyond
        assert ("beyond noise" if beyond else "within noise") in markdown(table, grid)
    alone = summarise(rows[:1], grid.model_copy(update={"seeds": 1}))
    assert not alone["beyond_noise"].iloc[0]
    (line,) = [line for line in markdown(alone, grid).splitlines() if line.startswith("| tiny-1")]
    assert "noise" not in line
    assert "| 1 | 92.5 |" in line


def test_pages_and_figures_show_what_the_table_says(data, tmp_path, capsys):
    out = tmp_path / "out"
    line = results(capsys, grid_file(tmp_path, methods={"esad": {}}), "--data", data, "--out", out)[0]
    page = (out / "results.html").read_text()
    assert f"{line['mean']:.1f} +- {line['std']:.1f}" in page
    assert 'class="above"' in page  # the paper's 10.0 +- 0.5
    assert "http" not in page.replace("http://www.w3.org", "")
    assert {path.name for path in (out / "figures").iterdir()} == {"methods.png", "methods.svg"}
    before = (out / "figures" / "methods.svg").read_bytes()
    results(capsys, tmp_path / "grid.yaml", "--data", data, "--out", out)
    assert (out / "figures" / "methods.svg").read_bytes() == before  # no time, no random names


def test_a_varied_ratio_is_drawn_and_published_figures_of_one_ratio_are_refused(data, tmp_path, capsys):
    changes = {"methods": {"cae": {}}, "splits": ["clean"], "gamma_l": [0.0, 0.05], "seeds": 1}
    out = tmp_path / "out"
    assert len(results(capsys, grid_file(tmp_path, paper={}, **changes), "--data", data, "--out", out)) == 2
    assert {path.name for path in (out / "figures").iterdir()} == {"gamma_l-clean.png", "gamma_l-clean.svg"}
    published = grid_file(tmp_path, paper={"cae": {"tiny-1": [1.0, 1.0]}}, **changes)
    found = call(["benchmark", str(published), "--data", str(data), "--out", str(tmp_path / "no")])
    assert found == 2
    assert "one ratio each" in capsys.readouterr().err


def test_auc_against_the_number_of_labelled_anomalies(data, tmp_path, capsys):
    """The autoencoder uses none, and is a line across the figure; what has none to learn from has no cell without any."""
    changes = {"labelled": [0, 2, 5], "gamma_l": None, "splits": ["clean"], "paper": {}, "seeds": 1}
    changes["methods"] = {"esad": {}, "supervised": {}, "cae": {"only": {"labelled": [0]}}}
    grid = grid_file(tmp_path, **changes)
    text = yaml.safe_load(grid.read_text())
    del text["gamma_l"]
    grid.write_text(yaml.safe_dump(text))
    found = results(capsys, grid, "--data", data, "--out", tmp_path / "out")
    assert {(row["method"], row["labelled"]) for row in found} == {
        ("esad", 0), ("esad", 2), ("esad", 5), ("supervised", 2), ("supervised", 5), ("cae", 0),
    }  # fmt: skip
    assert len(found) == 6
    for name, count in (("esad-clean-n0-0-all", 0), ("esad-clean-n5-0-all", 5)):
        cell = json.loads((tmp_path / "out/cells" / f"tiny-1-{name}.json").read_text())
        assert cell["settings"]["data"]["labelled"] == count
    assert "| 5 labelled |" in (tmp_path / "out/results.md").read_text()
    assert "labelled anomalies" in (tmp_path / "out/figures/labelled-clean.svg").read_text()
    text["gamma_l"] = [0.05]
    grid.write_text(yaml.safe_dump(text))
    assert call(["benchmark", str(grid), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "state the number of labelled anomalies, or their share" in capsys.readouterr().err


def test_the_grid_of_label_efficiency_counts_labelled_anomalies():
    grid = read_grid("labels")
    counts = {cell.labelled for cell in cells(grid) if cell.method == "esad"}
    assert counts == {0, 1, 2, 5, 10, 20, 50, 100}
    for cell in cells(grid, ["method=esad", "dataset=mnist"]):
        settings = cell_settings(grid, cell, runs_of(grid, cell)[0])
        assert settings.data.labelled == cell.labelled
        assert settings.loss.score_lambda1 == (0.2 if cell.labelled else None)


def test_rows_of_one_method_differ_in_settings_and_an_oracle_chooses_on_the_test_part(
    data, tmp_path, capsys, monkeypatch
):
    seen = {}
    choose = oc_svm.choose_gamma_and_nu

    def watch(sample, *rest):
        seen.setdefault(len(sample.held_label), []).append(int(sample.held_label.sum()))
        return choose(sample, *rest)

    monkeypatch.setattr(oc_svm, "choose_gamma_and_nu", watch)
    rows = {
        "alone": {"method": "oc_svm", "data.validation_share": 0.25},
        "as published": {"method": "oc_svm", "oracle": True},
    }
    file = grid_file(tmp_path, methods=rows, splits=["clean"], paper={})
    found = results(capsys, file, "--data", data, "--out", tmp_path / "out")
    assert [(line["method"], line["oracle"]) for line in found] == [("alone", False), ("as published", True)]
    # of 54 normals and 18 anomalies in training a quarter; of 36 and 12 in test a tenth
    assert seen == {19: [5, 5], 5: [1, 1]}
    assert "as published (oracle)" in (tmp_path / "out" / "results.md").read_text()


def test_the_validation_split_never_uses_the_test_part(data, tmp_path, capsys, monkeypatch):
    tested = []

    def watch(split):
        tested.append(set(split.loc[split["part"] == "test", "item_id"]))
        kept = stage_side(split)
        assert not tested[-1] & set(kept["item_id"])
        assert set(kept["part"]) == {"train", "test"}
        return kept

    stage_side = measurement._training_side
    monkeypatch.setattr(measurement, "_training_side", watch)
    file = grid_file(tmp_path, methods={"esad": {}}, splits=["validation"])
    assert len(results(capsys, file, "--data", data, "--out", tmp_path / "out")) == 1
    assert [len(items) for items in tested] == [48, 48]


def test_the_built_in_grid_is_table_3():
    grid = read_grid("table3")
    assert len(cells(grid)) == 6 * 15 * 2
    assert set(grid.paper) <= set(grid.methods)
    assert grid.paper["esad"]["cardio"] == (98.8, 0.5)
    assert all(set(figures) == set(grid.datasets) for figures in grid.paper.values())


def test_the_rows_of_table_4_are_settings_of_one_implementation():
    grid = read_grid("table4")
    assert len(grid.methods) == 6
    chosen = [
        cell_settings(grid, cell, runs_of(grid, cell)[0])
        for cell in cells(grid, ["dataset=cardio", "split=clean"])
    ]
    switches = [
        (one.network.second_encoder, one.loss.lambda2 > 0, one.phi.noise > 0, one.phi.rearrange)
        for one in chosen
    ]
    assert switches == [
        (False, False, False, False), (True, False, False, False), (True, True, False, False), (True, True, True, False),
        (True, True, False, True), (True, True, True, True),
    ]  # fmt: skip
    assert grid.paper["all"] == {"satellite": (92.5, 0.7), "cardio": (98.8, 0.5)}
