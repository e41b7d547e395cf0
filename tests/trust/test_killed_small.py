"""The part of `make trust` that CI runs: a small store's units and tables, killed at moments spread over all of their making."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.stores import make_store
from tests.trust.kills import Trial, changes_of, drawn


def make(place: Path) -> None:
    make_store(place.parent, name=place.name, shards=3)


def test_a_store_that_is_killed_ends_in_the_same_bytes_and_leaves_nothing(tmp_path):
    whole, counted = tmp_path / "undisturbed" / "store", tmp_path / "counted" / "store"
    make(whole)
    counted.parent.mkdir()
    total = changes_of(make, counted)
    assert (
        total > 60
    )  # folders made, files opened, flushed and renamed, the lock: of three shards and all tables
    found = Trial(make, whole).at_moments(drawn(total, 4, 0), tmp_path / "killed", together=4)
    assert found.faults == []
    assert found.kills == 4
