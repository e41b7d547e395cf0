"""The cells of a sweep, and what their runs say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.cluster import Cluster, Probe, wait_until_visible
from esad.pipeline.stage.errors import CannotTrain
from esad.pipeline.stage.progress import say
from esad.pipeline.sweeping.grid import combinations
from esad.pipeline.sweeping.page import LEFT_OUT

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("esad", "numpy", "torch", "monai")
BUSY = "and trains one cell at a time all the same"


@dataclass(frozen=True)
class Cell:
    """The values of the swept settings, by dotted name, the seed of one run and, of a sweep by sites, the one that it leaves out."""

    values: Mapping[str, Any]
    seed: int
    site: str | None = None

    @property
    def name(self) -> str:
        """Its folder: `lambda1=0.1,lambda2=1,site=north,seed=0`."""
        shown = "".join(f"{name.rsplit('.', 1)[-1]}={value}," for name, value in self.values.items())
        left_out = "" if self.site is None else f"site={quote(self.site, safe=' ')},"
        return f"{shown.replace('/', '-')}{left_out}seed={self.seed}"

    @property
    def place(self) -> dict[str, Any]:
        """Its settings beside those of all cells, but for the seed."""
        return {**self.values, **({} if self.site is None else {LEFT_OUT: self.site})}

    def settings(self, split_seed: int) -> dict[str, Any]:
        """The layer that it adds; all cells of a site share one split."""
        return {**self.place, "seed": self.seed, "data.split_seed": split_seed}


def row_of(cell: Cell, out: Path) -> dict[str, Any]:
    """What the cell's run says of itself; `auc` is NaN where it is not there."""
    path = out / "cells" / cell.name
    values: dict[str, Any] = {**cell.place, "seed": cell.seed, "run": str(path.relative_to(out))}
    if not (path / "model.safetensors").is_file():
        return {**values, "auc": float("nan")}
    told = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
    return {**values, "auc": told["validation"]["auc"]}


def summary_of(rows: list[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    """A row a combination of the values of `names`: `auc` (mean over seeds and sites; NaN unless all are there), `std`, `seeds`."""
    import pandas as pd

    groups = pd.DataFrame(rows).groupby(names, sort=False, dropna=False)["auc"]
    table = groups.agg(auc=lambda values: values.mean(skipna=False), std="std", seeds="count")
    return table.reset_index()


def cells_of(
    grid: Mapping[str, Sequence[Any]], base: RunSettings, seeds: int, sites: Sequence[str] = ()
) -> list[Cell]:
    """Every combination of the grid's values, for each of the `sites`, if any, `seeds` times."""
    left_out: list[str | None] = [*sites] or [None]
    return [
        Cell(values, base.seed + place, site)
        for values in combinations(grid)
        for site in left_out
        for place in range(seeds)
    ]


TrainCell = Callable[[Path, dict[str, Any]], None]
"""Trains a cell into a folder, with the layer of settings that it adds."""


def _tried(train_cell: TrainCell, task: tuple[Path, dict[str, Any]]) -> str | None:
    """Why a cell cannot be trained, or None where it is there."""
    try:
        train_cell(*task)
    except CannotTrain as error:
        return str(error)
    return None


def train_cells(
    cells: Sequence[Cell],
    out: Path,
    base: RunSettings,
    train_cell: TrainCell,
    cluster: Cluster | None = None,
    reads: Sequence[Path] = (),
) -> tuple[list[dict[str, Any]], list[str]]:
    """(what each cell's run says of itself, why some could not be trained); finished ones are left alone by training.

    Where there is a `cluster` its workers train the cells, each one at a time; they must see OUT and the files `reads`.
    """
    split = base.seed if base.data.split_seed is None else base.data.split_seed
    tasks = {cell.name: (out.resolve() / "cells" / cell.name, cell.settings(split)) for cell in cells}
    ending = _here(train_cell, tasks) if cluster is None else _on(cluster, out, train_cell, tasks, reads)
    failed = {name: reason for name, reason in ending if reason}
    rows = [row_of(cell, out) for cell in cells]
    return rows, [f"{cell.name}: {failed[cell.name]}" for cell in cells if cell.name in failed]


def _here(
    train_cell: TrainCell, tasks: Mapping[str, tuple[Path, dict[str, Any]]]
) -> Iterator[tuple[str, str | None]]:
    """(name, why it cannot be trained) of each cell, one after the other."""
    for number, (name, task) in enumerate(tasks.items(), 1):
        say(f"Cell {number} of {len(tasks)}: {name}")
        reason = _tried(train_cell, task)
        if reason:
            say(f"{name} cannot be trained: {reason}")
        yield name, reason


def _on(
    cluster: Cluster,
    out: Path,
    train_cell: TrainCell,
    tasks: Mapping[str, tuple[Path, dict[str, Any]]],
    reads: Sequence[Path],
) -> Iterator[tuple[str, str | None]]:
    """The same as `_here`, as workers end them; a cell whose workers die cannot be trained there."""
    root = out.resolve()
    cluster.check(Probe.here(root, root / "sweep.json", reads, PACKAGES), "STORE and OUT", BUSY)
    trained = set()
    ending = cluster.run(root, _tried, train_cell, tasks, alone=True)
    for number, ended in enumerate(ending, 1):
        reason = ended.given_up or ended.result
        told = f"cannot be trained: {reason}" if reason else "trained."
        say(f"Cell {number} of {len(tasks)}: {ended.name} {told}")
        if not reason:
            trained.add(ended.name)
        yield ended.name, reason
    wait_until_visible(
        out,
        "cells",
        lambda: {name for name in trained if not (tasks[name][0] / "model.safetensors").is_file()},
    )
