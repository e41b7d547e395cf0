"""Every stage, killed at moments drawn by seed: the same command then ends in the bytes of a run that nobody disturbed.

`make trust` runs all of it. Compared are all files but those in folders `log`, which hold times and the machine's name: nothing else of
an output does. Marks of the viewer hold times, and so do a benchmark's cells and pages: they are compared with a clock that stands still.
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.trust.kills import Ledger, Trial, changes_of, drawn, unlike
from tests.trust.kills_world import FORCED, Made, commands_of, mark_some

STAGES = tuple(commands_of(Path()))
MOMENTS, FEWER_MOMENTS, FORCED_MOMENTS, BY_CLOCK, LEAST = 9, 5, 2, 2, 200
LONG = {
    "tile",
    "radiographs",
    "dicom-slides",
    "run",
    "report",
    "score-tiles",
    "train-images",
    "sweep",
    "annotations",
    "figures",
}
"""Stages that take seconds: killed fewer times."""
TALLY: dict[str, int] = {}
"""Kills so far, by stage."""


def check(stage: str, *ledgers: Ledger) -> None:
    TALLY[stage] = TALLY.get(stage, 0) + sum(ledger.kills for ledger in ledgers)
    print(f"\n{stage}: {TALLY[stage]} kills")  # noqa: T201 - what `make trust` is asked for
    assert [fault for ledger in ledgers for fault in ledger.faults] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_moment_the_same_command_ends_in_the_same_bytes(world, stage):
    made = Made(world, stage)
    whole = made.undisturbed()
    counted = made.place("counted", "0")
    counted.parent.mkdir(parents=True, exist_ok=True)
    made.begin(counted)
    began = time.monotonic()
    total = changes_of(made.make, counted)
    seconds = time.monotonic() - began
    assert unlike(counted, whole) == []
    trial, numbers = Trial(made.make, whole, made.begin), random.Random(stage)
    at_changes = trial.at_moments(
        drawn(total, FEWER_MOMENTS if stage in LONG else MOMENTS, 0), world / f"killed-{stage}", together=4
    )
    some = [numbers.uniform(0.1, 0.9) * seconds for _ in range(BY_CLOCK)]
    check(stage, at_changes, trial.by_clock(some, world / f"clock-{stage}"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", FORCED)
def test_killed_while_it_replaces_what_was_there_it_can_be_told_to_do_so_again(world, stage):
    """And without --force, too: what is half removed is never taken for finished."""
    made = Made(world, stage)
    whole = made.undisturbed()
    counted = made.place("counted", "1")
    counted.parent.mkdir(parents=True, exist_ok=True)
    copy_of(whole, counted)
    total = changes_of(made.forced, counted)
    moments = drawn(min(total, 40), FORCED_MOMENTS, 1)
    trial = Trial(made.forced, whole, lambda place: copy_of(whole, place))
    without = Trial(made.forced, whole, lambda place: copy_of(whole, place), made.make)
    check(
        f"{stage} --force",
        trial.at_moments(moments, world / f"forced-{stage}", together=2),
        without.at_moments(moments, world / f"without-{stage}", together=1),
    )


def copy_of(whole: Path, place: Path) -> None:
    if whole.is_dir():
        shutil.copytree(whole, place)
    else:
        shutil.copyfile(whole, place)


@pytest.mark.slow
def test_marks_of_the_viewer_are_whole_or_not_there(tmp_path):
    """Each is written once however often it is tried; SQLite makes no call of Python's, so these kills come by the clock, too."""
    whole = tmp_path / "whole" / "marks.sqlite"
    whole.parent.mkdir()
    mark_some(whole)
    told = whole.with_suffix(".json").read_bytes()
    numbers, ledger = random.Random(0), Ledger()
    trial = Trial(mark_some, whole.with_suffix(".json"))
    for run in range(4):
        place = tmp_path / str(run) / "marks.sqlite"
        place.parent.mkdir()
        ledger.kills += trial.killed_by_clock(place, [numbers.uniform(0.01, 0.1) for _ in range(3)])
        mark_some(place)
        assert place.with_suffix(".json").read_bytes() == told
    assert ledger.kills
    check("view", ledger)


@pytest.mark.slow
def test_there_were_at_least_two_hundred(request):
    """The last of the file; says nothing where only a part of it runs."""
    if len(TALLY) < len(STAGES) + len(FORCED) + 1:
        pytest.skip("only a part of the stages ran")
    print("\nkills:", sum(TALLY.values()), TALLY)  # noqa: T201 - what `make trust` is asked for
    assert sum(TALLY.values()) >= LEAST
