"""Progress in log files: by count, or by weight where one input is a hundred times another."""

from __future__ import annotations

import pytest

from esad.pipeline.stage import progress as module
from esad.pipeline.stage.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_the_eta_goes_by_weight_where_weights_are_known(clock, capsys):
    with progress("tile slides", 3, weight=1000) as bar:
        clock[0] = 20.0
        bar.advance(weight=100)
        clock[0] = 36.0
        bar.advance(weight=80)
        clock[0] = 40.0  # too soon for another line
        bar.advance(weight=20)
    assert capsys.readouterr().err.splitlines() == [
        "tile slides: 1/3 (10 %), 180 s left",
        "tile slides: 2/3 (18 %), 164 s left",
    ]


def test_without_weights_it_goes_by_count(clock, capsys):
    with progress("score run", 10) as bar:
        clock[0] = 20.0
        bar.advance(4, "loss 1.0")
    assert capsys.readouterr().err == "score run: 4/10 (40 %), 30 s left loss 1.0\n"


def test_a_terminal_gets_a_bar_with_counts(monkeypatch, capsys):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress("tile slides", 3, weight=1000) as bar:
        bar.advance(2, "note", weight=900)
    said = capsys.readouterr().err
    assert "tile slides" in said
    assert "2/3" in said
