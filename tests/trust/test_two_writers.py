"""Two processes on one output: the second is refused, with the first one's number and machine, and changes nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.stage.lock import writing_to
from tests.forks import fork, wait
from tests.pipeline.stores import make_store
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


@pytest.mark.parametrize("stage", ["tables", "train"])
def test_a_second_ingest_or_training_is_refused(tmp_path, stage, capfd):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    make_store(tmp_path)
    source = "rows.csv" if stage == "tables" else "store"
    refused(capfd, [stage, tmp_path / source, "--out", tmp_path / "out"], tmp_path / "out", inside=True)
