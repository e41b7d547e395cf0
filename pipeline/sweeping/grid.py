"""What is swept: settings and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import number_if_scientific, parse_assignments
from esad.pipeline.settings.ignored import refuse_ignored
from esad.pipeline.settings.presets import run_settings
from esad.pipeline.stage.errors import EsadError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.settings.config import RunSettings
    from esad.preprocessing.store.store import Store


OF_DATA = ("data.site_normalisation",)
"""Settings of the data that can be swept: they change no part."""


def sites_in_turn(store: Store, preset: str | None, overrides: Sequence[dict[str, Any]]) -> list[str]:
    """The sites that are left out one after the other: those of the store, where the settings leave out a site and name none."""
    from esad.pipeline.runs.items import selected
    from esad.preprocessing.splits.site_split import sites_of

    data = run_settings(store, preset, overrides).data
    if data.split != "leave-site-out" or data.site:
        return []
    return [
        name
        for name in sites_of(selected(store.manifest, data.where))
        if name not in (data.validation_site or ())
    ]


def parse_grid(over: Sequence[str], or_nothing: bool = False) -> dict[str, list[Any]]:
    """`["loss.lambda1=0.1,1"]` -> {"loss.lambda1": [0.1, 1]}; UsageError names what cannot be swept.

    `or_nothing`: nothing need be swept.
    """
    grid: dict[str, list[Any]] = {}
    for text in over:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise UsageError(
                f"--over {text!r}: expected name=value,value, for example loss.lambda1=0.1,1,10."
            )
        if name in grid:
            raise UsageError(f"--over {name} is given twice; list all its values in one.")
        if name == "seed":
            raise UsageError("--over seed: a seed is not chosen; --seeds N averages over N of them.")
        if name == "data.site":
            raise UsageError(
                "--over data.site: a site is not chosen; --set data.split=leave-site-out without data.site leaves out each in turn."
            )
        if name == "device" or (name.startswith("data.") and name not in OF_DATA):
            raise UsageError(f"--over {name}: only settings of the model and its training can be swept.")
        if set(values) & set("[]{}"):
            raise UsageError(
                f"--over {text!r}: lists cannot be swept; make a sweep for each with --set, in a folder of its own."
            )
        found = [
            number_if_scientific(parse_assignments([f"{name}={value}"])[name]) for value in values.split(",")
        ]
        if None in found:
            raise UsageError(f"--over {text!r}: null cannot be swept; leave {name} out for its default.")
        if any(found.index(value) < place for place, value in enumerate(found)):
            raise UsageError(f"--over {text!r}: a value stands twice.")
        grid[name] = found
    if not grid and not or_nothing:
        raise UsageError("--over is missing: name what to sweep, for example --over loss.lambda1=0.1,1,10.")
    return grid


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the grid's values, as setting -> value, the last setting changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def checked_settings(
    store: Store,
    grid: Mapping[str, Sequence[Any]],
    preset: str | None,
    overrides: Sequence[dict[str, Any]],
) -> RunSettings:
    """The settings of the first combination; UsageError where any combination has a value that cannot be."""
    settings = [run_settings(store, preset, [*overrides, values]) for values in combinations(grid)]
    refuse_ignored(settings, store.kind, list(grid))
    return settings[0]


def best_of(
    table: pd.DataFrame, grid: Mapping[str, Sequence[Any]], out: Path, reasons: Sequence[str]
) -> dict[str, Any]:
    """The values of the combination with the highest AUC, ties go to the first in the grid; EsadError where there is no AUC."""
    if table["auc"].isna().all():
        raise EsadError(f"{out}: no cell could be trained; the first: {reasons[0]}")
    if not grid:
        return {}
    best = table.loc[table["auc"].idxmax()]
    return {name: next(value for value in grid[name] if value == best[name]) for name in grid}
