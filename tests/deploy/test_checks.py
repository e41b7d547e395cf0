"""What the checks of image and GPU decide themselves; the checks proper need an engine or a device."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def script(name: str):
    """deploy/NAME.py as a module: the folder is no package."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_outcomes_of_a_junit_file(tmp_path):
    report = tmp_path / "tests.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/><testcase classname="a" name="c"><failure/></testcase>'
        '<testcase classname="a" name="d"><skipped/></testcase><testcase classname="a" name="e"><error/></testcase>'
        "</testsuite></testsuites>"
    )
    found = script("gpu_check").outcomes(report)
    assert found == {"a::b": "passed", "a::c": "failed", "a::d": "skipped", "a::e": "failed"}


@pytest.mark.parametrize(
    ("tests", "benchmark", "status"),
    [({"a": "passed"}, {"x": 1}, 0), ({"a": "passed", "b": "skipped"}, {"x": 1}, 1), ({"a": "failed"}, {"x": 1}, 1),
     ({}, {"x": 1}, 1), ({"a": "passed"}, {"error": "status 1"}, 1)],
)  # fmt: skip
def test_a_gpu_check_passes_only_where_all_was_done(tmp_path, monkeypatch, capsys, tests, benchmark, status):
    """With a device made up: a skipped test on a machine with a GPU is no pass."""
    check = script("gpu_check")
    monkeypatch.setattr(check, "device", lambda: {"name": "made up"})
    monkeypatch.setattr(check, "run_tests", lambda folder: tests)
    monkeypatch.setattr(check, "run_benchmark", lambda folder: benchmark)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(tmp_path / "found.json")])
    assert check.main() == status
    assert json.loads((tmp_path / "found.json").read_text())["tests"] == tests
    assert ("FAILED" in capsys.readouterr().out) == bool(status)


def test_without_a_gpu_the_check_says_so_and_leaves_with_a_skip(tmp_path, monkeypatch, capsys):
    check = script("gpu_check")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(tmp_path / "found.json")])
    assert check.main() == 0
    assert "SKIPPED" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["skipped"] == "no CUDA device"
    assert found["versions"]["torch"]


def test_local_sources_of_packages_are_mounted_and_the_environments_win(monkeypatch):
    check = script("image_check")
    listed = (
        ":env:.find-links='/wheels'\nglobal.find-links='/old'\nglobal.quiet='1'\n"
        "global.extra-index-url='file:///a/simple https://index.example/simple'\nglobal.cert='/certificates.crt'\n"
    )
    monkeypatch.setattr(check, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=listed))
    arguments, local = check.pip_settings()
    assert arguments["PIP_FIND_LINKS"] == "/wheels"
    assert "PIP_QUIET" not in arguments
    assert set(local) == {Path("/wheels"), Path("/a"), Path("/certificates.crt")}


def test_descendants_are_found_the_deepest_first():
    process = subprocess.Popen(["bash", "-c", "sleep 60 & wait"])
    try:
        found: list[int] = []
        while not found:
            found = script("image_check").descendants(process.pid)
        assert Path(f"/proc/{found[0]}/cmdline").read_bytes().startswith(b"sleep")
        assert os.getpid() in script("image_check").descendants(os.getppid())
    finally:
        for number in [*found, process.pid]:
            os.kill(number, 9)
        process.wait()
