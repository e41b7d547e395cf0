"""What all tests share: where the real data is, and one thread a test so that two can run side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from threadpoolctl import threadpool_limits

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small networks, and a busy machine

FSYNC = os.fsync
os.fsync = lambda handle: None
"""Tests need not survive a power cut, and a flush takes milliseconds; tests/trust/test_power.py looks at what is flushed."""

DATA = Path(os.environ.get("ESAD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


SLOW = [
    re.compile(line)
    for line in (Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what slow.txt names, before `-m` chooses by marks."""
    for item in items:
        if any(pattern.match(item.nodeid) for pattern in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; the test skips, saying so, where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"real data is absent: {DATA} (set ESAD_DATA)")
    return DATA


@pytest.fixture
def spams() -> Iterator[ModuleType]:
    """spams, which sets the process's number of OpenMP threads for good: it is put back when the test ends.

    Training on another number of threads gives other bits, and a later test would find them.
    """
    module = pytest.importorskip("spams", reason="spams is not installed (make install does)")
    with threadpool_limits(os.cpu_count(), user_api="openmp"):
        yield module
