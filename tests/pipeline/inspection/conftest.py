"""Scored slides that the tests of this room look at; each test has marks of its own."""

from __future__ import annotations

import pytest

from tests.pipeline.inspection.case import case_of, make_store, score_store


@pytest.fixture(scope="package")
def made(tmp_path_factory):
    """A folder with slides/, store/ and two runs of it."""
    folder = tmp_path_factory.mktemp("inspection")
    store = make_store(folder)
    score_store(folder, store)
    score_store(folder, store, "other", seed=1)
    return folder


@pytest.fixture
def runs(made):
    return [made / "run" / "run", made / "other" / "run"]


@pytest.fixture
def case(made, runs, tmp_path):
    return case_of(runs, tmp_path / "marks.sqlite", made / "slides")
