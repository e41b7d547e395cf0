"""benchmarks/gpu.py without a GPU, as a person starts it, and what it makes of sections that fail, hang or die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from importlib import import_module
from types import ModuleType

import pytest

from tests import ROOT

SECTIONS = ["machine", "tests", "step", "compiled", "resume", "pcam", "scoring", "training"]


def test_at_tiny_size_every_section_runs_and_the_table_has_them_all(tmp_path):
    out = tmp_path / "found"
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--tiny", "--device", "cpu", "--out", str(out)], cwd=ROOT, text=True,
        capture_output=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    log = (out / "gpu.log").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr + log
    found = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    assert list(found) == ["tiny", *SECTIONS]
    assert not [name for name in SECTIONS if "error" in found[name]]
    assert found["tests"]["skipped"] > 5
    assert found["tests"]["failed"] == 0
    assert found["resume"]["killed_before_the_end"]
    assert found["resume"]["same_weights"]  # bit by bit, on a CPU
    assert found["step"]["vs_plain"] > 0
    assert found["step"]["vs_product"] > 0
    assert found["scoring"]["scored_per_second"] > 0
    assert 0 <= found["pcam"]["auc"] <= 1
    text = (out / "gpu.md").read_text(encoding="utf-8")
    assert text.startswith("### CPU")
    assert all(f"| {name} |" in text for name in SECTIONS)
    assert sorted(path.name for path in out.iterdir()) == ["gpu.json", "gpu.log", "gpu.md"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """benchmarks/gpu.py; its folder is on the path while it is imported, and its neighbours are let go of afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return import_module("gpu")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in ("gpu", "gpu_sections", "training", "matrix_products", "command"):
            if name not in before:
                sys.modules.pop(name, None)


def fails(given, known, report):
    report({"half": 1})
    raise ValueError("no such luck")


def hangs(given, known, report):
    report({"child": os.fork() or os.getpid()})
    time.sleep(60)


def dies(given, known, report):
    report({"before": known["x"]})
    os.kill(os.getpid(), signal.SIGKILL)


def works(given, known, report):
    sys.stdout.write("said")
    report({"ms": 2.0, "vs_plain": 1.5})


@pytest.mark.parametrize(
    ("section", "found"),
    [
        (fails, {"half": 1, "error": "ValueError: no such luck"}), (hangs, {"error": "stopped after 1 s"}),
        (dies, {"before": 5, "error": "ended with status -9; see gpu.log"}), (works, {"ms": 2.0, "vs_plain": 1.5}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_section_keeps_what_it_found_and_says_how_it_ended(script, tmp_path, monkeypatch, section, found):
    monkeypatch.setitem(script.SECTIONS, "step", section)
    limit = 1 if section is hangs else 30
    got = script.run_section("step", Namespace(), {"x": 5}, limit, tmp_path / "gpu.log")
    assert got.pop("seconds") < 10
    child = got.pop("child", None)
    assert got == found
    if child:  # the whole group is ended; what is left of it is init's to clear
        time.sleep(0.2)
        state = ROOT.__class__(f"/proc/{child}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"
    if section is works:
        assert "== works" in (tmp_path / "gpu.log").read_text()
        assert "said" in (tmp_path / "gpu.log").read_text()


def test_the_table_names_the_card_the_goals_and_what_was_not_run(script):
    text = script.table(
        {
            "tiny": False,
            "machine": {"device": "NVIDIA X"},
            "compiled": {"vs_plain": 1.456789, "plain": {"ms": 3}},
        }
    )
    assert text.startswith("### NVIDIA X\n")
    assert "| compiled | vs plain | 1.457 | >= 1.3 |" in text
    assert "| compiled | plain ms | 3 |  |" in text
    assert "| pcam | not run |" in text


def test_without_a_gpu_a_check_of_it_says_so_and_is_no_failure(tmp_path):
    """What `make gpu-check` runs."""
    assert "benchmarks/gpu.py --gpu-only" in (ROOT / "Makefile").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--gpu-only", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no CUDA device; no GPU was checked" in done.stdout
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["skipped"] == "no CUDA device"
    assert "step" not in found


def test_pictures_that_are_not_there_are_status_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--prepare", str(tmp_path / "store"), "--data", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pcam_64.npz: no such file" in done.stderr
