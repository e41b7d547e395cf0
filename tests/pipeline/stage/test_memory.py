"""Freed memory goes back to the system, even where glibc was told to keep it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from esad.models.training.memory import keep_freed_memory
from esad.pipeline.stage.memory import give_freed_memory_back
from tests.forks import fork, wait

MIB = 2**20


def resident() -> int:
    """MiB of this process in memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024 // MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_what_was_freed_is_given_back():
    def command():
        assert keep_freed_memory()
        tables = [np.ones(5 * MIB, np.uint8) for _ in range(40)]
        filled = resident()
        del tables
        kept = resident()
        give_freed_memory_back()
        assert kept > filled - 50
        assert resident() < kept - 100

    assert wait(fork(command)) == 0
