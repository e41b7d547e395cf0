"""The templates for clusters: checked by shellcheck and kubernetes-validate, and the Slurm script run with stand-ins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from esad.pipeline.cli.app import app
from esad.pipeline.stage.errors import ExitStatus

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SCRIPTS = sorted([*DEPLOY.rglob("*.sbatch"), *DEPLOY.rglob("*.sh")])
JOB = DEPLOY / "kubernetes" / "train-job.yaml"
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path):
    done = subprocess.run(
        [BIN / "shellcheck", "--shell=bash", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_job_is_a_valid_one_and_a_wrong_one_is_not(tmp_path):
    command = [BIN / "kubernetes-validate", "--strict", "--no-warn"]
    done = subprocess.run([*command, JOB], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(JOB.read_text().replace("backoffLimit", "backofLimit"))
    assert subprocess.run([*command, wrong], capture_output=True, check=False).returncode != 0


def test_the_job_asks_for_what_training_needs():
    spec = yaml.safe_load(JOB.read_text())["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    rules = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in spec["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert rules == {"Ignore": [ExitStatus.STOPPED], "FailJob": [ExitStatus.WRONG_USE]}
    assert pod["restartPolicy"] == "Never"  # a policy of failures needs it
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounted == {"/data": True, "/runs": False, "/dev/shm": False, "/tmp": False}
    name, *arguments = container["args"]
    known = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {option for parameter in known.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= options


STAND_INS = {
    "apptainer": 'echo "$@" > "$FOLDER/called"\ntrap "exit $AT_TERM" TERM\nfor _ in $(seq $TENTHS); do sleep 0.1; done\nexit $STATUS\n',
    "scontrol": 'echo "$@" > "$FOLDER/requeued"\n',
}


def start(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """train.sbatch with scripts in place of Apptainer and scontrol."""
    for name, content in STAND_INS.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{content}")
        path.chmod(0o755)
    known = {
        "IMAGE": "esad.sif",
        "STORE": "/archive/tiles",
        "RUN": str(folder / "runs" / "first"),
        "SLURM_JOB_ID": "17",
    }
    usual = {"FOLDER": str(folder), "STATUS": "0", "AT_TERM": "75", "TENTHS": "0"}
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    script = DEPLOY / "slurm" / "train.sbatch"
    return subprocess.Popen(
        ["bash", script, "--preset", "cpu"], env={**os.environ, **path, **known, **usual, **environment}
    )


@pytest.mark.parametrize(("status", "again"), [(0, False), (1, False), (2, False), (75, True)])
def test_slurm_queues_again_what_was_stopped_on_request_and_nothing_else(tmp_path, status, again):
    assert start(tmp_path, STATUS=str(status)).wait(20) == status
    assert (tmp_path / "requeued").exists() == again
    called = (tmp_path / "called").read_text()
    assert called.endswith(
        f"esad.sif esad train /archive/tiles --out {tmp_path}/runs/first --resume --preset cpu\n"
    )


def test_slurm_passes_the_signal_on_waits_for_the_checkpoint_and_queues_again(tmp_path):
    for status in ("75", "1"):  # torchrun leaves with 1
        process = start(tmp_path, TENTHS="300", AT_TERM=status)
        while not (tmp_path / "called").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == int(status)
        assert (tmp_path / "requeued").read_text() == "requeue 17\n"
        for name in ("requeued", "called"):
            (tmp_path / name).unlink()


def test_slurm_starts_a_process_for_each_gpu(tmp_path):
    assert start(tmp_path, SLURM_GPUS_ON_NODE="4").wait(20) == 0
    assert (
        "torchrun --standalone --nproc-per-node 4 --max-restarts 3 -m esad.pipeline.train"
        in (tmp_path / "called").read_text()
    )
