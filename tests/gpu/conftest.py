"""Tests of this folder need a CUDA device; `make gpu-check` runs them and writes what came out."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def cuda() -> torch.device:
    """The first CUDA device, with its peak of memory set back; the test skips, saying so, where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.device("cuda", 0)
