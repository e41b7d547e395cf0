"""One mutant through one command, watched: how it ended, how long it took, how much memory, what was written where."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from esad.preprocessing.errors import EsadError
from tests.mutations import mutated

SECONDS = 10.0
"""Of computing, and of waiting six times as long: other work on the machine is no fault of a mutant."""
MOST_BYTES = 2_000_000_000
OWN_FAULT = "a fault of esad itself"
STATUSES = (0, 1, 2, 3)


class Hang(BaseException):
    """Not an Exception, so that nothing takes it for a fault of a file."""


@dataclass(frozen=True)
class Subject:
    """Something that reads: `file` below the folder is what is damaged, `drive` is what a person would do with it.

    `drive` is given the copy of the folder and a number, and returns an exit status, or raises an EsadError. What it
    writes has to lie below `writes`, paths relative to the copy.
    """

    name: str
    format: str
    folder: Path
    file: str
    drive: Callable[[Path, int], int]
    changes: tuple[Callable[[bytes, Any], bytes], ...] = ()
    writes: tuple[str, ...] = ("new",)
    wrong: Callable[[Path, Path, str], str | None] | None = None
    """Of a mutant that was taken: what is wrong with the result, or None. Given the good folder, the copy, what was said."""


@dataclass(frozen=True)
class Ending:
    """How a mutant ended: taken, refused, or a fault, with what was said."""

    kind: str
    told: str
    seconds: float = 0.0
    peak: int = 0


def mutant_of(subject: Subject, seed: int) -> bytes:
    """Half of the mutants have a shape, the others are damaged bytes; one in thirty is another file of the folder, or empty."""
    import numpy as np

    numbers = np.random.default_rng([abs(seed), *subject.name.encode()])
    good = (subject.folder / subject.file).read_bytes()
    if seed < 0:  # the good file, to begin with
        return good
    chance = numbers.random()
    if chance < 0.02:
        others = sorted(path for path in subject.folder.rglob("*") if path.is_file())
        return others[int(numbers.integers(len(others)))].read_bytes()
    if chance < 0.04:
        return good[: int(numbers.integers(len(good) + 1))]
    if subject.changes and chance < 0.8:
        change = subject.changes[int(numbers.integers(len(subject.changes)))]
        return change(good, numbers)
    return mutated(good, int(numbers.integers(2**31)))


def seen(folder: Path, without: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
    """Size and time of every file below `folder`, but for those below `without`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not any(name == each or name.startswith(f"{each}/") for each in without) and not path.is_dir():
            status = path.lstat()
            found[name] = (status.st_size, status.st_mtime_ns)
    return found


@contextlib.contextmanager
def alarmed(seconds: float) -> Iterator[None]:
    """Within the block Hang after so many seconds of computing, or six times as many in all."""

    def ring(number: int, frame: object) -> None:
        raise Hang

    bells = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, 6 * seconds))
    before = {number: signal.signal(number, ring) for number, _, _ in bells}
    for _, timer, limit in bells:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, timer, _ in bells:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def _family() -> list[int]:
    process = psutil.Process()
    return [process.pid, *(child.pid for child in process.children(recursive=True))]


def forget_peaks() -> None:
    """Have Linux count the most memory anew, of this process and its children."""
    for number in _family():
        with contextlib.suppress(OSError):
            Path(f"/proc/{number}/clear_refs").write_text("5")


def peak() -> int:
    """The most memory since then, bytes: of this process and its children, each at its own time."""
    found = 0
    for number in _family():
        with contextlib.suppress(OSError, IndexError):
            text = Path(f"/proc/{number}/status").read_text()
            found += int(text.split("VmHWM:")[1].split()[0]) * 1024
    return found


def limit_memory(more: int = 6_000_000_000) -> None:
    """No more address space than `more` beyond what this process has: a mutant that asks for terabytes harms nobody else."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def attempt(subject: Subject, seed: int, work: Path, content: bytes | None = None) -> Ending:
    """Make the mutant in a copy of the folder below `work`, drive it, and say how it ended."""
    copy, elsewhere = work / "case", work / "elsewhere"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(subject.folder, copy)
    elsewhere.mkdir(parents=True, exist_ok=True)
    (copy / subject.file).write_bytes(mutant_of(subject, seed) if content is None else content)
    before, around = seen(copy), seen(work, ("case",))
    place, said = Path.cwd(), io.StringIO()
    forget_peaks()
    least, began = peak(), time.process_time()
    os.chdir(elsewhere)
    try:
        with alarmed(SECONDS), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = subject.drive(copy, seed)
        kind = "taken" if status in (0, 3) else "refused"
        told = said.getvalue()
        if status not in STATUSES:
            kind, told = "fault", f"status {status}: {told}"
    except EsadError as error:
        kind, told = "refused", str(error)
    except Hang:
        kind, told = "fault", f"took more than {SECONDS:g} s: {said.getvalue()}"
    except BaseException:  # noqa: BLE001  a fault is what is looked for
        kind, told = "fault", f"{traceback.format_exc()}\n{said.getvalue()}"
    finally:
        os.chdir(place)
    seconds, grown = time.process_time() - began, peak() - least
    kind, told = _judged(kind, told, grown, before, seen(copy, subject.writes), subject, copy)
    if seen(work, ("case",)) != around:
        kind, told = "fault", f"wrote outside: {set(seen(work, ('case',))) - set(around)}: {told}"
    return Ending(kind, told, seconds, grown)


def _judged(
    kind: str,
    told: str,
    grown: int,
    before: dict[str, tuple[int, int]],
    after: dict[str, tuple[int, int]],
    subject: Subject,
    copy: Path,
) -> tuple[str, str]:
    if kind == "fault":
        return kind, told
    if OWN_FAULT in told or "Traceback" in told:
        return "fault", told
    if kind == "refused" and not told.strip():
        return "fault", "refused without a word"
    if grown > MOST_BYTES:
        return "fault", f"grew by {grown / 1e9:.1f} GB: {told}"
    kept = {name: facts for name, facts in before.items() if not _below(name, subject.writes)}
    if kept != after:
        changed = {name for name in {*kept, *after} if kept.get(name) != after.get(name)}
        return "fault", f"wrote to {sorted(changed)}: {told}"
    wrong = subject.wrong(subject.folder, copy, told) if kind == "taken" and subject.wrong else None
    return ("fault", f"WRONG: {wrong}: {told}") if wrong else (kind, told)


def _below(name: str, folders: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in folders)
