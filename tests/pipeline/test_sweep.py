"""`esad sweep` as a user drives it: the choice, what it rests on, going on, refusals."""

from __future__ import annotations

import errno
import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

import esad.pipeline.train
from esad.models.methods.readings import OUR_READING, READINGS
from esad.models.methods.registry import METHODS
from esad.pipeline.cli.app import call
from esad.pipeline.stage.errors import EsadError, Stopped, explain
from tests.pipeline.stores import make_store

SHORT = [
    "--set", "train.steps=30", "--set", "train.warmup.steps=10", "--set", "train.batch_size=16",
    "--set", "network.width=1", "--set", "data.validation_share=0.3",
]  # fmt: skip
OVER = ["--over", "loss.lambda1=0.1,1e1", "--over", "loss.lambda2=0,1"]


def command(store, out, *more: str) -> list[str]:
    return ["sweep", str(store), "--out", str(out), *SHORT, *more]


def test_a_sweep_trains_every_cell_and_leaves_settings_that_train_the_best_one_again(tmp_path, capsys):
    make_store(tmp_path)
    out = tmp_path / "sweep"
    assert call([*command(tmp_path / "store", out, *OVER), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = pd.read_parquet(out / "sweep.parquet")
    assert rows[["loss.lambda1", "loss.lambda2"]].to_numpy().tolist() == [
        [0.1, 0],
        [0.1, 1],
        [10, 0],
        [10, 1],
    ]
    best = rows.loc[rows["auc"].idxmax()]
    assert told["best"] == {"loss.lambda1": best["loss.lambda1"], "loss.lambda2": best["loss.lambda2"]}
    assert min(told["validation"].values()) >= 3
    assert (out / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    assert f"| {best['loss.lambda1']:g} |" in (out / "sweep.md").read_text().replace(".0 |", " |")
    assert yaml.safe_load((out / "best.yaml").read_text())["loss"]["lambda1"] == best["loss.lambda1"]
    again = [
        "train",
        str(tmp_path / "store"),
        "--config",
        str(out / "best.yaml"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert call(again) == 0
    ours, theirs = (load_file(path / "model.safetensors") for path in (tmp_path / "run", out / best["run"]))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_sweep_of_a_description_built_here_says_so_beside_its_figures(tmp_path, capsys, monkeypatch):
    make_store(tmp_path)
    words = [
        *command(tmp_path / "store", tmp_path / "sweep", "--over", "loss.lambda1=0.1,1"),
        "--set",
        "train.steps=4",
    ]
    monkeypatch.setitem(READINGS, "esad", METHODS["esad"].title)
    assert call(words) == 0
    assert OUR_READING.split(":")[0] in " ".join(capsys.readouterr().err.split())
    assert OUR_READING in (tmp_path / "sweep" / "sweep.md").read_text()


def write_table(path, flipped: bool) -> None:
    """Rows with a stated split; `flipped` exchanges the labels of the test rows."""
    numbers = np.random.default_rng(0)
    y = np.repeat([0, 1], [90, 30])
    x = numbers.normal(size=(120, 5)).astype(np.float32) + 1.2 * y[:, None]
    split = np.array(["train", "validation", "test"])[np.arange(120) % 3]
    if flipped:
        y = np.where(split == "test", 1 - y, y)
    np.savez(path, x=x, y=y, split=split)


def test_the_labels_of_the_test_part_do_not_touch_the_choice(tmp_path):
    found = []
    for flipped in (False, True):
        folder = tmp_path / str(flipped)
        folder.mkdir()
        write_table(folder / "rows.npz", flipped)
        assert call(["tables", str(folder / "rows.npz"), "--out", str(folder / "store")]) == 0
        assert call(command(folder / "store", folder / "sweep", *OVER)) == 0
        found.append(pd.read_parquet(folder / "sweep" / "sweep.parquet"))
        if flipped:
            assert (tmp_path / "False/sweep/best.yaml").read_text() == (
                folder / "sweep/best.yaml"
            ).read_text()
    pd.testing.assert_frame_equal(found[0], found[1])
    assert found[0]["auc"].nunique() > 1


def test_a_stopped_sweep_goes_on_and_finished_cells_are_left_alone(tmp_path, monkeypatch):
    make_store(tmp_path)
    out, original, trained = tmp_path / "sweep", esad.pipeline.train.train, []

    def stops(store, folder, *more):
        if len(trained) == 2:
            raise Stopped("asked to")
        trained.append(folder.name)
        return original(store, folder, *more)

    with monkeypatch.context() as patch:
        patch.setattr(esad.pipeline.train, "train", stops)
        assert call(command(tmp_path / "store", out, *OVER)) == 75
    assert not (out / "best.yaml").exists()
    times = {name: (out / "cells" / name / "model.safetensors").stat().st_mtime_ns for name in trained}
    assert call(command(tmp_path / "store", out, *OVER)) == 0
    assert len(list((out / "cells").iterdir())) == 4
    for name, before in times.items():
        assert (out / "cells" / name / "model.safetensors").stat().st_mtime_ns == before


def test_seeds_share_one_split_and_are_averaged(tmp_path):
    make_store(tmp_path)
    out = tmp_path / "sweep"
    assert call(command(tmp_path / "store", out, "--over", "loss.lambda1=0.1,1", "--seeds", "2")) == 0
    rows = pd.read_parquet(out / "sweep.parquet")
    assert rows["seed"].tolist() == [0, 1, 0, 1]
    splits = [pd.read_parquet(out / name / "assignments.parquet") for name in rows["run"]]
    assert all(split.equals(splits[0]) for split in splits)
    first, second = (load_file(out / name / "model.safetensors") for name in rows["run"][:2])
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
    means = rows.groupby("loss.lambda1")["auc"].mean()
    assert yaml.safe_load((out / "best.yaml").read_text())["loss"]["lambda1"] == means.idxmax()


def test_a_cell_that_cannot_be_trained_is_refused_and_the_others_go_on(tmp_path):
    make_store(tmp_path)
    over = ["--over", "train.learning_rate=0.001,1e30", "--set", "train.restarts=0"]
    for _ in range(2):  # asked again, it is refused again
        assert call(command(tmp_path / "store", tmp_path / "sweep", *over)) == 3
    rows = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    assert rows["auc"].isna().tolist() == [False, True]
    assert "not trained" in (tmp_path / "sweep" / "sweep.md").read_text()


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        (["--over", "loss.lambda1"], 2, "expected name=value"),
        (["--over", "loss.lamda1=1"], 2, "did you mean 'loss.lambda1'"),
        (["--over", "loss.lambda1=1,-1"], 2, "loss.lambda1 = -1"),
        (["--over", "seed=0,1"], 2, "--seeds N"),
        (["--over", "data.validation_share=0.1,0.2"], 2, "only settings of the model"),
        (["--over", "loss.lambda1=1,1"], 2, "stands twice"),
        (["--over", "loss.lambda1=1,1.0"], 2, "stands twice"),
        (["--over", "network.hidden=[64],[32,16]"], 2, "lists cannot be swept"),
        (["--over", "network.channels=null,3"], 2, "null cannot be swept"),
        ([*OVER, "--set", "data.validation_share=0"], 1, "no normal item is held out"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_trained(tmp_path, capsys, more, status, told):
    make_store(tmp_path)
    assert call(command(tmp_path / "store", tmp_path / "sweep", *more)) == status
    assert told in capsys.readouterr().err
    assert not (tmp_path / "sweep" / "cells").exists()


def test_torchrun_is_for_training_alone(tmp_path, capsys, monkeypatch):
    make_store(tmp_path)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    assert call(command(tmp_path / "store", tmp_path / "sweep", *OVER)) == 2
    assert "torchrun is for `esad train`" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_another_sweep_in_the_same_folder_is_refused(tmp_path, capsys):
    make_store(tmp_path)
    out = tmp_path / "sweep"
    assert call(command(tmp_path / "store", out, "--over", "loss.lambda1=0.1")) == 0
    assert call(command(tmp_path / "store", out, "--over", "loss.lambda1=1")) == 1
    assert "another sweep (over.loss.lambda1" in capsys.readouterr().err
    assert call(command(tmp_path / "store", out, "--over", "loss.lambda1=1", "--force")) == 0


def test_a_full_disk_ends_the_sweep_instead_of_counting_as_a_cell(tmp_path, monkeypatch, capsys):
    make_store(tmp_path)

    def full(*_given):
        raise EsadError(explain(OSError(errno.ENOSPC, "No space left on device")))

    monkeypatch.setattr(esad.pipeline.train, "train", full)
    assert call(command(tmp_path / "store", tmp_path / "sweep", *OVER)) == 1
    assert "Free some space" in capsys.readouterr().err
    assert not (tmp_path / "sweep" / "sweep.md").exists()


def test_a_cluster_trains_the_cells_that_one_process_does_and_refuses_the_same(
    tmp_path, dask_cluster, monkeypatch, capsys
):
    make_store(tmp_path)
    monkeypatch.chdir(tmp_path)  # relative paths are of this folder, not of the workers'
    over = ["--over", "train.learning_rate=0.001,0.01,1e30", "--set", "train.restarts=0"]
    scheduler = ["--scheduler", dask_cluster.scheduler_address]
    assert call(command("store", "here", *over)) == 3
    assert call(command("store", "there", *over, *scheduler)) == 3
    assert "learning_rate=1e+30,seed=0 cannot be trained" in capsys.readouterr().err
    for name in ("sweep.parquet", "sweep.md", "best.yaml"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    cells = sorted(path.parent.name for path in (tmp_path / "there" / "cells").glob("*/model.safetensors"))
    assert len(cells) == 2
    for cell in cells:
        ours, theirs = (tmp_path / at / "cells" / cell for at in ("there", "here"))
        for name in ("model.safetensors", "normals.parquet", "assignments.parquet", "config.yaml"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    times = {
        cell: (tmp_path / "there/cells" / cell / "model.safetensors").stat().st_mtime_ns for cell in cells
    }
    assert call(command("store", "there", *over, *scheduler)) == 3
    for cell, before in times.items():
        assert (tmp_path / "there/cells" / cell / "model.safetensors").stat().st_mtime_ns == before


def test_a_fault_on_a_worker_ends_the_sweep_as_it_does_here(tmp_path, dask_cluster, capsys):
    make_store(tmp_path)
    out = tmp_path / "sweep"
    scheduler = ["--scheduler", dask_cluster.scheduler_address]
    over = ["--over", "loss.lambda1=1"]
    assert call(command(tmp_path / "store", out, *over)) == 0
    cell = out / "cells" / "lambda1=1,seed=0"
    (cell / "config.yaml").write_text((cell / "config.yaml").read_text().replace("lambda1: 1", "lambda1: 2"))
    assert call(command(tmp_path / "store", out, *over, *scheduler)) == 1
    assert "lambda1" in capsys.readouterr().err
