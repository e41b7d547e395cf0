"""What a benchmark's YAML file declares.

    title: Table 3
    datasets: {cardio: odds/cardio.npz}     # below --data; or {path, kind, normal, preset, settings}
    methods:                                # rows of the table, each with settings of its own
      esad: {}
      forest on codes: {method: isolation_forest, isolation_forest.input: hybrid}
    splits: [published, clean]              # validation: a part of the training items tests, to choose settings by
    gamma_l: [0.01]
    seeds: 10
    settings: {data.validation_share: 0}    # of all methods
    paper: {esad: {cardio: [98.8, 0.5]}}    # printed beside, where there is one

`gamma_p`, `k_l` (lists) and `preset` are optional; `labelled: [0, 5, 20]`, in place of `gamma_l`, counts the labelled anomalies.
A row may have more: `oracle: true` chooses a row's kernel on test items, `only: {k_l: [0]}` keeps
a row out of the other values of a ratio. Data sets of pictures (`kind: images`) name the classes that are normal, each in turn:

    datasets: {mnist: {path: images/mnist.npz, kind: images, normal: ["0", "1"], preset: paper-mnist}}
    budgets:                                # the first is taken unless --preset names another
      cpu: {preset: cpu, settings: {train.epochs: 10}, runs: drawn, seeds: 1, test_items: 2000}
      paper: {preset: paper, runs: each}    # each: a run for each class that may be labelled; drawn: `seeds` runs
    paper: {esad: {mnist: {0.0: [98.5, 1.3], 0.01: [99.2, 0.7]}}}   # by the ratio that the grid varies
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from esad.models.base_settings import Settings
from esad.pipeline.settings.config import nearest
from esad.preprocessing.store.kinds import ROWS

RATIOS = ("gamma_l", "gamma_p", "k_l", "labelled")
Published = tuple[float, float | None]
"""(mean, spread) of AUC in %; None where no spread was published."""


def plain_name(name: str) -> str:
    """A name without what does not tell names apart: case, `-` and spaces."""
    return name.lower().replace("-", "_").replace(" ", "_")


class Row(Settings):
    """A row of the table: a method and what it is trained with, over its preset and the grid's settings."""

    method: str
    oracle: bool = False
    """What it chooses by AUC (kernels) is chosen on a tenth of the test part, which goes on testing: as published
    figures were (paper 6.5), and better than anybody can do who has no labels to test with."""
    only: dict[Literal["gamma_l", "gamma_p", "k_l", "labelled"], list[float]] = Field(default_factory=dict)
    """Values of a ratio that the row is for, as of a method that makes no use of labelled anomalies."""
    settings: dict[str, Any] = Field(default_factory=dict)


class DataSet(Settings):
    """A data set of the grid, in the file also as its path alone: then a table."""

    path: str
    """A table, what `esad images` reads, or a STORE, relative to the folder of data."""
    kind: Literal["table", "images", "tiles", "radiographs", "embeddings"] = "table"
    normal: list[str] = Field(default_factory=list)
    """Classes of which each in turn is the normal one, all others being anomalies; none = labels are stated."""
    names: list[str] = Field(default_factory=list)
    """What those classes are called in stores that do not have them as they stand in `normal`, in the same order."""
    ingest: dict[str, Any] = Field(default_factory=dict)
    """Settings of `esad images` or `esad tables` for it, where it is no STORE."""
    preset: str | None = None
    """Preset of the data set where the budget's is `paper`."""
    settings: dict[str, Any] = Field(default_factory=dict)


class Budget(Settings):
    """A way to run the same grid: as published, or what a machine at hand can do."""

    preset: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of all methods, over those of the grid."""
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Of some rows, over those of the row."""
    runs: Literal["each", "drawn"] = "drawn"
    """Of a cell with a normal class and labelled anomalies of one class: each class labelled once, or `seeds` draws."""
    seeds: int | None = Field(None, ge=1)
    """Null = the grid's."""
    test_items: int | None = Field(None, ge=10)
    """Most items of the test part that are scored, the same ones for all rows; null = all."""


