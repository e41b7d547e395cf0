"""Progress and messages, on stderr: a bar with an ETA in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOG_EVERY_SECONDS = 15.0


def say(message: str) -> None:
    """Print one line for the person, on stderr (stdout belongs to `--json`)."""
    sys.stderr.write(message.rstrip() + "\n")
    sys.stderr.flush()


class _Log:
    """Progress for log files: at most one line every LOG_EVERY_SECONDS, with share done and ETA."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, max(total, 1), 0
        self.started = self.spoken = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        now = time.monotonic()
        if now - self.spoken >= LOG_EVERY_SECONDS and self.done:
            self.spoken = now
            left = (now - self.started) / self.done * (self.total - self.done)
            share = 100 * self.done / self.total
            say(f"{self.description}: {self.done}/{self.total} ({share:.0f} %), {left:.0f} s left {note}")


class _Bar:
    """Progress for terminals (rich)."""

    def __init__(self, progress: object, task: object) -> None:
        self.progress, self.task = progress, task

    def advance(self, count: int = 1, note: str = "") -> None:
        self.progress.update(self.task, advance=count, note=note)  # type: ignore[attr-defined]


@contextmanager
def progress(description: str, total: int) -> Iterator[_Log | _Bar]:
    """Within the block, `.advance(count, note)` moves the progress of `total` towards its end."""
    if not sys.stderr.isatty():
        yield _Log(description, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(description, total=total, note=""))
