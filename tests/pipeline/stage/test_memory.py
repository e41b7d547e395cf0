"""Freed memory goes back to the system, even where glibc was told to keep it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import re
from pathlib import Path
import numpy as np
from esad.models.training.memory import keep_freed_memory
from esad.pipeline.stage.memory import give_freed_memory_back

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

assert keep_freed_memory()
tables = [np.ones(5 * 2**20, np.uint8) for _ in range(40)]
filled = resident()
del tables
kept = resident()
give_freed_memory_back()
print(filled, kept, resident())
"""
"""In a process of its own: what other tests freed would be filled first. Prints MiB."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_what_was_freed_is_given_back():
    told = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    filled, kept, given_back = map(int, told.split())
    assert kept > filled - 50
    assert given_back < kept - 100
