"""A power cut: what a name announces is on the disk before the name is, for every writer, by the order of the system calls.

strace writes down what a stage asks of the system, whichever library asks: opening to write, writing, flushing, renaming, making folders.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from esad.preprocessing.store.writing import write_array, write_json
from tests.forks import fork, wait
from tests.trust.kills_world import Made, commands_of

STAGES = tuple(commands_of(Path()))
TRACED = (
    "openat,open,creat,write,pwrite64,writev,pwritev,ftruncate,truncate,fsync,fdatasync,"
    "rename,renameat,renameat2,mkdir,mkdirat,sendfile,copy_file_range"
)
IN_PLACE = re.compile(r"(^|/)(log/.*|history\.csv|\.lock|\.[^/]*\.lock|mlflow\.json|events\.out\.[^/]*)$")
"""Files that announce nothing: logs, the lock, and the history, whose rows are cut where the checkpoint says; it is flushed before that."""
CALL = re.compile(r"^(\d+)\s+(\w+)\((.*)$")


@dataclass
class Order:
    """Reads system calls one after the other, and notes what is out of order."""

    below: str
    faults: list[str] = field(default_factory=list)
    named: int = 0
    dirty: set[str] = field(default_factory=set)
    """Files with bytes that were not flushed since they were written."""
    pending: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Process or thread -> folders whose names it changed, and has not flushed since."""
    in_place: set[str] = field(default_factory=set)

    def call(self, thread: str, name: str, words: str) -> None:
        """One line of strace."""
        if " = -1 " in words:
            return
        paths = re.findall(r'"((?:[^"\\]|\\.)*)"', words)
        opened = re.match(r"\d+<([^>]*)>", words)
        if name in ("open", "openat", "creat") and re.search(r"O_(WRONLY|RDWR|TRUNC)|^creat", words):
            path = self.whole(words, paths[0])
            if path and "O_TRUNC" in words:
                self.dirty.add(path)
            if path:
                self.in_place.add(path)
        elif (
            name in ("write", "pwrite64", "writev", "pwritev", "ftruncate", "sendfile", "copy_file_range")
            and opened
        ):
            for path in (
                re.findall(r"\d+<([^>]*)>", words) if name == "copy_file_range" else [opened.group(1)]
            ):
                if path.startswith(self.below):
                    self.dirty.add(path)
        elif name in ("fsync", "fdatasync") and opened:
            self.dirty.discard(opened.group(1))
            self.pending[thread].discard(opened.group(1))
        elif name.startswith("rename"):
            self.renamed(thread, self.whole(words, paths[0]), self.whole(words, paths[1]))
        elif name.startswith("mkdir"):
            path = self.whole(words, paths[0])
            if path:
                self.pending[thread].add(os.path.dirname(path))

    def whole(self, words: str, path: str) -> str:
        """An absolute path below the folder, else an empty text."""
        found = re.match(r"(?:\w+|-?\d+)<([^>]*)>", words)
        path = path if path.startswith("/") or not found else os.path.join(found.group(1), path)
        return path if path.startswith(self.below) else ""

    def renamed(self, thread: str, old: str, new: str) -> None:
        if not old or not new:
            return
        hidden = os.path.basename(new).startswith(".")
        inside = {path for path in self.dirty if path == old or path.startswith(f"{old}/")}
        if inside and not hidden:
            self.faults.append(f"{new}: renamed before {sorted(inside)[0]} was flushed")
        waiting = {
            folder for folder in self.pending[thread] if not folder.startswith(f"{old}/") and folder != old
        }
        if waiting and not hidden:
            self.faults.append(f"{new}: renamed before the names in {sorted(waiting)[0]} were flushed")
        self.pending[thread] = {os.path.dirname(new)}
        self.dirty -= inside
        self.in_place = {path for path in self.in_place if path != old and not path.startswith(f"{old}/")}
        self.named += not hidden

    def end(self) -> list[str]:
        """All that was out of order; names that nobody flushed, and files that were written under their own names."""
        left = sorted(
            {folder for folders in self.pending.values() for folder in folders if os.path.isdir(folder)}
        )
        self.faults += [f"{folder}: its names were not flushed in the end" for folder in left]
        written = sorted(path for path in self.in_place if os.path.exists(path) and not IN_PLACE.search(path))
        return self.faults + [f"{path}: was written under its own name" for path in written]


def traced(work, below: Path, log: Path) -> Order:
    """`work` in a copy of this process, watched by strace."""
    reads, writes = os.pipe()

    def held() -> None:
        os.close(writes)
        os.read(reads, 1)
        work()

    number = fork(held)
    os.close(reads)
    watcher = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={TRACED}", "-e", "write=none", "-o", str(log), "-p", str(number)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = watcher.stderr.readline()
    os.close(writes)
    status = wait(number)
    watcher.wait()
    if "attached" not in said:
        pytest.skip(f"strace may not look at a process here: {said.strip()}")
    assert status == 0
    order, waiting = Order(str(below.resolve())), {}
    for line in log.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if line.rstrip().endswith("<unfinished ...>") and found:
            waiting[found.group(1)] = found
        elif "resumed>" in line:
            found = waiting.pop(line.split()[0], None)
            if found and " = -1 " not in line:
                order.call(*found.groups())
        elif found:
            order.call(*found.groups())
    return order


needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_name_announces_is_on_the_disk_before_the_name(world, stage, tmp_path):
    made = Made(world, stage)
    made.undisturbed()  # what is imported now writes no caches later
    place = made.place("traced", stage)
    place.parent.mkdir(parents=True)
    made.begin(place)
    order = traced(lambda: flushing(lambda: made.make(place)), place.parent, tmp_path / "calls")
    assert order.named
    assert order.end() == []


def flushing(work) -> None:
    """`work` where flushing is not left out, as it is in the other tests."""
    from tests.conftest import FSYNC

    os.fsync = FSYNC
    work()


@needs_strace
def test_the_order_of_one_array_and_one_table_and_what_would_be_wrong(tmp_path):
    import numpy as np

    def right() -> None:
        write_array(tmp_path / "a" / "b" / "one.npy", np.zeros(10))
        write_json(tmp_path / "a" / "store.json", {})

    def wrong() -> None:
        (tmp_path / "w").mkdir()
        (tmp_path / "w" / ".t.1.npy").write_bytes(b"content")
        os.replace(tmp_path / "w" / ".t.1.npy", tmp_path / "w" / "t.npy")
        (tmp_path / "w" / "plain.json").write_text("{}")

    order = traced(lambda: flushing(right), tmp_path, tmp_path / "calls")
    assert order.named == 2
    assert order.end() == []
    told = "\n".join(traced(lambda: flushing(wrong), tmp_path / "w", tmp_path / "calls").end())
    assert "t.npy: renamed before" in told
    assert "its names were not flushed" in told
    assert "plain.json: was written under its own name" in told
