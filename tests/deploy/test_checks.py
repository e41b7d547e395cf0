"""What the checks of image and GPU decide themselves; the checks proper need an engine or a device."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.deploy.scripts import script


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


def _command(number: int) -> bytes:
    return Path(f"/proc/{number}/cmdline").read_bytes()


def test_descendants_are_found_the_deepest_first():
    process = subprocess.Popen(["bash", "-c", "sleep 60 & wait"])
    try:
        found: list[int] = []
        while not found or not _command(found[0]):  # which a process has none of while it changes its program
            found = script("image_check").descendants(process.pid)
        assert _command(found[0]).startswith((b"sleep", b"bash"))
        assert os.getpid() in script("image_check").descendants(os.getppid())
    finally:
        for number in [*found, process.pid]:
            os.kill(number, 9)
        process.wait()
