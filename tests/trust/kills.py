"""Processes that die at a chosen moment, and folders compared byte by byte with those that nobody disturbed.

A moment is the n-th time that a process is about to change the file system below a folder: opening a file to write, flushing,
renaming, removing, making a folder. So a kill also falls between a write and its rename. `kill -9` leaves nothing to clear up, just
as here. Moments are drawn by seed; some kills come by the clock instead, and fall anywhere.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from esad.pipeline.cli.app import call
from tests.forks import fork, wait

KILLED = -signal.SIGKILL
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
Make = Callable[[Path], object]
"""Brings an output to its end at the given place, as a command does; called again after a kill."""


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_each_change(below: Path, act: Callable[[], object]) -> None:
    """From now on `act` is called whenever this process is about to change something below the folder (not by C++ libraries)."""
    whole = str(below.resolve())

    def concerns(place: object, handle: object = -1) -> bool:
        if isinstance(place, int):
            place = _path_of(place)
        elif isinstance(handle, int) and handle >= 0:
            place = os.path.join(_path_of(handle), os.fsdecode(place))  # type: ignore[arg-type]
        elif not isinstance(place, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(place)).startswith(whole)  # type: ignore[arg-type]

    def hook(event: str, words: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = words
            writes = (
                bool(set(str(mode)) & set("wax+")) if mode else isinstance(flags, int) and flags & TO_WRITE
            )
            if writes and concerns(path):
                act()
        elif event in CHANGES:
            handle = words[-1] if event != "os.truncate" else -1
            if concerns(words[0], handle if isinstance(handle, int) else -1):
                act()

    original = os.fsync

    def flushed(handle: int) -> None:
        if concerns(handle):
            act()
        original(handle)

    sys.addaudithook(hook)
    os.fsync = flushed


def _path_of(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return ""


def die_at(number: int, below: Path) -> None:
    """This process dies as it is about to make its `number`-th change below the folder, counted from 1."""
    changes = count(1)
    at_each_change(below, lambda: die() if next(changes) == number else None)


def changes_of(make: Make, place: Path) -> int:
    """How many changes `make` makes below `place`'s folder, counted in a copy of this process."""
    reads, writes = os.pipe()

    def work() -> None:
        counted = count(1)
        last = [0]

        def one() -> None:
            last[0] = next(counted)

        at_each_change(place.parent, one)
        try:
            make(place)
        finally:
            os.write(writes, str(last[0]).encode())

    status = wait(fork(work))
    os.close(writes)
    with os.fdopen(reads) as told:
        text = told.read()
    assert status == 0, status
    return int(text)


def made_by(*commands: Sequence[object]) -> None:
    """Run commands, each of which must end well."""
    for words in commands:
        status = call([str(word) for word in words])
        if status:
            raise AssertionError(f"{words[0]}: status {status}")


def contents(folder: Path) -> dict[str, bytes]:
    """All files by their place, but those in folders `log`, which hold times; the folder's own path is OUT in them."""
    if folder.is_file():
        return {".": folder.read_bytes()}
    files = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    own = str(
        folder.resolve()
    ).encode()  # a workflow's store is named in config.yaml and scores.json, by its whole path
    return {
        path.as_posix(): (folder / path).read_bytes().replace(own, b"OUT")
        for path in files
        if "log" not in path.parts
    }


def unlike(one: Path, other: Path) -> list[str]:
    """Files that are in one place alone, or have other bytes; hidden ones of both, which nobody should have left."""
    ours, theirs = contents(one), contents(other)
    assert ours
    assert theirs
    return sorted(
        name
        for name in ours.keys() | theirs.keys()
        if ours.get(name) != theirs.get(name)
        or any(part.startswith(".") and part != "." for part in name.split("/"))
    )


@dataclass
class Ledger:
    """What was killed, and what was found wrong after it."""

    kills: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """An output that is made at a place, and killed while it is made; `begin` puts there what is there before."""

    make: Make
    undisturbed: Path
    begin: Make = lambda place: None
    again: Make | None = None
    """What ends it after kills, where that is another call."""

    def start(self, place: Path) -> Path:
        """A fresh place."""
        place.parent.mkdir(parents=True, exist_ok=True)
        self.begin(place)
        return place

    def end(self, place: Path, ledger: Ledger, moments: object) -> None:
        """Make it to the end with the same call, and compare."""
        status = wait(fork(lambda: (self.again or self.make)(place)))
        if status:
            ledger.faults.append(
                f"{place.name}: after kills at {moments} the same command ends with {status}"
            )
            return
        different = unlike(place, self.undisturbed)
        left = [
            path.name
            for path in place.parent.iterdir()
            if path.name.startswith(".") and place.name in path.name
        ]
        if different or left:
            ledger.faults.append(
                f"{place.name}: after kills at {moments} other bytes in {different}, left beside: {left}"
            )

    def at_moments(self, moments: Sequence[int], folder: Path, together: int = 3) -> Ledger:
        """Kill at each of `moments`, up to `together` kills of one output, each of a new start."""
        ledger, left, number = Ledger(), list(moments), 0
        while left:
            place, had = self.start(folder / str(number) / self.undisturbed.name), []
            number += 1
            while left and len(had) < together:
                status = wait(fork(lambda place=place: (die_at(left[0], place.parent), self.make(place))))
                if status != KILLED:
                    if not had:
                        ledger.faults.append(f"{place}: no kill at {left[0]}, status {status}")
                        left.pop(0)
                    break
                ledger.kills += 1
                had.append(left.pop(0))
            self.end(place, ledger, had)
        return ledger

    def by_clock(self, seconds: Sequence[float], folder: Path) -> Ledger:
        """Kill one output again and again, so many seconds after each start."""
        ledger = Ledger()
        place = self.start(folder / "0" / self.undisturbed.name)
        ledger.kills = self.killed_by_clock(place, seconds)
        self.end(place, ledger, f"{[round(each, 3) for each in seconds]} s")
        return ledger

    def killed_by_clock(self, place: Path, seconds: Iterable[float]) -> int:
        """Start it, kill it so many seconds after that, and again; returns how often it was not yet at its end."""
        kills = 0
        for wait_for in seconds:
            number = fork(lambda: self.make(place))
            time.sleep(wait_for)
            os.kill(number, signal.SIGKILL)
            kills += wait(number) == KILLED
        return kills


def drawn(total: int, most: int, seed: int) -> list[int]:
    """All moments 1 to `total`, or `most` of them drawn by seed, the last one among them; in no order."""
    numbers = random.Random(seed)
    moments = list(range(1, total + 1))
    if total > most:
        moments = [*numbers.sample(moments[:-1], most - 1), total]
    numbers.shuffle(moments)
    return moments
