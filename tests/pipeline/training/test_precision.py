"""Settings of arithmetic and compilation that this machine cannot serve, as the user meets them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from esad.pipeline.cli.app import call
from tests import ROOT
from tests.pipeline.stores import make_store


def test_sixteen_bits_on_a_cpu_name_the_setting(tmp_path, capsys):
    make_store(tmp_path, "images")
    command = ["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert call([*command, "--set", "train.precision=bf16"]) == 1
    assert "train.precision = bf16 is for CUDA devices, not cpu" in capsys.readouterr().err


@pytest.mark.slow
def test_compiling_without_a_compiler_says_what_is_missing(tmp_path):
    make_store(tmp_path)
    words = [
        "--set",
        "method=cae",
        "--set",
        "train.compile=true",
        "--set",
        "train.steps=20",
        "--device",
        "cpu",
    ]
    end = subprocess.run(
        [sys.executable, "-m", "esad.pipeline", "train", "store", "--out", "run", *words],
        cwd=tmp_path,
        env={
            **os.environ,
            "CXX": "/nonexistent/g++",
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT / "src"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == 2
    assert "torch.compile failed" in end.stderr
    assert "set train.compile=false" in end.stderr
