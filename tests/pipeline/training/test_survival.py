"""Training that is killed, stopped, or runs out of something, at any moment: the same weights in the end, or a clear word."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import esad.models.training.fit
import esad.pipeline.scoring.scores
import esad.pipeline.training.checkpoints
import esad.pipeline.training.engine
import esad.pipeline.training.run_end
import esad.pipeline.training.state
from esad.pipeline.cli.app import call
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.train import train
from esad.pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from tests import ROOT
from tests.forks import fork, wait
from tests.pipeline.stores import QUICK as USUAL
from tests.pipeline.stores import QUICK_TABLE, make_store

STEPS = 30
QUICK = {**USUAL, "train.steps": 20, "train.warmup.steps": 10}
EVERY_STEP = {**QUICK, "checkpoint_seconds": 0}


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(wanted: int, number: int = signal.SIGKILL):
    """Let this process get the signal as training comes to a step."""
    original = esad.models.training.fit.TrainingStep.__call__

    def step(self, at):
        if at == wanted:
            os.kill(os.getpid(), number)
        return original(self, at)

    esad.models.training.fit.TrainingStep.__call__ = step


def at_half_a_table():
    original = pd.DataFrame.to_parquet

    def half(self, path, **more):
        original(self, path, **more)
        os.truncate(path, path.stat().st_size // 2)
        die()

    pd.DataFrame.to_parquet = half


def at_half_a_checkpoint():
    original = esad.pipeline.training.checkpoints.save_checkpoint

    def half(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            return
        os.truncate(f"/proc/self/fd/{handle}", os.fstat(handle).st_size // 2)
        die()

    def save(folder, step, *more):
        if step == 15:
            os.fsync = half
        original(folder, step, *more)

    esad.pipeline.training.state.save_checkpoint = save


def at_references():
    esad.pipeline.scoring.scores.raw_scores = die


def at_the_model():
    original = esad.pipeline.training.run_end.write_bytes
    esad.pipeline.training.run_end.write_bytes = lambda path, content: (
        original(path.with_name(".model.1.safetensors"), content),
        die(),
    )


MOMENTS = {
    "half of the first table": at_half_a_table,
    "before the first step": lambda: at_step(0),
    "step 3": lambda: at_step(3),
    "half of a checkpoint": at_half_a_checkpoint,
    "step 20, past the warm-up": lambda: at_step(20),
    "the references": at_references,
    "the model": at_the_model,
}


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.stem.split("=")[1]) for path in (run / "checkpoints").glob("checkpoint_*.pt"))


def wait_for_another(run: Path, before: list[int]) -> None:
    limit = time.monotonic() + 120
    while checkpoints(run) == before:
        assert time.monotonic() < limit, f"no new checkpoint in {run}"
        time.sleep(0.005)


def assert_same_weights(run: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (run, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (run / "history.csv").read_text() == (other / "history.csv").read_text()
    assert everything(run).keys() == everything(other).keys()
    assert [path for path, content in everything(run).items() if content != everything(other)[path]] == []


def everything(run: Path) -> dict[Path, bytes]:
    """All files of a run but the log, which holds times, and config.yaml, which holds `checkpoint_seconds`."""
    files = (path.relative_to(run) for path in run.rglob("*") if path.is_file())
    return {path: (run / path).read_bytes() for path in files if path.parts[0] not in {"log", "config.yaml"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of pictures and an undisturbed run on it."""
    folder = tmp_path_factory.mktemp("survival")
    make_store(folder, "images")
    train(folder / "store", folder / "undisturbed", None, [QUICK])
    return folder


def test_killed_at_each_stage_of_a_run_it_ends_with_the_same_weights(folder):
    run = folder / "killed"

    def until(moment):
        moment()
        train(folder / "store", run, None, [EVERY_STEP])

    for name, moment in MOMENTS.items():
        assert wait(fork(lambda moment=moment: until(moment))) == -signal.SIGKILL, name
        assert not (run / "model.safetensors").exists()
    assert checkpoints(run) == [STEPS - 1, STEPS]
    train(folder / "store", run, None, [EVERY_STEP])
    assert_same_weights(run, folder / "undisturbed")
    assert not [path for path in run.rglob(".*")]


def test_killed_at_random_moments_it_ends_with_the_same_weights(folder):
    run, numbers = folder / "random", random.Random(0)

    def slowly():
        original = esad.models.training.fit.TrainingStep.__call__
        esad.models.training.fit.TrainingStep.__call__ = lambda self, at: (
            time.sleep(0.02),
            original(self, at),
        )[1]
        train(folder / "store", run, None, [EVERY_STEP])

    for _ in range(4):
        before = checkpoints(run)
        number = fork(slowly)
        wait_for_another(run, before)
        time.sleep(numbers.uniform(0, 0.3))
        os.kill(number, signal.SIGKILL)
        assert wait(number) == -signal.SIGKILL
    train(folder / "store", run, None, [EVERY_STEP])
    assert_same_weights(run, folder / "undisturbed")


