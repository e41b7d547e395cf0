"""The scripts of deploy/ as a person starts them, on a machine without a GPU and without an engine for containers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.deploy.scripts import script

SCRIPTS = sorted((ROOT / "deploy").rglob("*.py"))
RUN = {"image_check", "licences", "release"}
"""Below, and by tests/deploy."""


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python deploy/NAME.py ARGUMENTS` on a machine without a GPU."""
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / f"{name}.py", *arguments], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
    )  # fmt: skip


def test_every_script_is_run_here():
    assert {path.stem for path in SCRIPTS} == RUN


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_names_what_a_script_does(path):
    done = run(path.stem, "--help")
    assert done.returncode == 0, done.stderr
    assert "make " in done.stdout


def test_without_an_engine_the_image_check_says_what_it_needs(tmp_path):
    done = run("image_check", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "image-check needs Docker or Podman" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_work_inside_the_image_is_what_the_commands_take(tmp_path):
    """With this environment in place of an image: commands, options and files are as image_check types and finds them."""
    check = script("image_check")

    class Here(check.Engine):
        """No container: `esad` of this environment, with the folders at their places on this machine."""

        def build(self):
            pass

        def configuration(self):
            return {"User": "esad", "Entrypoint": ["esad"]}

        def size(self):
            return 1

        def inside(self, words, data, runs, program="esad"):
            if program != "esad":  # the user's number; a write that must fail
                return ["echo", "1000"] if program == "id" else ["false"]
            folders = {"/data": data, "/runs": runs}
            named = [
                str(folders[word[:5]]) + word[5:] if word.startswith(tuple(folders)) else word
                for word in words
            ]
            return [sys.executable, "-m", "esad", *named]

        def kill(self, process):
            process.kill()
            process.wait()

    work = tmp_path / "work"
    work.mkdir()
    found = check.check(Here("none", work, None), work)
    assert 0 <= found["auc"] <= 1
