"""What a benchmark is made of: a YAML file that declares a grid, and the cells that it stands for.

    title: Table 3
    datasets: {cardio: odds/cardio.npz}     # below --data
    methods:                                # rows of the table, each with settings of its own
      esad: {}
      forest on codes: {method: isolation_forest, isolation_forest.input: hybrid}
    splits: [published, clean]              # validation: a part of the training items tests, to choose settings by
    gamma_l: [0.01]
    seeds: 10
    settings: {data.validation_share: 0}    # of all methods
    paper: {esad: {cardio: [98.8, 0.5]}}    # printed beside, where there is one

`gamma_p`, `k_l` (lists) and `preset` are optional; `oracle: true` chooses a row's kernel on test items. A cell is all
seeds of one data set, method, split and ratios.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from esad.models.base_settings import Settings
from esad.pipeline.settings.config import RunSettings, nearest, read_yaml, resolve
from esad.pipeline.settings.presets import CHOOSES_BY_VALIDATION, preset_settings
from esad.pipeline.stage.errors import UsageError

VALIDATION_SHARE = 0.4
"""Share of a clean split's training items that test under the split `validation`."""
GRIDS = Path(__file__).parent / "grids"
AXES = ("dataset", "method", "split")
"""What `--only` can name."""


class Row(Settings):
    """A row of the table: a method and what it is trained with, over its preset and the grid's settings."""

    method: str
    oracle: bool = False
    """What it chooses by AUC (kernels) is chosen on a tenth of the test part, which goes on testing: as published
    figures were (paper 6.5), and better than anybody can do who has no labels to test with."""
    settings: dict[str, Any] = Field(default_factory=dict)


class Grid(Settings):
    """The content of a grid file."""

    title: str = "Benchmark"
    datasets: dict[str, str] = Field(min_length=1)
    """Name -> table, relative to the folder of data."""
    methods: dict[str, Row] = Field(min_length=1)
    """Name of a row, that of its method where it states none, -> the row, in the file as one flat mapping."""
    splits: list[Literal["clean", "published", "validation"]] = Field(["clean"], min_length=1)
    gamma_l: list[float] = Field([0.01], min_length=1)
    gamma_p: list[float] = Field([0.0], min_length=1)
    k_l: list[int | None] = Field([None], min_length=1)
    seeds: int = Field(10, ge=1)
    preset: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    paper: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    """Method -> data set -> published (mean, spread) of AUC in %."""

    @field_validator("methods", mode="before")
    @classmethod
    def _rows(cls, methods: Any) -> Any:
        from esad.models.methods.registry import METHODS

        if not isinstance(methods, dict):
            return methods
        rows = {}
        for name, stated in methods.items():
            if not isinstance(stated or {}, dict):
                raise ValueError(f"methods: {name}: expected settings by name, not {stated!r}")
            own = dict(stated or {})
            method, oracle = own.pop("method", name), own.pop("oracle", False)
            if method not in METHODS:
                raise ValueError(f"method {method!r} is unknown: did you mean {nearest(method, METHODS)!r}?")
            if METHODS[method].pictures_only:
                raise ValueError(f"method {method!r} is for pictures; a benchmark is of tables.")
            rows[name] = {"method": method, "oracle": oracle, "settings": own}
        return rows

    @model_validator(mode="after")
    def _names(self) -> Grid:
        """Every cell has a file of its own, in the folder of cells."""
        names = [_plain(cell.name) for cell in cells(self)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(
                f"two cells would be called {twice}: state each value once, and tell names apart"
            )
        unfit = next((name for name in (*self.datasets, *self.methods) if "/" in name or "\\" in name), None)
        if unfit:
            raise ValueError(f"{unfit!r} has a slash, and names are names of files here")
        return self

    @model_validator(mode="after")
    def _published(self) -> Grid:
        """Published figures are of rows and data sets of the grid."""
        for method, figures in self.paper.items():
            if method not in self.methods:
                raise ValueError(f"paper: the grid has no method {method!r}")
            absent = next((name for name in figures if name not in self.datasets), None)
            if absent:
                raise ValueError(f"paper: {method}: the grid has no data set {absent!r}")
        return self

    @model_validator(mode="after")
    def _one_ratio(self) -> Grid:
        if self.paper and len(self.gamma_l) * len(self.gamma_p) * len(self.k_l) > 1:
            raise ValueError("paper: published figures are of one ratio each, and this grid has several")
        return self


@dataclass(frozen=True)
class Cell:
    """One place of the grid; `name` is that of its file."""

    dataset: str
    method: str
    split: str
    gamma_l: float
    gamma_p: float
    k_l: int | None

    @property
    def name(self) -> str:
        """Unique within the grid."""
        known = "all" if self.k_l is None else self.k_l
        method = self.method.replace(" ", "_")
        return f"{self.dataset}-{method}-{self.split}-{self.gamma_l:g}-{self.gamma_p:g}-{known}"

    def values(self) -> dict[str, Any]:
        """Its place as columns of a row."""
        return asdict(self)


def read_grid(name: str) -> Grid:
    """The grid of a built-in name (`table3`) or a file; UsageError for neither, and for a fault of the file."""
    path = GRIDS / f"{name}.yaml" if (GRIDS / f"{name}.yaml").is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(grid.stem for grid in GRIDS.glob("*.yaml")))
        raise UsageError(f"benchmark {name!r}: neither a file nor a built-in one ({known}).")
    try:
        grid = Grid.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {place}: {first['msg'].lower()}.") from error
    for cell in cells(grid):
        cell_settings(grid, cell, 0)  # a wrong setting is found before anything is trained
    return grid


