"""Progress and messages, on stderr: a bar with an ETA in a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from esad.pipeline.stage.ranks import is_first

LOG_EVERY_SECONDS = 15.0
LOG_WIDTH = 160
SPEED_SECONDS = 1800.0
"""The bar's ETA goes by the speed of so long a time: a large slide takes minutes."""


def say(message: str) -> None:
    """Print one line for the person, on stderr (stdout belongs to `--json`); of several processes only the first speaks."""
    if not is_first():
        return
    sys.stderr.write(message.rstrip() + "\n")
    sys.stderr.flush()


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block libraries keep their warnings to themselves, and stdout free: errors are still raised and logged."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Log:
    """Progress for log files: at most one line every LOG_EVERY_SECONDS, with share done and ETA."""

    def __init__(self, description: str, total: int, weight: float) -> None:
        self.description, self.total, self.done = description, total, 0
        self.weight, self.weighed = max(weight, 1.0), 0.0
        self.started = self.spoken = time.monotonic()

    def advance(self, count: int = 1, note: str = "", weight: float | None = None) -> None:
        self.done += count
        self.weighed += count if weight is None else weight
        now = time.monotonic()
        if now - self.spoken >= LOG_EVERY_SECONDS and self.weighed:
            self.spoken = now
            left = (now - self.started) / self.weighed * (self.weight - self.weighed)
            share = 100 * self.weighed / self.weight
            say(f"{self.description}: {self.done}/{self.total} ({share:.0f} %), {left:.0f} s left {note}")


class _Bar:
    """Progress for terminals (rich)."""

    def __init__(self, progress: object, task: object) -> None:
        self.progress, self.task, self.done = progress, task, 0

    def advance(self, count: int = 1, note: str = "", weight: float | None = None) -> None:
        self.done += count
        moved = count if weight is None else weight
        self.progress.update(self.task, advance=moved, note=note, done=self.done)  # type: ignore[attr-defined]


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table for the person, on stderr; in a log file its lines may be long."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in columns:
        table.add_column(Text(name))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a name may hold [brackets]
    Console(stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH).print(table)


@contextmanager
def progress(description: str, total: int, weight: float | None = None) -> Iterator[_Log | _Bar]:
    """Within the block, `.advance(count, note, weight)` moves the progress of `total` towards its end.

    With `weight`, that of all, share and ETA go by weight and not by count: slides differ in size a hundredfold.
    """
    whole = total if weight is None else weight
    if not sys.stderr.isatty() or not is_first():
        yield _Log(description, total, whole)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}/{task.fields[of]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=SPEED_SECONDS) as bar:
        yield _Bar(bar, bar.add_task(description, total=whole, note="", done=0, of=total))
