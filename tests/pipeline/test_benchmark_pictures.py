"""`esad benchmark` on pictures: a normal class in turn, what is labelled, budgets, the forecast, the paper's grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from esad.pipeline.benchmarking.grid import GRIDS, cell_settings, cells, read_grid, runs_of
from esad.pipeline.benchmarking.tables import by_class, notes, summarise
from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.score import score
from esad.pipeline.train import train

SHORT = {
    "train.steps": 3, "train.warmup.steps": 2, "train.batch_size": 8, "data.validation_share": 0, "network.width": 0.1,
    "network.linear": None, "loss.score_block": 1,
}  # fmt: skip
GRID = {
    "title": "Tiny pictures",
    "datasets": {"shapes": {"path": "shapes.npz", "kind": "images", "normal": ["0", "1", "2"]}},
    "methods": {"esad": {}, "supervised": {}, "cae": {"only": {"gamma_l": [0]}}},
    "gamma_l": [0, 0.1],
    "seeds": 2,
    "settings": SHORT,
    "budgets": {"drawn": {"seeds": 1, "test_items": 20}, "each": {"runs": "each"}},
    "paper": {"esad": {"shapes": {0: [90.0, None], 0.1: [95.0, 1.0]}}},
}


@pytest.fixture
def data(tmp_path):
    """A folder with pictures of three classes, 16 x 16, told apart by where they are bright."""
    numbers, folder = np.random.default_rng(0), tmp_path / "data"
    folder.mkdir()
    parts = {}
    for name, count in (("train", 60), ("test", 30)):
        y = np.arange(count) % 3
        x = numbers.integers(0, 60, (count, 16, 16), dtype=np.uint8)
        for place, label in enumerate(y):
            x[place, 5 * label : 5 * label + 5] += 150
        parts |= {f"x_{name}": x, f"y_{name}": y}
    np.savez(folder / "shapes.npz", **parts)
    return folder


def run(tmp_path: Path, data: Path, *words: str, status: int = 0, **changes: object) -> Path:
    file, out = tmp_path / "grid.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))
    assert call(["benchmark", str(file), "--data", str(data), "--out", str(out), *words]) == status
    return out


def test_the_note_on_oracles_stands_where_a_row_is_one():
    told = {name: " ".join(notes(read_grid(GRIDS / f"{name}.yaml"))) for name in ("table2", "table3")}
    assert "Oracle" in told["table3"]
    assert "Oracle" not in told["table2"]


def test_every_class_is_normal_in_turn_and_a_line_is_their_mean(tmp_path, data):
    out = run(tmp_path, data)
    rows = pd.read_parquet(out / "results.parquet")
    lines = rows.groupby(["method", "gamma_l"]).size().to_dict()
    assert lines == {("esad", 0.0): 3, ("esad", 0.1): 3, ("supervised", 0.1): 3, ("cae", 0.0): 3}
    assert set(rows["normal"]) == {"0", "1", "2"}
    assert (rows["tested"] == 20).all()
    assert (rows["steps"] == rows["method"].map({"esad": 5, "cae": 5, "supervised": 3})).all()
    text = (out / "results.md").read_text()
    assert text.startswith("# Tiny pictures, budget drawn")
    esad = rows[(rows["method"] == "esad") & (rows["gamma_l"] == 0.1)]["auc"]
    assert f"{esad.mean():.1f} +- {esad.std(ddof=1):.1f} | 95.0 +- 1.0" in text
    assert "At most 20 test items were scored" in text
    (table,) = [one for one in by_class(rows) if one["title"].endswith("gamma_l 0.1")]
    assert table["heads"] == ["normal class", "esad", "supervised"]
    assert [row[0] for row in table["rows"]] == ["0", "1", "2"]


def test_a_part_of_the_classes_is_told_and_not_compared(tmp_path, data):
    out = run(tmp_path, data, "--only", "normal=1", "--only", "gamma_l=0.1", "--only", "method=esad")
    (line,) = [text for text in (out / "results.md").read_text().splitlines() if text.startswith("| shapes")]
    assert "| 1 of 3 |" in line
    assert "noise" not in line


def test_each_other_class_is_labelled_once(tmp_path, data):
    out = run(tmp_path, data, "--preset", "each", "--only", "method=esad", "--only", "gamma_l=0.1")
    rows = pd.read_parquet(out / "results.parquet")
    assert len(rows) == 6
    assert all(row["normal"] != row["labelled_class"] for row in rows.to_dict("records"))
    assert rows.groupby("normal")["labelled_class"].nunique().tolist() == [2, 2, 2]
    assert (rows["tested"] == 30).all()


def test_a_run_of_a_cell_is_the_run_that_the_stages_make(tmp_path, data):
    out = run(tmp_path, data, "--preset", "each", "--only", "method=esad", "--only", "normal=2")
    rows = pd.read_parquet(out / "results.parquet")
    (row,) = rows[(rows["labelled_class"] == "1")].to_dict("records")
    settings = {
        **SHORT, "data.labelled": "ratio", "data.gamma_l": 0.1, "seed": row["seed"], "data.normal_classes": ["2"],
        "data.labelled_classes": ["1"], "score.kind": "eq9",
    }  # fmt: skip
    train(out / "stores" / "shapes", tmp_path / "run", None, [settings])
    score(tmp_path / "run")
    assert 100 * evaluate(tmp_path / "run").summary["auc"] == pytest.approx(row["auc"], abs=0.01)


def test_the_forecast_runs_nothing_and_counts_what_is_open(tmp_path, data, capsys):
    out = run(tmp_path, data, "--only", "normal=0", "--only", "method=cae")
    capsys.readouterr()
    run(tmp_path, data, "--forecast", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["cells"] == 11
    assert told["runs"] == 11
    assert set(told["by_method"]) == {"esad", "supervised", "cae"}
    assert len(list((out / "cells").iterdir())) == 1


def test_a_store_that_is_there_is_taken_as_it_is(tmp_path, data):
    assert call(["images", str(data / "shapes.npz"), "--out", str(data / "made")]) == 0
    of = {"path": "made", "kind": "images", "normal": ["0"]}
    out = run(tmp_path, data, "--only", "method=cae", datasets={"shapes": of})
    assert not (out / "stores").exists()
    assert len(pd.read_parquet(out / "results.parquet")) == 1


def test_classes_may_have_other_names_in_the_store(tmp_path, data):
    with np.load(data / "shapes.npz") as held:
        names = {key: held[key] for key in held.files}
    for key in ("y_train", "y_test"):
        names[key] = np.array(["top", "middle/low", "low"])[names[key]]
    np.savez(data / "shapes.npz", **names)
    of = {**GRID["datasets"]["shapes"], "names": ["top", "middle/low", "low"]}
    out = run(tmp_path, data, "--only", "method=esad", "--only", "normal=1", datasets={"shapes": of})
    assert set(pd.read_parquet(out / "results.parquet")["normal"]) == {"1"}


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({}, ["--only", "normal=7"], "no such normal, only 0, 1, 2"),
        ({}, ["--preset", "long"], "budget 'long': the grid has drawn, each"),
        ({"splits": ["published"]}, [], "published is of tables alone"),
        ({"budgets": {"a": {"methods": {"csd": {}}}}}, [], "no method 'csd'"),
        ({"datasets": {"shapes": {"path": "shapes.npz", "normal": ["0"]}}, "methods": {"dgeo": {}}, "paper": {}}, [], "for pictures"),
        ({"datasets": {"shapes": {"path": "shapes.npz", "kind": "tiles"}}}, [], "no STORE of tiles"),
    ],
)  # fmt: skip
def test_faults_are_said(tmp_path, data, capsys, changes, words, message):
    run(tmp_path, data, *words, status=2, **changes)
    assert message in capsys.readouterr().err


RUNS = {"table1": 90, "table5": 90, "table8": 90, "table9": 90, "table10": 100}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_the_papers_grids_have_its_runs_and_figures(name):
    grid = read_grid(name, "paper")
    counted: dict[str, int] = {}
    for cell in cells(grid):
        counted[cell.line] = counted.get(cell.line, 0) + len(runs_of(grid, cell))
        for run in runs_of(grid, cell)[:1]:
            settings = cell_settings(grid, cell, run)
            assert settings.data.normal_classes == [cell.normal]
            assert settings.data.labelled_classes is None or run.labelled != cell.normal
    assert set(counted.values()) == {RUNS[name]}
    rows = [{**cell.values(), "line": cell.line} for cell in cells(grid)]
    lines = {row["line"]: row for row in rows}
    published = sum(grid.published(row["method"], row["dataset"], row)[0] > 0 for row in lines.values())
    assert published == {"table1": 69, "table5": 20, "table8": 35, "table9": 150, "table10": 81}[name]
    assert read_grid(name).chosen.preset == "cpu"


def test_table_2_is_of_the_published_lists():
    grid = read_grid("table2", "paper")
    settings = {
        cell.dataset: cell_settings(grid, cell, runs_of(grid, cell)[0])
        for cell in cells(grid, ["method=esad"])
    }
    assert {one.data.labelled for one in settings.values()} == {"all"}
    assert settings["camelyon16"].data.crop == 64
    assert settings["nih-ap"].data.where == {"view": "AP"}
    assert all(one.train.epochs == 200 and one.network.width == 1 for one in settings.values())
    assert len(runs_of(grid, cells(grid)[0])) == 3


def test_every_grid_file_is_told_of():
    from esad.pipeline.benchmark import command

    help_text = str(command.__annotations__["grid"])
    assert {path.stem for path in GRIDS.glob("*.yaml")} == {
        "labels",
        *(f"table{n}" for n in (1, 2, 3, 4, 5, 8, 9, 10)),
    }
    assert "table1 to table5, table8 to table10" in help_text


def test_a_spread_that_was_not_published_gives_no_verdict(tmp_path, data):
    run(tmp_path, data, "--only", "method=esad", "--only", "gamma_l=0")
    grid = read_grid(str(tmp_path / "grid.yaml"))
    table = summarise(pd.read_parquet(tmp_path / "out" / "results.parquet"), grid)
    assert table["paper"].tolist() == [90.0]
    assert not table["beyond_noise"].any()
