"""What all tests share: where the real data is, and one thread a test so that two can run side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small networks, and a busy machine

DATA = Path(os.environ.get("ESAD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; the test skips, saying so, where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"real data is absent: {DATA} (set ESAD_DATA)")
    return DATA