class Grid(Settings):
    """The content of a grid file."""

    title: str = "Benchmark"
    datasets: dict[str, DataSet] = Field(min_length=1)
    """Name -> data set."""
    methods: dict[str, Row] = Field(min_length=1)
    """Name of a row, that of its method where it states none, -> the row, in the file as one flat mapping."""
    splits: list[Literal["clean", "published", "validation", "leave-site-out"]] = Field(
        ["clean"], min_length=1
    )
    """leave-site-out needs `data.site` in the settings of each data set; list a data set once for each site that is left out."""
    gamma_l: list[float | None] = Field([0.01], min_length=1)
    """Null = every labelled anomaly of the training part."""
    gamma_p: list[float] = Field([0.0], min_length=1)
    k_l: list[int | None] = Field([None], min_length=1)
    """0 = no labelled anomalies at all."""
    labelled: list[Annotated[int, Field(ge=0)] | None] = Field([None], min_length=1)
    """Numbers of labelled anomalies, in place of `gamma_l`; null = as `gamma_l` says."""
    seeds: int = Field(10, ge=1)
    preset: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    budgets: dict[str, Budget] = Field(default_factory=dict)
    budget: str | None = None
    """The chosen one of `budgets`; null = the first."""
    paper: dict[str, dict[str, Published | dict[float, Published]]] = Field(default_factory=dict)
    """Method -> data set -> published AUC in %, or by value of the ratio that the grid varies."""
    paper_runs: int = Field(10, ge=1)
    """Runs behind each published figure (paper 6.4: 10 seeds)."""
    notes: list[str] = Field(default_factory=list)
    """What readers of the published figures must know."""

    @field_validator("datasets", mode="before")
    @classmethod
    def _datasets(cls, datasets: Any) -> Any:
        if not isinstance(datasets, dict):
            return datasets
        return {name: {"path": of} if isinstance(of, str) else of for name, of in datasets.items()}

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
            first = {key: own.pop(key) for key in ("oracle", "only") if key in own}
            method = own.pop("method", name)
            if method not in METHODS:
                raise ValueError(f"method {method!r} is unknown: did you mean {nearest(method, METHODS)!r}?")
            rows[name] = {"method": method, **first, "settings": own}
        return rows

    @model_validator(mode="after")
    def _pictures(self) -> Grid:
        """Methods for pictures meet no table; of published splits there are only those of tables."""
        from esad.models.methods.registry import METHODS

        rows = [name for name, of in self.datasets.items() if of.kind in ROWS]
        for row in self.methods.values():
            if rows and METHODS[row.method].pictures_only:
                raise ValueError(f"method {row.method!r} is for pictures; {rows[0]!r} has rows of numbers.")
        if "published" in self.splits and any(of.kind != "table" for of in self.datasets.values()):
            raise ValueError("splits: published is of tables alone")
        return self

    @model_validator(mode="before")
    @classmethod
    def _counts(cls, stated: Any) -> Any:
        """Labelled anomalies are so many, or a share of the items: `gamma_l` limits nothing where numbers are stated."""
        if not isinstance(stated, dict) or stated.get("labelled", [None]) == [None]:
            return stated
        if stated.get("gamma_l", [None]) != [None]:
            raise ValueError("labelled, gamma_l: state the number of labelled anomalies, or their share")
        return {**stated, "gamma_l": [None]}

    @model_validator(mode="after")
    def _budgets(self) -> Grid:
        if self.budget is not None and self.budget not in self.budgets:
            raise ValueError(f"budget {self.budget!r}: the grid has {', '.join(self.budgets) or 'none'}")
        for name, budget in self.budgets.items():
            unknown = next((row for row in budget.methods if row not in self.methods), None)
            if unknown:
                raise ValueError(f"budgets: {name}: the grid has no method {unknown!r}")
        return self

    @model_validator(mode="after")
    def _names(self) -> Grid:
        """Every cell has a file of its own, in the folder of cells."""
        kept: tuple[list[str], ...] = (list(self.datasets), list(self.methods))
        for names in kept:
            unfit = next((name for name in names if "/" in name or "\\" in name), None)
            if unfit:
                raise ValueError(f"{unfit!r} has a slash, and names are names of files here")
        stated: list[list[str]] = [
            list(self.datasets), list(self.methods), [*self.splits],
            *(of.normal for of in self.datasets.values()), *self._ratio_texts(),
        ]  # fmt: skip
        for values in stated:
            plain = [plain_name(value) for value in values]
            twice = next((name for name in plain if plain.count(name) > 1), None)
            if twice:
                raise ValueError(
                    f"two cells would be called {twice}: state each value once, and tell names apart"
                )
        return self

    def _ratio_texts(self) -> list[list[str]]:
        return [
            [f"{value:g}" if value is not None else "all" for value in getattr(self, name)] for name in RATIOS
        ]

    @model_validator(mode="after")
    def _published(self) -> Grid:
        """Published figures are of rows and data sets of the grid, and of one ratio, or of the one that varies."""
        several = [name for name in RATIOS if len(getattr(self, name)) > 1]
        for method, figures in self.paper.items():
            if method not in self.methods:
                raise ValueError(f"paper: the grid has no method {method!r}")
            absent = next((name for name in figures if name not in self.datasets), None)
            if absent:
                raise ValueError(f"paper: {method}: the grid has no data set {absent!r}")
            by_ratio = all(isinstance(found, dict) for found in figures.values())
            if len(several) > 1 or (several and not by_ratio):
                raise ValueError("paper: published figures are of one ratio each, and this grid has several")
        return self

    @property
    def chosen(self) -> Budget:
        """The budget in use; without any the grid's own preset."""
        name = self.budget or next(iter(self.budgets), None)
        return Budget(preset=self.preset) if name is None else self.budgets[name]

    @property
    def full_title(self) -> str:
        """The title, and the budget where there are several."""
        name = self.budget or next(iter(self.budgets), None)
        return self.title if name is None else f"{self.title}, budget {name}"

    def published(self, method: str, dataset: str, ratios: dict[str, Any]) -> Published:
        """(mean, spread) of what was published for a row at these values of RATIOS; (nan, None) for none."""
        found = self.paper.get(method, {}).get(dataset)
        if isinstance(found, dict):
            varied = next((name for name in RATIOS if len(getattr(self, name)) > 1), RATIOS[0])
            found = found.get(float(ratios[varied])) if ratios[varied] is not None else None
        return (float("nan"), None) if found is None else found