def cells(grid: Grid, only: list[str] | None = None) -> list[Cell]:
    """The cells in the grid's order, `only` those that each of its `axis=value` allows (values of one axis add up).

    UsageError for an axis or a value that the grid does not have; case, `-` and spaces do not matter.
    """
    every = [
        Cell(*place)
        for place in product(grid.datasets, grid.methods, grid.splits, grid.gamma_l, grid.gamma_p, grid.k_l)
    ]
    wanted: dict[str, set[str]] = {}
    for text in only or []:
        axis, _, value = text.partition("=")
        if axis not in AXES or not value:
            raise UsageError(
                f"--only {text!r}: expected one of {', '.join(AXES)} = a value, as dataset=cardio."
            )
        known = {_plain(getattr(cell, axis)): getattr(cell, axis) for cell in every}
        if _plain(value) not in known:
            raise UsageError(
                f"--only {text!r}: the grid has no such {axis}, only {', '.join(known.values())}."
            )
        wanted.setdefault(axis, set()).add(known[_plain(value)])
    return [cell for cell in every if all(getattr(cell, axis) in values for axis, values in wanted.items())]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def cell_settings(grid: Grid, cell: Cell, seed: int) -> RunSettings:
    """The settings of a run of one seed; UsageError for one that is unknown, wrong, or for another score than Eq. 9."""
    row, inner = grid.methods[cell.method], cell.split == "validation"
    place = {
        "method": row.method, "seed": seed, "data.split": "clean" if inner else cell.split, "data.labelled": "ratio",
        "data.gamma_l": cell.gamma_l, "data.gamma_p": cell.gamma_p, "data.k_l": cell.k_l,
        **({"data.validation_share": VALIDATION_SHARE} if inner else {}),
    }  # fmt: skip
    layers = [*preset_settings("table", grid.preset, row.method), grid.settings, row.settings]
    if inner and row.method in CHOOSES_BY_VALIDATION:
        raise UsageError(
            f"split validation: {cell.method} chooses its kernel by the items that this split tests on; leave one of them out."
        )
    settings = resolve(RunSettings, *layers, place)
    if settings.score.kind != "eq9":
        raise UsageError("score.kind: a benchmark measures each method's own score, eq9.")
    return settings


def locate(grid: Grid, dataset: str, data: Path) -> Path:
    """The file of a data set, at its place below `data` or in `data` itself; UsageError where it is in neither."""
    stated = Path(grid.datasets[dataset])
    for path in (data / stated, data / stated.name):
        if path.is_file():
            return path
    raise UsageError(f"{data / stated}: no such file; name the folder of the tables with --data.")
