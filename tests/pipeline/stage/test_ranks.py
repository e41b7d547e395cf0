"""Training in several processes, as torchrun starts them: one writer, a stop on request, a restart after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import esad
import esad.models.training.fit
import esad.pipeline.scoring.scores_folder
import esad.pipeline.training.checkpoints
import esad.pipeline.training.run_end
from esad.pipeline.cli.app import call
from tests import ROOT
from tests.forks import as_torchrun, esad_as_torchrun, wait
from tests.pipeline.stores import QUICK, make_store

SETTINGS = {**QUICK, "train.steps": 24, "train.warmup.steps": 6, "checkpoint_seconds": 0}
SET = [f"--set={name}={value}" for name, value in SETTINGS.items()]


def start(arguments: list[str], count: int = 2, before=lambda: None) -> list[int]:
    """`esad train` as torchrun starts it; returns the processes' numbers."""
    return esad_as_torchrun(["train", *arguments], before, count)


def ends(numbers: list[int]) -> list[int]:
    return [wait(number) for number in numbers]


def slowly():
    original = esad.models.training.fit.TrainingStep.__call__
    esad.models.training.fit.TrainingStep.__call__ = lambda self, at: (time.sleep(0.05), original(self, at))[
        1
    ]


def assert_same_weights(run: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (run, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def wait_for_checkpoint(run: Path, beyond: int, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        steps = [int(path.stem.split("=")[1]) for path in run.glob("checkpoints/checkpoint_*.pt")]
        if max(steps, default=0) > beyond:
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint beyond step {beyond} after {seconds} s")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of pictures, and runs of one and of two processes on it that nothing disturbed."""
    folder = tmp_path_factory.mktemp("ranks")
    make_store(folder, "images")
    assert call(["train", str(folder / "store"), "--out", str(folder / "one"), *SET]) == 0
    assert ends(start([str(folder / "store"), "--out", str(folder / "undisturbed"), *SET])) == [0, 0]
    return folder


def test_from_python_both_processes_have_the_run_and_its_scores(folder, tmp_path, monkeypatch):
    """The second process must not look before the first has written."""

    def later(place, name):
        original = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *words: (time.sleep(1), original(*words))[1])

    later(esad.pipeline.training.run_end, "write_model")
    later(esad.pipeline.scoring.scores_folder, "finish_scores")

    def command():
        run = esad.Trainer(folder / "store", SETTINGS).run(tmp_path / "run")
        assert len(run.digest) > 8
        assert esad.score(run, overlays="worst:3")["hot_x"].notna().any()
        assert (tmp_path / "run" / "scores" / "store" / "scores.json").is_file()

    assert ends(as_torchrun(command)) == [0, 0]


def test_one_process_of_two_writes_and_speaks(folder, capfd):
    run = folder / "spoken"
    assert ends(start([str(folder / "store"), "--out", str(run), *SET, "--json"])) == [0, 0]
    out, err = capfd.readouterr()
    assert json.loads(out)["status"] == 0
    assert err.count("Training esad on cpu in 2 processes") == 1
    assert err.count("Wrote") == 1
    assert not re.search("Traceback|Warning", err)
    assert_same_weights(run, folder / "undisturbed")
    assert len(list((run / "log" / "events").iterdir())) == 1
    history = pd.read_csv(run / "history.csv")
    assert not history.duplicated(["step", "term"]).any()
    assert ends(start([str(folder / "store"), "--out", str(run), *SET])) == [0, 0]
    assert capfd.readouterr().err.count("Left alone") == 1


def test_two_processes_train_what_one_does_but_for_rounding(folder):
    one, two = (pd.read_csv(folder / name / "history.csv") for name in ("one", "undisturbed"))
    first = one["step"] == 0
    assert list(one["term"]) == list(two["term"])
    assert two.loc[first, "value"].to_numpy() == pytest.approx(one.loc[first, "value"].to_numpy(), rel=1e-5)


def test_stopped_on_request_all_leave_with_75_and_go_on_to_the_same_weights(folder, capfd):
    run = folder / "stopped"
    numbers = start([str(folder / "store"), "--out", str(run), *SET], before=slowly)
    wait_for_checkpoint(run, 3)
    os.kill(numbers[1], signal.SIGTERM)  # one is enough: they agree on the step at which to stop
    assert ends(numbers) == [75, 75]
    assert capfd.readouterr().err.count("Stopped at step") == 1
    assert ends(start([str(folder / "store"), "--out", str(run), *SET])) == [0, 0]
    assert_same_weights(run, folder / "undisturbed")


def test_when_one_is_killed_the_other_ends_and_both_go_on_from_the_checkpoint(folder, capfd):
    run = folder / "killed"
    numbers = start([str(folder / "store"), "--out", str(run), *SET], before=slowly)
    wait_for_checkpoint(run, 8)
    os.kill(numbers[1], signal.SIGKILL)
    assert ends(numbers) == [1, -signal.SIGKILL]
    assert "Another process of this call is gone" in capfd.readouterr().err
    assert ends(start([str(folder / "store"), "--out", str(run), *SET])) == [0, 0]
    assert "Continuing from step" in capfd.readouterr().err
    assert_same_weights(run, folder / "undisturbed")


@pytest.mark.slow
def test_a_loss_that_explodes_starts_training_anew_in_all_processes(folder, capfd):
    wild = ["--set=train.learning_rate=1e30", "--set=train.optimiser=sgd", "--set=train.restarts=1"]
    assert ends(start([str(folder / "store"), "--out", str(folder / "wild"), *SET, *wild])) == [1, 1]
    err = capfd.readouterr().err
    assert err.count("Starting anew at half the learning rate") == 1
    assert re.search(r"^error: The loss is not finite", err, re.MULTILINE)


def test_processes_that_see_different_checkpoints_do_not_train(folder, capfd):
    """As on nodes that do not share the RUN folder."""
    run = folder / "apart"
    numbers = start([str(folder / "store"), "--out", str(run), *SET], before=slowly)
    wait_for_checkpoint(run, 3)
    os.kill(numbers[0], signal.SIGTERM)
    assert ends(numbers) == [75, 75]

    def blind():
        if os.environ["RANK"] == "1":
            esad.pipeline.training.checkpoints._newest_first = lambda folder: []

    assert ends(start([str(folder / "store"), "--out", str(run), *SET], before=blind)) == [1, 1]
    assert "the processes found different checkpoints" in capfd.readouterr().err


def test_what_several_processes_cannot_train_is_wrong_use(folder, capfd):
    make_store(folder, "table", "rows")
    for store, more, match in (
        ("rows", [], "rows train in one: leave torchrun out"),
        ("store", ["--set=method=oc_svm"], "method oc_svm trains in one process"),
        ("store", ["--set=train.batch_size=2", "--device=cpu"], r"train.batch_size = 2 for 3 processes"),
    ):
        out = folder / f"refused-{len(match)}"
        count = 3 if "batch" in match else 2
        assert ends(start([str(folder / store), "--out", str(out), *SET, *more], count)) == [2] * count
        assert match in capfd.readouterr().err


@pytest.mark.slow
def test_torchrun_stops_on_sigterm_restarts_after_a_kill_and_ends_with_the_same_weights(folder):
    """The real torchrun: SIGTERM to it, the same command again; then one process killed, restarted by torchrun itself."""
    run = folder / "torchrun"
    pairs = [f"--set={name}={value}" for name, value in {**SETTINGS, "train.steps": 250}.items()]
    arguments = [str(folder / "store"), *pairs, "--out"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "2"]
    command = [*torchrun, "-m", "esad.pipeline.train", *arguments]

    def begin(out: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    process = begin(run)
    wait_for_checkpoint(run, 10)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert "Stopped at step" in err
    assert process.returncode != 0
    assert not (run / "model.safetensors").exists()

    reached = max(int(path.stem.split("=")[1]) for path in run.glob("checkpoints/checkpoint_*.pt"))
    process = begin(run)
    wait_for_checkpoint(run, reached + 20)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(workers[1]), signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.count("Continuing from step") == 2

    process = begin(folder / "torchrun at once")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert_same_weights(run, folder / "torchrun at once")


def test_the_validation_part_ends_training_in_all_processes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("esad.pipeline.monitoring.watch._interval", lambda step, number: 6)
    chosen = ["data.validation_share=0.4", "selection.early_stop=1", "selection.weights=best"]
    arguments = [
        str(folder / "store"),
        "--out",
        str(tmp_path / "run"),
        *SET,
        *(f"--set={each}" for each in chosen),
    ]
    assert ends(start(arguments)) == [0, 0]
    selection = json.loads((tmp_path / "run" / "provenance.json").read_text())["selection"]
    assert selection["ended_at"] == 18  # the second report of a score that is perfect from the first on
    assert selection["weights_of_step"] == 12
    assert pd.read_csv(tmp_path / "run" / "history.csv")["step"].max() == 17


def test_a_handler_that_stops_the_first_process_stops_all(folder, tmp_path):
    from ignite.engine import Events

    import esad

    class Stopping:
        def attach(self, engine):
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=9), engine.terminate)

    def train():
        try:
            esad.train(folder / "store", tmp_path / "run", settings=SETTINGS, handlers=[Stopping()])
        except esad.EsadError as error:
            os._exit(int(error.exit_status))
        os._exit(0)

    assert ends(start([], before=train)) == [75, 75]
    assert ends(start([str(folder / "store"), "--out", str(tmp_path / "run"), *SET])) == [0, 0]
    assert_same_weights(tmp_path / "run", folder / "undisturbed")
