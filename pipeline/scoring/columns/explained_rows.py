"""Which rows of a table are explained, and the work of it, in pieces as all of scoring."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np

from esad.pipeline.scoring.batches import each_batch
from esad.pipeline.scoring.columns.contributions import ROWS, ColumnShares
from esad.pipeline.scoring.columns.numbers import Explained, write_explained
from esad.pipeline.scoring.explanation import OVERLAYS, items_to_show
from esad.pipeline.scoring.open_scores import read_scores_table
from esad.pipeline.scoring.work import WORK, Advance, Crew, Opened, Pieces, described_work, digest_of

PIECE = 4096
"""Rows of a piece of the work."""


def explain_rows(opened: Opened, positions: np.ndarray, advance: Advance) -> np.ndarray:
    """Contributions of the columns of the rows at `positions` of the store, ascending: float32 (n, D)."""
    shares = shares_of(opened)
    work = partial(shares.of, opened.items, device=opened.device)
    found = np.empty((len(positions), *opened.store.shape), np.float32)
    done = 0
    for chosen, values in each_batch(positions, ROWS, work, opened.device):
        found[done : done + len(chosen)] = values
        done += len(chosen)
        advance(len(chosen))
    opened.store.release()
    return found


def shares_of(opened: Opened) -> ColumnShares:
    """The contributions of the run's method."""
    return ColumnShares.of_run(opened.method, opened.run.settings.score.kind, opened.run.normals)


def write_row_heat(opened: Opened, crew: Crew, wanted: int | None) -> None:
    """Explain rows anew: of the `wanted` highest scores and some others, or all; write overlays/ and columns of the scores.

    Work that was stopped goes on.
    """
    folder = opened.folder
    table = read_scores_table(folder, ())
    chosen = range(len(table)) if wanted is None else items_to_show(table, wanted)
    positions = np.array(chosen, dtype=np.int64)
    parts = [positions[start : start + PIECE] for start in range(0, len(positions), PIECE)]
    named = {f"rows-{number:06d}": part for number, part in enumerate(parts)}
    pieces = Pieces(folder / WORK / "rows", named, {name: len(part) for name, part in named.items()})
    of = described_work(opened, crew.device, explained=digest_of(positions), rows=[ROWS, PIECE])
    if crew.first:
        pieces.begin(of)
    crew.meet()
    crew.work(opened, explain_rows, pieces, "contributions")
    if crew.first:
        shutil.rmtree(folder / OVERLAYS, ignore_errors=True)
        write_explained(Explained(opened, shares_of(opened.on_cpu), table, pieces))
