"""The cells that a grid stands for, and the settings of their runs."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esad.pipeline.benchmarking.grid_file import RATIOS, Grid, plain_name
from esad.pipeline.settings.budgets import form_of
from esad.pipeline.settings.config import RunSettings, flat, read_yaml, resolve
from esad.pipeline.settings.presets import CHOOSES_BY_VALIDATION, lenet_settings, preset_settings
from esad.pipeline.stage.errors import UsageError
from esad.preprocessing.store.kinds import ROWS

VALIDATION_SHARE = 0.4
"""Share of a clean split's training items that test under the split `validation`."""
GRIDS = Path(__file__).parent / "grids"
AXES = ("dataset", "method", "split", "normal", *RATIOS)
"""What `--only` can name."""


@dataclass(frozen=True)
class Cell:
    """One place of the grid: all runs of a data set, method, split and ratios, and of a normal class where there are some."""

    dataset: str
    method: str
    split: str
    gamma_l: float | None
    gamma_p: float
    k_l: int | None
    normal: str | None = None
    labelled: int | None = None
    """Number of labelled anomalies; None = as `gamma_l` says."""

    @property
    def line(self) -> str:
        """The line of the table that it belongs to, with the cells of the other normal classes."""
        known = "all" if self.k_l is None else self.k_l
        labelled = "all" if self.gamma_l is None else f"{self.gamma_l:g}"
        labelled = labelled if self.labelled is None else f"n{self.labelled}"
        method = self.method.replace(" ", "_")
        return f"{self.dataset}-{method}-{self.split}-{labelled}-{self.gamma_p:g}-{known}"

    @property
    def name(self) -> str:
        """That of its file: unique within the grid."""
        return (
            self.line
            if self.normal is None
            else f"{self.line}-normal-{re.sub('[^A-Za-z0-9.]', '_', self.normal)}"
        )

    @property
    def labels_some(self) -> bool:
        """Whether anomalies are labelled in training."""
        return 0 not in (self.gamma_l, self.k_l, self.labelled)

    def values(self) -> dict[str, Any]:
        """Its place as columns of a row."""
        return asdict(self)


def read_grid(name: str, budget: str | None = None) -> Grid:
    """The grid of a built-in name (`table3`) or a file, to be run at a `budget`, else at its first.

    UsageError for neither, for a fault of the file and a budget that it does not have.
    """
    path = GRIDS / f"{name}.yaml" if (GRIDS / f"{name}.yaml").is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(grid.stem for grid in GRIDS.glob("*.yaml")))
        raise UsageError(f"benchmark {name!r}: neither a file nor a built-in one ({known}).")
    content = read_yaml(path)
    try:
        grid = Grid.model_validate(content if budget is None else {**content, "budget": budget})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {place}: {first['msg'].lower()}.") from error
    for cell in {replace(cell, normal=None): cell for cell in cells(grid)}.values():
        cell_settings(
            grid, cell, runs_of(grid, cell)[0]
        )  # a wrong setting is found before anything is trained
    return grid


def cells(grid: Grid, only: list[str] | None = None) -> list[Cell]:
    """The cells in the grid's order, `only` those that each of its `axis=value` allows (values of one axis add up).

    UsageError for an axis or a value that the grid does not have, or where no cell is left; case, `-` and spaces do not matter.
    """
    every = []
    for dataset, of in grid.datasets.items():
        normal: list[str | None] = [*of.normal] or [None]
        places = product(
            grid.methods, grid.splits, grid.gamma_l, grid.gamma_p, grid.k_l, normal, grid.labelled
        )
        every += [cell for place in places if _belongs(grid, cell := Cell(dataset, *place))]
    wanted: dict[str, set[Any]] = {}
    for text in only or []:
        axis, _, value = text.partition("=")
        if axis not in AXES or not value:
            raise UsageError(
                f"--only {text!r}: expected one of {', '.join(AXES)} = a value, as dataset=cardio."
            )
        known = {plain_name(_text(getattr(cell, axis))): getattr(cell, axis) for cell in every}
        if plain_name(value) not in known:
            there = ", ".join(dict.fromkeys(_text(getattr(cell, axis)) for cell in every))
            raise UsageError(f"--only {text!r}: the grid has no such {axis}, only {there}.")
        wanted.setdefault(axis, set()).add(known[plain_name(value)])
    found = [cell for cell in every if all(getattr(cell, axis) in values for axis, values in wanted.items())]
    if not found:
        why = "no cell of the grid is " + " and ".join(only) if only else "the grid has no cell"
        raise UsageError(f"{why}: a method that needs labelled anomalies has none without them.")
    return found


