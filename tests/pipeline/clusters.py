"""What tests of Dask clusters share; workers import this module, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from esad.pipeline.scoring import scores_table


def when(condition: Callable[[], object], action: Callable[[], object]) -> threading.Thread:
    """A thread that acts once the condition holds."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def score_slowly(seconds: float = 0.5) -> None:
    """From now on each shard takes so long in this process."""
    original = scores_table.raw_terms

    def slow(*words: object) -> object:
        time.sleep(seconds)
        return original(*words)  # type: ignore[arg-type]

    scores_table.raw_terms = slow  # type: ignore[assignment]
