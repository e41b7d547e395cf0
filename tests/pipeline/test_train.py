"""Training end to end on small stores: what a run holds, going on after a kill, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.train import train
from tests import PYTHONPATH, ROOT
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store


def test_a_run_holds_what_the_design_says_and_is_left_alone_when_finished(tmp_path):
    make_store(tmp_path)
    outcome = train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE])
    run = tmp_path / "run"
    assert outcome.next_command.startswith("esad score")
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.yaml", "assignments.parquet", "model.safetensors", "normals.parquet", "checkpoints", "log", "provenance.json",
    }  # fmt: skip
    table = pd.read_parquet(run / "assignments.parquet")
    assert list(table.columns) == ["item_id", "part", "label", "semi_label"]
    assert set(table["part"]) == {"train", "validation", "test"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["train"]["steps"] == 60
    before = (run / "model.safetensors").stat().st_mtime_ns
    again = train(tmp_path / "store", run, None, [QUICK_TABLE])
    assert "Left alone" in again.message
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_the_revision_is_the_checkouts_or_the_images_and_git_is_not_needed(tmp_path, monkeypatch):
    from esad.pipeline.training import run_end

    monkeypatch.setenv("ESAD_REVISION", "of the image")
    monkeypatch.setenv("PATH", str(tmp_path))  # no git there
    assert run_end._revision() == "of the image"
    monkeypatch.undo()
    monkeypatch.setattr(
        run_end, "__file__", str(tmp_path / "site-packages" / "esad" / "pipeline" / "training" / "run_end.py")
    )
    assert run_end._revision() == "unknown"


def test_other_settings_are_refused_by_name_and_force_replaces(tmp_path):
    make_store(tmp_path)
    train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE])
    with pytest.raises(EsadError, match=r"loss\.lambda1: 0\.1 -> 0\.5"):
        train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE, {"loss.lambda1": 0.5}])
    train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE, {"loss.lambda1": 0.5}], force=True)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["loss"]["lambda1"] == 0.5


def test_force_never_removes_a_folder_that_is_no_run(tmp_path):
    make_store(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(EsadError, match="is not a run"):
        train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE], force=True)
    assert (tmp_path / "run" / "thesis.txt").exists()


def test_an_unknown_setting_names_the_nearest(tmp_path):
    make_store(tmp_path)
    with pytest.raises(UsageError, match=r"'train\.epoch'.*'train\.epochs'"):
        train(tmp_path / "store", tmp_path / "run", None, [{"train.epoch": 3}])


def test_a_layer_that_states_epochs_takes_the_presets_steps_back(tmp_path):
    make_store(tmp_path)
    train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE, {"train.epochs": 1}])
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["train"]["steps"] is None


WILD = {**QUICK, "train.optimiser": "sgd", "train.learning_rate": 1e30, "train.schedule": "constant"}


def test_a_loss_that_explodes_is_said_with_the_setting_to_change(tmp_path, capsys):
    make_store(tmp_path, "images")
    with pytest.raises(EsadError, match=r"not finite.*train\.learning_rate"):
        train(tmp_path / "store", tmp_path / "run", None, [{**WILD, "train.restarts": 1}])
    assert capsys.readouterr().err.count("Starting anew") == 1
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_what_explodes_in_the_warm_up_names_its_own_rate_and_the_same_folder_takes_a_lower_one(tmp_path):
    make_store(tmp_path, "table")
    settings = {**QUICK_TABLE, "train.restarts": 0, "train.warmup.steps": 40, "checkpoint_seconds": 60}
    with pytest.raises(EsadError, match=r"lower train\.warmup\.learning_rate \(now 1e\+30\)"):
        train(tmp_path / "store", tmp_path / "run", None, [{**settings, "train.warmup.learning_rate": 1e30}])
    train(tmp_path / "store", tmp_path / "run", None, [settings])
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_loss_that_explodes_starts_training_anew_at_half_the_rate(tmp_path, monkeypatch, capsys):
    import esad.models.training.fit

    make_store(tmp_path, "images")
    rates, original = [], esad.models.training.fit.TrainingStep.__call__

    def explodes_unless_slow(self, number):
        terms = original(self, number)
        if number == 40:
            rates.append(self.optimiser.param_groups[0]["lr"])
            if self.rate > 0.3:
                terms["loss"] = terms["loss"] * float("nan")
        return terms

    monkeypatch.setattr(esad.models.training.fit.TrainingStep, "__call__", explodes_unless_slow)
    settings = {**QUICK, "train.schedule": "constant", "train.learning_rate": 0.004}
    train(tmp_path / "store", tmp_path / "run", None, [settings])
    assert rates == pytest.approx([0.004, 0.002, 0.001])
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["restarts"] == 2
    assert capsys.readouterr().err.count("Starting anew") == 2
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["value"].notna().all()
    assert history.loc[history["term"] == "loss", "step"].is_monotonic_increasing


def test_a_broken_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, capsys, monkeypatch):
    import esad.pipeline.monitoring.history

    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "whole", None, [QUICK])
    settings = {**QUICK, "checkpoint_seconds": 0}
    original = esad.pipeline.monitoring.history.History.add

    def stops(self, number, *more):
        if number == 40:
            raise KeyboardInterrupt
        original(self, number, *more)

    with monkeypatch.context() as patch:
        patch.setattr(esad.pipeline.monitoring.history.History, "add", stops)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "store", tmp_path / "run", None, [settings])
    newest = max(
        (tmp_path / "run" / "checkpoints").glob("*.pt"), key=lambda path: int(path.stem.split("=")[-1])
    )
    newest.write_bytes(os.urandom(5000))
    train(tmp_path / "store", tmp_path / "run", None, [settings])
    assert f"{newest.name}: unreadable" in capsys.readouterr().err
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


COMMAND = """
import sys, time
import esad.models.training.fit
original = esad.models.training.fit.TrainingStep.__call__
def slow(self, number):
    time.sleep(0.02)
    return original(self, number)
esad.models.training.fit.TrainingStep.__call__ = slow
from pathlib import Path
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK
folder = Path(sys.argv[1])
try:
    train(folder / "store", folder / "run", None, [QUICK, {"method": sys.argv[2]}])
except EsadError as error:
    sys.exit(int(error.exit_status))
"""


@pytest.mark.parametrize(
    ("number", "method"),
    [
        (signal.SIGKILL, "esad"),
        pytest.param(signal.SIGTERM, "esad", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "deep_sad", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights_to_the_bit(tmp_path, number, method):
    make_store(tmp_path, "images")
    settings = {**QUICK, "method": method}
    train(tmp_path / "store", tmp_path / "undisturbed", None, [settings])
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path), method],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "run").glob("checkpoints/*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    status = process.wait(60)
    assert status == (75 if number == signal.SIGTERM else -9)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    train(tmp_path / "store", tmp_path / "run", None, [settings])
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "undisturbed"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("run", "undisturbed")]
    assert histories[0] == histories[1]
