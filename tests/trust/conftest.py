"""One archive with its stores, runs and scores for all tests of kills, full disks and power cuts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.trust.kills_world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once a session; kept in ESAD_TRUST_WORLD, where that is set, for those who run a part again and again."""
    kept = os.environ.get("ESAD_TRUST_WORLD")
    if kept is None:
        return make_world(tmp_path_factory.mktemp("world"))
    root = Path(kept)
    if not (root / "flow.yaml").is_file():
        make_world(root)
    return root
