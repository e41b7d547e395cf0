"""How long the cells that are not finished will take, from a few steps and a batch of scores of each kind of cell."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.cells import Source, cell_file
from esad.pipeline.benchmarking.grid import Cell, runs_of
from esad.pipeline.benchmarking.grid_file import Grid
from esad.pipeline.stage.progress import say

if TYPE_CHECKING:
    import torch

    from esad.pipeline.benchmarking.opened import Opened

TIMED_STEPS = 4
"""Steps of each phase that are timed, after a first one that is not."""
TIMED_ITEMS = 32
"""Items whose scoring is timed: methods that search take some time for each."""
WORTH_TELLING = 60
"""Seconds below which nothing is said."""


def tell_forecast(
    grid: Grid, asked: Sequence[Cell], sources: Mapping[str, Source], out: Path, device: str, force: bool, workers: int
) -> dict[str, Any]:  # fmt: skip
    """Say how long the unfinished cells will take: {"cells", "runs", "seconds", "by_method", "fitted_at_once"}.

    Cells on tables are not reckoned: all seeds train at once, in seconds. What a method fits in closed form is not, either;
    its name is among `fitted_at_once`. A cell that cannot be trained counts nothing here, and is told when it is run.
    """
    from esad.pipeline.benchmarking.opened import opened
    from esad.pipeline.runs.run_folder import resolve_device

    open_cells = [cell for cell in asked if force or not cell_file(out, cell).is_file()]
    pictures = [cell for cell in open_cells if grid.datasets[cell.dataset].kind != "table"]
    kinds: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in pictures:
        key = (cell.dataset, cell.method, cell.split, cell.labels_some)
        kinds.setdefault(key, []).append(cell)
    by_method: dict[str, float] = {}
    at_once: set[str] = set()
    runs = 0
    with _threads(workers):
        for like in kinds.values():
            count = sum(len(runs_of(grid, cell)) for cell in like)
            seconds, fitted = _seconds(
                grid, like[0], opened(sources[like[0].dataset].store), resolve_device(device)
            )
            by_method[like[0].method] = by_method.get(like[0].method, 0.0) + seconds * count
            runs += count
            if fitted:
                at_once.add(like[0].method)
    total = sum(by_method.values()) / max(1, workers)
    if total > WORTH_TELLING:
        longest = sorted(by_method.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{name} {_in_words(seconds / max(1, workers))}" for name, seconds in longest)
        more = f" Not reckoned: what {', '.join(sorted(at_once))} fit at once." if at_once else ""
        say(
            f"{len(pictures)} cells with {runs} runs are to be trained, about {_in_words(total)} on this machine: {parts}.{more}"
        )
    return {
        "cells": len(open_cells), "runs": runs, "seconds": round(total), "fitted_at_once": sorted(at_once),
        "by_method": {name: round(seconds / max(1, workers)) for name, seconds in by_method.items()},
    }  # fmt: skip


def _seconds(grid: Grid, cell: Cell, of: Opened, device: torch.device) -> tuple[float, bool]:
    """Seconds of one run of a cell, and whether a part of it is fitted at once."""
    from esad.models.training.fit import TrainingStep
    from esad.pipeline.benchmarking.measurement import data_of, new_method, parts_of

    try:
        part = parts_of(grid, cell, of, first=True)
        method, augmentation = new_method(part, of.store)
        step = TrainingStep(method, data_of(part, of), device, augmentation)
        total, fitted = 0.0, False
        for phase, first, steps in step.plan:
            if not phase.parameters:
                fitted = True
                continue
            clock = time.monotonic()
            step(first)
            began = time.monotonic() - clock
            timed = [_timed(step, number) for number in range(first + 1, first + min(steps, 1 + TIMED_STEPS))]
            total += began + (median(timed) * (steps - 1) if timed else 0.0)
        if not fitted:
            total += _scoring(step, part[0].tested, of)
    except (ValueError, FloatingPointError):
        return 0.0, False
    return total, fitted


def _timed(step: Any, number: int) -> float:
    clock = time.monotonic()
    step(number)
    return time.monotonic() - clock


def _scoring(step: Any, tested: Any, of: Opened) -> float:
    """Seconds that scoring the tested items would take."""
    from esad.models.training.fit import score_batches
    from esad.pipeline.runs.items import positions_of

    places = positions_of(of.store, tested["item_id"])
    some = places[:TIMED_ITEMS]
    clock = time.monotonic()
    for _ in score_batches(step.method, of.items, some, step.device, step.augmentation):
        pass
    return (time.monotonic() - clock) * len(places) / max(1, len(some))


@contextmanager
def _threads(workers: int) -> Iterator[None]:
    """As many threads as each of `workers` processes will have."""
    import torch

    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
