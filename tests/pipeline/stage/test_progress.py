"""Progress in log files: by count, or by weight where one input is a hundred times another."""

from __future__ import annotations

import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.stage import progress as module
from esad.pipeline.stage.progress import progress, say, show_table


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


NAMES = ("a[red]b.png", "[/]", "[bold", "x[link=https://example.org]y", "\\[red]")


@pytest.mark.parametrize("name", NAMES)
def test_brackets_of_a_name_are_shown_as_they_are(monkeypatch, capsys, name):
    say(f"refused {name}: no picture")
    show_table(["slide", name], [[name, "1"]])
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress(f"images {name}", 2) as bar:
        bar.advance(1, name)
    said = capsys.readouterr().err
    assert said.count(name) >= 4


def test_a_file_with_brackets_in_its_name_is_refused_under_its_name(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a[red]b.png", "[].png"):
        (tmp_path / "in" / name).write_bytes(b"no picture")
    assert call(["images", str(tmp_path / "in"), "--out", str(tmp_path / "[red]")]) == 1
    said = capsys.readouterr().err
    assert "a[red]b.png" in said
    assert "[].png" in said
    assert call(["images", str(tmp_path / "[/]"), "--out", str(tmp_path / "out")]) == 2
    assert "[/]" in capsys.readouterr().err
    assert call(["images", "--nothing[/]"]) == 2
    assert "--nothing[/]" in capsys.readouterr().err