@pytest.mark.slow
def test_the_command_killed_at_ten_random_moments_ends_with_the_same_weights(folder):
    run, numbers = folder / "command", random.Random(1)
    pairs = [f"--set={name}={value}" for name, value in {**EVERY_STEP, "train.steps": 600}.items()]
    command = [sys.executable, "-m", "esad.pipeline.train", str(folder / "store"), "--out"]
    root = ROOT
    for _ in range(10):
        before = checkpoints(run)
        process = subprocess.Popen([*command, str(run), *pairs, "--resume"], cwd=root)
        wait_for_another(run, before)
        time.sleep(numbers.uniform(0, 0.5))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (run / "model.safetensors").exists()
    subprocess.run([*command, str(run), *pairs], cwd=root, check=True)
    subprocess.run([*command, str(folder / "at once"), *pairs], cwd=root, check=True)
    assert_same_weights(run, folder / "at once")


def test_sigterm_writes_a_checkpoint_and_leaves_with_75(folder):
    run = folder / "stopped"

    def stopped():
        at_step(14, signal.SIGTERM)
        arguments = [str(folder / "store"), "--out", str(run), *[f"--set={k}={v}" for k, v in QUICK.items()]]
        raise SystemExit(call(["train", *arguments, "--set=checkpoint_seconds=1000"]))

    def leave():
        try:
            stopped()
        except SystemExit as leaving:
            os._exit(leaving.code)

    assert wait(fork(leave)) == 75
    assert checkpoints(run) == [15]
    train(folder / "store", run, None, [QUICK])
    assert_same_weights(run, folder / "undisturbed")


def continued(folder: Path, name: str, at: int = 12) -> Path:
    """A run that was killed at a step, its checkpoints those of the two steps before."""
    run = folder / name

    def until():
        at_step(at)
        train(folder / "store", run, None, [EVERY_STEP])

    assert wait(fork(until)) == -signal.SIGKILL
    assert checkpoints(run) == [at - 1, at]
    return run


def test_the_seconds_of_killed_processes_count(folder):
    run = folder / "timed"

    def until():
        hours = count(step=3600)
        clock = SimpleNamespace(monotonic=lambda: float(next(hours)))
        esad.pipeline.training.engine.time = esad.pipeline.training.state.time = clock
        at_step(6)
        train(folder / "store", run, None, [EVERY_STEP])

    assert wait(fork(until)) == -signal.SIGKILL
    train(folder / "store", run, None, [EVERY_STEP])
    assert json.loads((run / "log" / "train.json").read_text())["seconds"] > 5 * 3600


def test_one_wrong_bit_in_a_checkpoint_is_seen_and_the_one_before_is_taken(folder, capsys):
    run = continued(folder, "flipped")
    path = run / "checkpoints" / "checkpoint_iteration=12.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    train(folder / "store", run, None, [EVERY_STEP])
    said = capsys.readouterr().err
    assert f"{path.name}: unreadable" in said
    assert "Continuing from step 11" in said
    assert_same_weights(run, folder / "undisturbed")


