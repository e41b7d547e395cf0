"""The units of an ingest stage in this process, or in several processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context
from pathlib import Path

from esad.preprocessing.store.store import Unit

Process = Callable[[Path, Unit], None]
DIED = "the process that worked on it died, with nothing else beside it; the machine may lack memory, or the file is damaged."


def process_here(
    root: Path, units: Sequence[Unit], process: Process, workers: int
) -> Iterator[tuple[Unit, str | None]]:
    """Process the units; yields each as it is finished, with the reason where it was given up.

    Raises what `process` raises. A process that dies (killed, out of memory, a fault in a library) takes down the whole
    pool: what was begun is then tried one by one, and what is left goes on in a new pool.
    """
    if workers <= 1 or len(units) <= 1:
        for unit in units:
            process(root, unit)
            yield unit, None
        return
    left = list(units)
    while left:
        for unit in _in_pool(root, left, process, workers):
            left.remove(unit)
            yield unit, None
        begun = left[: 2 * workers + 1]  # with the processes, and waiting at their door
        for unit in begun:
            left.remove(unit)
            yield unit, None if list(_in_pool(root, [unit], process, 1)) else DIED


@contextmanager
def _safe_path() -> Iterator[None]:
    """Within the block processes are started that take no modules from the folder that a person works in."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _in_pool(root: Path, units: Sequence[Unit], process: Process, workers: int) -> Iterator[Unit]:
    """The units as they are finished; where a process dies the unfinished ones are left out."""
    with _safe_path():  # it starts a process that keeps count of semaphores
        executor = ProcessPoolExecutor(min(workers, len(units)), mp_context=get_context("forkserver"))
    with executor as pool:
        futures = {}
        try:
            with (
                suppress(BrokenProcessPool),
                _safe_path(),
            ):  # processes start with the first that is submitted
                for unit in units:
                    futures[pool.submit(process, root, unit)] = unit
            for future in as_completed(futures):
                with suppress(BrokenProcessPool):
                    future.result()
                    yield futures[future]
        except BaseException:  # a stop or a failure waits for nothing: what is half done is done again
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():
                worker.terminate()
            raise
