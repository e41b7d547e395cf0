"""The disk fills, for real: a file system of few bytes. The error names the file and the remedy; with room the same command ends well."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from esad.pipeline.cli.app import call
from tests.forks import fork, wait
from tests.pipeline.training.test_survival import tiny_disk
from tests.trust.kills import contents, unlike
from tests.trust.kills_world import Made, commands_of

STAGES = tuple(commands_of(Path()))
SHARES = (0.05, 0.6)
"""Of what an output takes, what the disk has room for."""
PAGE, NOT_ALLOWED = 4096, 77
GROWING = {
    "units.json", "settings.json", "history.csv", "begun.json", "sweep.json", "failures.csv", "scores.parquet", "checkpoints.json",
    "of.json",
}  # fmt: skip
"""Files that are written anew while a stage goes on."""


def larger(place: Path, kilobytes: int) -> None:
    """Give the file system at `place` more room."""
    library = ctypes.CDLL(None, use_errno=True)
    remount = 32
    if library.mount(b"tmpfs", bytes(place), b"tmpfs", remount, f"size={kilobytes}k".encode()):
        os._exit(NOT_ALLOWED)


def kilobytes_of(output: Path) -> int:
    """What its files take in whole pages."""
    files = [output] if output.is_file() else [path for path in output.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in files) // 1024


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_damages_nothing_and_with_room_the_same_command_ends_well(world, stage, share, capfd):
    made = Made(world, stage)
    whole = made.undisturbed()
    disk = made.place("disk", f"{stage}-{share}").parent
    disk.mkdir(parents=True)
    place = disk / whole.name
    commands = [[str(word) for word in command] for command in commands_of(world)[stage](place)]
    needs = kilobytes_of(whole)
    capfd.readouterr()

    def filled() -> None:
        tiny_disk(disk, 1 << 20)
        made.begin(place)
        begun = kilobytes_of(place) if place.exists() else 0
        larger(disk, begun + 4 + int((needs - begun) * share) // 4 * 4)  # a page more, which the lock takes
        status = [call(command) for command in commands]
        assert status == [1], status
        found, right = contents(place) if place.exists() else {}, contents(whole)
        finished = {name for name in found if name in right and Path(name).name not in GROWING}
        assert [name for name in finished if found[name] != right[name]] == []
        os.write(2, b"--- with room\n")
        larger(disk, 1 << 20)
        assert [call(command) for command in commands] == [0]
        assert unlike(place, whole) == []

    status = wait(fork(filled))
    if status == NOT_ALLOWED:
        pytest.skip(
            "no file system may be mounted here; a limit on sizes stands for it in test_writing.py and test_survival.py"
        )
    told = capfd.readouterr().err
    assert status == 0, told
    error = [line for line in told.split("--- with room")[0].splitlines() if "error: " in line][-1]
    assert os.strerror(errno.ENOSPC) in error
    assert str(disk) in error
    assert "Free some space, then run the same command again" in error
