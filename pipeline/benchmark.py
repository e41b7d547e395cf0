"""`esad benchmark NAME|FILE.yaml`: the cells of a grid of methods and data sets, beside published figures.

OUT holds a JSON a cell (the mark that it is finished), results.parquet (a row per cell and seed), and its pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esad.pipeline.stage.command import given_only, print_json, run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Device, Force, Json, Out, Scheduler
from esad.pipeline.stage.outcome import Outcome

if TYPE_CHECKING:
    from esad.pipeline.benchmarking.cells import Source
    from esad.pipeline.benchmarking.grid import Cell
    from esad.pipeline.benchmarking.grid_file import Grid


def command(
    grid: Annotated[
        str, typer.Argument(help="table1 to table5, table8 to table10, or a YAML file that declares a grid.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    out: Out,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A part: dataset=mnist, method=esad, normal=0, gamma_l=0.05, ...; repeatable."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at a time, each in a process of its own (default 1).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A budget of the grid: cpu or paper (default its first).")
    ] = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Say how long it would take, and run nothing.")
    ] = False,
    scheduler: Scheduler = None,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Compare methods on tables or pictures, beside published figures."""

    def stage() -> Outcome:
        if workers and scheduler:
            raise UsageError(
                "--workers are processes of this machine, --scheduler is a cluster's: give one of them."
            )
        more = given_only(workers=workers, scheduler=scheduler, budget=preset)
        return benchmark(grid, data, out, only or [], device or "auto", force, forecast=forecast, **more)

    outcome = run_stage(stage, False)
    if as_json:
        print_json(outcome.summary.get("results", outcome.summary))
    return outcome


def benchmark(
    name: str, data: Path, out: Path, only: Sequence[str] = (), device: str = "auto", force: bool = False,
    workers: int = 1, scheduler: str | None = None, budget: str | None = None, forecast: bool = False,
) -> Outcome:  # fmt: skip
    """Run the cells of a grid that `only` allows, `workers` at a time; finished ones are left alone unless `force`.

    The workers of the Dask cluster at `scheduler` run them in place of this machine's. `budget` is one of the grid's; with
    `forecast` nothing is run: how long it would take is said.

    A cell that cannot be trained is counted as refused, with its reason, and the others go on. The summary's `results`
    are {"dataset", "method", "split", "mean", "std", "runs", …} of every line asked for, AUC in %. Raises UsageError
    for a fault of the grid, of `only`, data that is not there, or no cluster, EsadError where `out` has cells of other settings.
    """
    from esad.pipeline.benchmarking.cells import read_results, run_cells
    from esad.pipeline.benchmarking.forecast import tell_forecast
    from esad.pipeline.benchmarking.grid import cells, read_grid
    from esad.pipeline.benchmarking.page import write_pages
    from esad.pipeline.benchmarking.tables import lines_of, summarise
    from esad.pipeline.stage.cluster import perhaps_connected
    from esad.pipeline.stage.lock import writing_to

    grid = read_grid(name, budget)
    asked = cells(grid, list(only))
    with writing_to(out), perhaps_connected(scheduler, out) as cluster:
        sources = _sources(grid, asked, data, out)
        hours = tell_forecast(grid, asked, sources, out, device, force, workers)
        if forecast:
            return Outcome(
                out,
                f"{len(asked)} cells were not run, since --forecast asks for the time alone.",
                summary=hours,
            )
        failures = run_cells(grid, asked, sources, out, device, force, workers, cluster)
        rows = read_results(grid, out, failures)
        table = summarise(rows, grid)
        write_pages(table, rows, grid, out)
    results = lines_of(table, asked)
    message = f"{len(results)} of {len({cell.line for cell in asked})} lines are in {out / 'results.html'}, results.md and results.parquet."
    return Outcome(out, message, refused=len(failures), summary={"results": results})


def _sources(grid: Grid, asked: Sequence[Cell], data: Path, out: Path) -> dict[str, Source]:
    """The data sets of the cells, each with its store: as it is there, or made from its file below `out`.

    Stores are made before there are workers, of which no two may write into one.
    """
    from esad.pipeline.benchmarking.cells import Source
    from esad.pipeline.benchmarking.grid import locate
    from esad.pipeline.images import images
    from esad.pipeline.ingest.job import IngestOptions
    from esad.pipeline.settings.config import ImageSettings, TableSettings, resolve
    from esad.pipeline.tables import tables

    found = {
        dataset: locate(grid, dataset, data) for dataset in dict.fromkeys(cell.dataset for cell in asked)
    }
    sources = {}
    for dataset, path in found.items():
        if (path / "store.json").is_file():
            sources[dataset] = Source(path / "store.json", path)
            continue
        store, kind, ingest = (
            out / "stores" / dataset,
            grid.datasets[dataset].kind,
            grid.datasets[dataset].ingest,
        )
        if kind == "table":
            tables([path], resolve(TableSettings, ingest), IngestOptions(store))
        elif kind == "images":
            images([path], resolve(ImageSettings, ingest), IngestOptions(store))
        else:
            raise UsageError(
                f"{path}: no STORE of {kind}; make it with `esad {'tile' if kind == 'tiles' else kind}`."
            )
        sources[dataset] = Source(path if path.is_file() else store / "store.json", store)
    return sources


if __name__ == "__main__":
    run_script(command)