def test_a_checkpoint_of_other_settings_or_versions_is_refused_and_says_which(folder, monkeypatch, capsys):
    run = continued(folder, "mismatch")
    machine = esad.pipeline.training.checkpoints._machine()
    for changed, match in (
        (
            {"torch": "2.11.0"},
            r"checkpoint_iteration=12.pt: written with torch 2\.13.*this is 2\.11\.0.*--force",
        ),
        ({"esad": "9.0"}, r"written with esad"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                esad.pipeline.training.checkpoints, "_machine", lambda changed=changed: {**machine, **changed}
            )
            with pytest.raises(EsadError, match=match):
                train(folder / "store", run, None, [EVERY_STEP])
    (run / "config.yaml").unlink()
    with pytest.raises(EsadError, match=r"other settings \(loss\.lambda1: 0\.01 -> 0\.7\)"):
        train(folder / "store", run, None, [EVERY_STEP, {"loss.lambda1": 0.7}])
    (run / "config.yaml").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(esad.pipeline.training.checkpoints, "_machine", lambda: {**machine, "threads": 64})
        train(folder / "store", run, None, [EVERY_STEP])
    assert "threads 1 -> 64" in capsys.readouterr().err


def test_going_on_in_other_arithmetic_is_said(tmp_path, capsys):
    save_checkpoint(tmp_path, 1, {}, {}, "cuda in torch.bfloat16")
    load_checkpoint(tmp_path, torch.device("cpu"), {}, "cpu in torch.float32")
    said = capsys.readouterr().err
    assert "arithmetic cuda in torch.bfloat16 -> cpu in torch.float32" in said
    assert "in more than their last bits" in said


def test_weights_that_are_not_finite_never_replace_the_last_good_checkpoint(folder, monkeypatch):
    original = esad.models.training.fit.TrainingStep.__call__

    def poisoned(self, at):
        terms = original(self, at)
        if at == 15:
            with torch.no_grad():
                next(iter(self.method.parameters()))[0] = float("nan")
        return terms

    monkeypatch.setattr(esad.models.training.fit.TrainingStep, "__call__", poisoned)
    run = folder / "poisoned"
    with pytest.raises(
        EsadError, match=r"not finite at step 20 .*train\.learning_rate.*kept in .*checkpoints"
    ) as raised:
        train(folder / "store", run, None, [EVERY_STEP, {"train.restarts": 0}])
    assert raised.value.exit_status == 1
    assert checkpoints(run) == [14, 15]
    for path in (run / "checkpoints").glob("checkpoint_*.pt"):
        content = torch.load(path, weights_only=True)
        assert all(torch.isfinite(value).all() for value in content["method"].values())


def test_force_that_is_killed_halfway_leaves_a_run_that_can_be_replaced(folder):
    run = folder / "forced"
    shutil.copytree(folder / "undisturbed", run)

    def halfway():
        shutil.rmtree = die
        train(folder / "store", run, None, [{**QUICK, "seed": 4}], force=True)

    assert wait(fork(halfway)) == -signal.SIGKILL
    assert not (run / "model.safetensors").exists()
    train(folder / "store", run, None, [QUICK], force=True)
    assert_same_weights(run, folder / "undisturbed")


def tiny_disk(place: Path, kilobytes: int) -> None:
    """Mount so small a file system there, for this process alone; leaves with 77 where that is not allowed."""
    faulthandler.cancel_dump_traceback_later()  # its thread: only a process of one thread may leave its user namespace
    library = ctypes.CDLL(None, use_errno=True)
    new_user, new_mounts = 0x10000000, 0x00020000
    user, group = os.getuid(), os.getgid()
    if library.unshare(new_user | new_mounts):
        os._exit(77)
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(line)
    if library.mount(b"tmpfs", bytes(place), b"tmpfs", 0, f"size={kilobytes}k".encode()):
        os._exit(77)


@pytest.mark.parametrize("kilobytes", [16, 300, 900])
def test_a_full_disk_is_said_with_the_file_and_what_to_do(folder, kilobytes, capfd):
    """At the first files, at the first checkpoint, after some; nothing under a final name is broken."""
    place = folder / f"disk-{kilobytes}"
    place.mkdir()

    def filled():
        tiny_disk(place, kilobytes)
        with pytest.raises(EsadError) as raised:
            train(folder / "store", place / "run", None, [EVERY_STEP])
        assert raised.value.exit_status == 1
        for path in (place / "run" / "checkpoints").glob("checkpoint_*.pt"):
            torch.load(path, weights_only=True)
        raise raised.value

    status = wait(fork(filled))
    if status == 77:
        pytest.skip("no file system may be mounted here; the limit on sizes below stands for it")
    assert status == 1
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert str(place / "run") in error
    assert os.strerror(errno.ENOSPC) in error
    assert "Free some space, then run the same command again" in error


def test_a_limit_on_the_size_of_files_is_said_and_training_goes_on_without_it(folder, capfd):
    run = folder / "limited"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        train(folder / "store", run, None, [EVERY_STEP])

    assert wait(fork(limited)) == 1
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint_iteration=1.pt: File too large. A limit on the size of files" in error
    assert not [path for path in run.rglob(".*")]
    train(folder / "store", run, None, [EVERY_STEP])
    assert_same_weights(run, folder / "undisturbed")


def test_a_folder_that_may_not_be_written_is_named(capfd):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders may not be read by others
        place = Path(name)
        place.chmod(0o755)
        make_store(place)
        (place / "runs").mkdir(mode=0o555)

        def as_nobody():
            if os.getuid() == 0:
                os.setuid(65534)
            train(place / "store", place / "runs" / "run", None, [QUICK_TABLE])

        assert wait(fork(as_nobody)) == 1
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert f"{place}/runs/run" in error
        assert "Permission denied. Check the permissions, or choose another --out." in error


def test_too_large_a_network_names_batch_size_and_width(folder):
    with pytest.raises(
        EsadError, match=r"Out of memory with train\.batch_size = 16, network\.width = 30000"
    ) as raised:
        train(folder / "store", folder / "large", None, [{**QUICK, "network.width": 3e4}])
    assert raised.value.exit_status == 1


def test_out_of_memory_in_a_step_keeps_the_checkpoints(folder, monkeypatch):
    original = esad.models.training.fit.TrainingStep.__call__

    def large(self, at):
        if at == 13:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return original(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(esad.models.training.fit.TrainingStep, "__call__", large)
        with pytest.raises(EsadError, match=r"Out of memory with train\.batch_size = 16"):
            train(folder / "store", folder / "memory", None, [EVERY_STEP])
    assert checkpoints(folder / "memory") == [12, 13]
    train(folder / "store", folder / "memory", None, [EVERY_STEP])
    assert_same_weights(folder / "memory", folder / "undisturbed")
