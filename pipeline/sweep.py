"""`esad sweep STORE --over loss.lambda1=0.1,1,10`: a run a cell of a grid of settings, the best by validation AUC.

With `--set data.split=leave-site-out` every cell has a run for each site, which that run does not train on.

The figures of each cell are those of its own validation part, which `train` holds out of the training data; no label
of the test part is read. OUT holds cells/ (a RUN each), sweep.parquet, sweep.md, sweep.png and best.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from esad.pipeline.settings.config import RunSettings
from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import Force, Json, Out, Scheduler, fields_as_options, settings_as_options
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.training.request import RunRequest


@settings_as_options(RunSettings, "seed", "device")
@fields_as_options(RunRequest, "request")
def command(
    store: Annotated[Path, typer.Argument(help="The STORE to train on.")],
    out: Out,
    request: RunRequest,
    given: dict[str, Any],
    over: Annotated[
        list[str] | None,
        typer.Option(help="A setting and its values: loss.lambda1=0.01,0.1,1,10; repeatable."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How often to train each combination, on one split (default 1).")
    ] = None,
    scheduler: Scheduler = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Train a grid of settings and choose by AUC on a validation part of the training data."""

    def stage() -> Outcome:
        layers = request.layers(given)
        more = given_only(seeds=seeds, scheduler=scheduler)
        return sweep(store, out, over or [], request.preset, layers, force=force, **more)

    return run_stage(stage, as_json)


def sweep(
    store: Path,
    out: Path,
    over: Sequence[str],
    preset: str | None = None,
    overrides: Sequence[dict[str, Any]] = (),
    seeds: int = 1,
    force: bool = False,
    scheduler: str | None = None,
) -> Outcome:
    """Train every combination of the values of `over` (`name=value,value,…`) with `seeds` seeds, and choose one.

    The best has the highest mean AUC over seeds on the validation part; ties go to the first in the grid. With data.split =
    leave-site-out and no data.site each combination has a run for each site of the store, left out in turn, and `over` may be
    empty: then nothing is chosen. Cells that are there
    are left alone; one that cannot be trained is counted as refused, with its reason. The workers of the Dask cluster at
    `scheduler` train the cells, or this process. Raises UsageError (settings, no cluster), EsadError (no anomalies to
    validate on, an `out` of another sweep, no cell that could be trained), Stopped.
    """
    from esad.pipeline.stage.cluster import perhaps_connected
    from esad.pipeline.stage.lock import writing_to
    from esad.pipeline.sweeping.cells import cells_of, summary_of, train_cells
    from esad.pipeline.sweeping.folder import begin_sweep, sweep_outcome, validation_counts, write_results
    from esad.pipeline.sweeping.grid import best_of, checked_settings, parse_grid, sites_in_turn
    from esad.pipeline.sweeping.page import LEFT_OUT
    from esad.preprocessing.store.store import Store

    opened = Store(store)
    sites = sites_in_turn(opened, preset, overrides)
    grid = parse_grid(over, bool(sites))
    base = checked_settings(opened, grid, preset, overrides)
    counts = validation_counts(opened, base, sites)
    with writing_to(out), perhaps_connected(scheduler, out) as cluster:
        begin_sweep(out, opened, grid, seeds, base, force, sites)
        cells = cells_of(grid, base, seeds, sites)
        train_cell = partial(_train_cell, store.absolute(), preset, list(overrides))
        reads = [store.absolute() / "store.json"]
        rows, reasons = train_cells(cells, out, base, train_cell, cluster, reads)
        table = summary_of(rows, list(grid) or [LEFT_OUT])
        chosen = best_of(table, grid, out, reasons)
        write_results(out, rows, table, opened, grid, preset, overrides, chosen, counts, reasons)
    return sweep_outcome(store, out, table, rows, list(grid), chosen, counts, len(reasons))


def _train_cell(
    store: Path, preset: str | None, overrides: Sequence[dict[str, Any]], folder: Path, layer: dict[str, Any]
) -> None:
    """A cell is what `esad train` makes of its settings."""
    from esad.pipeline.train import train

    train(store, folder, preset, [*overrides, layer])


if __name__ == "__main__":
    run_script(command)
