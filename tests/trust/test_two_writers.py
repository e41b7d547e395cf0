"""Two processes on one output: the second is refused, with the first one's number and machine, and changes nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.stage.lock import writing_to
from tests.forks import fork, wait
from tests.pipeline.commands import words
from tests.pipeline.stores import QUICK_TABLE, make_store
from tests.trust.kills import contents
from tests.trust.kills_world import WHOLE, Made, commands_of

NO_STEP = "run"
"""A workflow's steps have an output each, and a lock each."""
STAGES = tuple(name for name in commands_of(Path()) if name != NO_STEP)


def refused(capfd: pytest.CaptureFixture, command: list[object], place: Path, inside: bool) -> None:
    before = contents(place) if place.exists() else {}
    capfd.readouterr()
    with writing_to(place, inside):
        assert wait(fork(lambda: os._exit(call([str(word) for word in command])))) == 1
        after = contents(place) if place.exists() else {}
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert f"{place}: is being written by process {os.getpid()} on {platform.node()}, since 20" in told[0]
    after.pop(".lock", None)
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_second_is_refused_and_told_who_the_first_is(world, stage, capfd):
    made = Made(world, stage)
    place = made.place("two", "0")
    place.parent.mkdir(parents=True, exist_ok=True)
    made.begin(place)
    (command,) = commands_of(world)[stage](place)
    refused(capfd, command, place, stage not in WHOLE)


@pytest.mark.parametrize("stage", ["tables", "train", "score"])
def test_a_second_ingest_training_or_scoring_is_refused(tmp_path, stage, capfd):
    if stage != "tables":
        make_store(tmp_path)
    commands = {
        "tables": ["tables", tmp_path / "rows.csv", "--out", tmp_path / "out"],
        "train": ["train", tmp_path / "store", "--out", tmp_path / "out", *words(QUICK_TABLE)],
        "score": ["score", tmp_path / "run", "--out", tmp_path / "out"],
    }
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    if stage == "score":
        short = {**QUICK_TABLE, "train.steps": 2, "train.warmup.steps": 1}
        assert call(["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), *words(short)]) == 0
    refused(capfd, commands[stage], tmp_path / "out", inside=True)
