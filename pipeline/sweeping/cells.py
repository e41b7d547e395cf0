"""The cells of a sweep, and what their runs say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.errors import CannotTrain
from esad.pipeline.stage.progress import say
from esad.pipeline.sweeping.grid import combinations

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """The values of the swept settings, by dotted name, and the seed of one run."""

    values: Mapping[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """Its folder: `lambda1=0.1,lambda2=1,seed=0`."""
        shown = "".join(f"{name.rsplit('.', 1)[-1]}={value}," for name, value in self.values.items())
        return f"{shown}seed={self.seed}".replace("/", "-")

    def settings(self, split_seed: int) -> dict[str, Any]:
        """The layer that it adds; all cells share one split."""
        return {**self.values, "seed": self.seed, "data.split_seed": split_seed}


def row_of(cell: Cell, out: Path) -> dict[str, Any]:
    """What the cell's run says of itself; `auc` is NaN where it is not there."""
    path = out / "cells" / cell.name
    values: dict[str, Any] = {**cell.values, "seed": cell.seed, "run": str(path.relative_to(out))}
    if not (path / "model.safetensors").is_file():
        return {**values, "auc": float("nan")}
    told = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
    return {**values, "auc": told["validation"]["auc"]}


def summary_of(rows: list[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    """A row a combination: `auc` (mean over seeds; NaN unless all are there), `std`, `seeds`."""
    import pandas as pd

    groups = pd.DataFrame(rows).groupby(names, sort=False, dropna=False)["auc"]
    table = groups.agg(auc=lambda values: values.mean(skipna=False), std="std", seeds="count")
    return table.reset_index()


def cells_of(grid: Mapping[str, Sequence[Any]], base: RunSettings, seeds: int) -> list[Cell]:
    """Every combination of the grid's values, `seeds` times."""
    return [Cell(values, base.seed + place) for values in combinations(grid) for place in range(seeds)]


def train_cells(
    cells: Sequence[Cell], out: Path, base: RunSettings, train_cell: Callable[[Path, dict[str, Any]], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """(what each cell's run says of itself, why some could not be trained); finished ones are left alone by training."""
    split = base.seed if base.data.split_seed is None else base.data.split_seed
    rows, reasons = [], []
    for number, cell in enumerate(cells, 1):
        say(f"Cell {number} of {len(cells)}: {cell.name}")
        try:
            train_cell(out / "cells" / cell.name, cell.settings(split))
        except CannotTrain as error:
            reasons.append(f"{cell.name}: {error}")
            say(f"{cell.name} cannot be trained: {error}")
        rows.append(row_of(cell, out))
    return rows, reasons