def _text(value: Any) -> str:
    """A value as `--only` names it: all for a ratio that is not limited."""
    if value is None:
        return "all"
    return value if isinstance(value, str) else f"{value:g}"


def _belongs(grid: Grid, cell: Cell) -> bool:
    """Whether the row is for the cell's ratios: as it says, and with labelled anomalies where it cannot do without."""
    from esad.models.methods.registry import METHODS

    row = grid.methods[cell.method]
    stated = all(getattr(cell, ratio) in values for ratio, values in row.only.items())
    return stated and (cell.labels_some or not METHODS[row.method].needs_anomalies)


@dataclass(frozen=True)
class Run:
    """One training of a cell: its seed, and the class of which anomalies are labelled; None = drawn, or any."""

    seed: int
    labelled: str | None = None


def runs_of(grid: Grid, cell: Cell) -> list[Run]:
    """The runs of a cell: `seeds` of them, or one for each class that may be labelled."""
    budget, classes = grid.chosen, grid.datasets[cell.dataset].normal
    if cell.normal is not None and budget.runs == "each" and cell.labels_some and cell.k_l in (None, 1):
        return [Run(seed, name) for seed, name in enumerate(name for name in classes if name != cell.normal)]
    return [Run(seed) for seed in range(budget.seeds or grid.seeds)]


def cell_settings(grid: Grid, cell: Cell, run: Run) -> RunSettings:
    """The settings of a run of a cell; UsageError for one that is unknown, wrong, or for another score than Eq. 9."""
    row, dataset, budget = grid.methods[cell.method], grid.datasets[cell.dataset], grid.chosen
    inner = cell.split == "validation"
    if inner and row.method in CHOOSES_BY_VALIDATION:
        raise UsageError(
            f"split validation: {cell.method} chooses its kernel by the items that this split tests on; leave one of them out."
        )
    place = {
        "method": row.method, "seed": run.seed, "data.split": "clean" if inner else cell.split, "data.gamma_p": cell.gamma_p,
        **_labelled(cell, run), **({"data.validation_share": VALIDATION_SHARE} if inner else {}),
    }  # fmt: skip
    preset = dataset.preset if dataset.preset and budget.preset == "paper" else budget.preset
    stated = [
        grid.settings,
        dataset.settings,
        budget.settings,
        row.settings,
        budget.methods.get(cell.method, {}),
    ]
    every = {name: value for layer in stated for name, value in flat(layer).items()}
    form = form_of(row.method, every)
    lenet = {} if dataset.kind in ROWS else lenet_settings(preset, form, every)
    settings = resolve(RunSettings, *preset_settings(dataset.kind, preset, form), lenet, *stated, place)
    if settings.score.kind != "eq9":
        raise UsageError("score.kind: a benchmark measures each method's own score, eq9.")
    if settings.data.site_normalisation != "none":
        raise UsageError(
            "data.site_normalisation: a benchmark takes pictures as they are; use esad train or esad sweep."
        )
    return settings


def _labelled(cell: Cell, run: Run) -> dict[str, Any]:
    """The settings that say which anomalies are labelled. One class of them where classes are normal in turn (paper 4.2).

    Without any the norm of ESAD's score has learnt nothing to tell, and weighs what it weighs in the loss (Eq. 9; docs/results.md
    has the trials).
    """
    if cell.gamma_l is None and cell.k_l != 0 and cell.labelled is None:
        return {"data.labelled": "all", "data.k_l": cell.k_l}
    one = 1 if cell.normal is not None and run.labelled is None and cell.labels_some else None
    share = {"data.labelled": "ratio", "data.gamma_l": cell.gamma_l if cell.labels_some else 0.0}
    return {
        **(share if cell.labelled is None else {"data.labelled": cell.labelled}),
        "data.k_l": (cell.k_l or one) if cell.labels_some and run.labelled is None else None,
        **({} if cell.labels_some else {"loss.score_lambda1": None}),
        **({} if cell.normal is None else {"data.normal_classes": [cell.normal]}),
        **({} if run.labelled is None else {"data.labelled_classes": [run.labelled]}),
    }


def locate(grid: Grid, dataset: str, data: Path) -> Path:
    """The file, folder or STORE of a data set, at its place below `data` or in `data` itself; UsageError where it is in neither."""
    stated = Path(grid.datasets[dataset].path)
    folders = grid.datasets[dataset].kind != "table"
    for path in (data / stated, data / stated.name):
        if path.is_file() or (folders and path.is_dir()):
            return path
    what = "file or folder" if folders else "file"
    raise UsageError(f"{data / stated}: no such {what}; name the folder of the data with --data.")
