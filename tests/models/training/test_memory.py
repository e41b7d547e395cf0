"""Freed memory that stays for the next tensor, seen from a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from esad.models.training.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.set_num_threads(1)
for _ in range(30):
    torch.ones(10 * 2**20)
before = faults()
for _ in range(10):
    torch.ones(10 * 2**20)
print(faults() - before)
"""


def faults(how: str) -> int:
    """Pages that the system handed out for ten tensors of 40 MiB, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, env={"PATH": "", "THP_MEM_ALLOC_ENABLE": "0"},
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is what is told")
def test_memory_of_large_tensors_is_handed_out_once():
    assert faults("kept") < 1000
    assert faults("given back") > 10_000
