"""`esad benchmark NAME|FILE.yaml`: the cells of a grid on tables, every cell's seeds as one batched model.

OUT holds a JSON a cell (the mark that it is finished), results.parquet (a row per cell and seed), and its pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, print_json, run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Device, Force, Json, Out, Scheduler
from esad.pipeline.stage.outcome import Outcome


def command(
    grid: Annotated[str, typer.Argument(help="table3, table4, or a YAML file that declares a grid.")],
    data: Annotated[Path, typer.Option(help="Folder of the tables.")],
    out: Out,
    only: Annotated[
        list[str] | None, typer.Option(help="A part: dataset=cardio, method=esad, split=clean; repeatable.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at a time, each in a process of its own (default 1).")
    ] = None,
    scheduler: Scheduler = None,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Compare methods on tables, all seeds at once, beside published figures."""

    def stage() -> Outcome:
        if workers and scheduler:
            raise UsageError(
                "--workers are processes of this machine, --scheduler is a cluster's: give one of them."
            )
        more = given_only(workers=workers, scheduler=scheduler)
        return benchmark(grid, data, out, only or [], device or "auto", force, **more)

    outcome = run_stage(stage, False)
    if as_json:
        print_json(outcome.summary["results"])
    return outcome


def benchmark(
    name: str, data: Path, out: Path, only: Sequence[str] = (), device: str = "auto", force: bool = False,
    workers: int = 1, scheduler: str | None = None,
) -> Outcome:  # fmt: skip
    """Run the cells of a grid that `only` allows, `workers` at a time; finished ones are left alone unless `force`.

    The workers of the Dask cluster at `scheduler` run them in place of this machine's.

    A cell that cannot be trained is counted as refused, with its reason, and the others go on. The summary's `results`
    are {"dataset", "method", "split", "mean", "std", "runs", …} of every cell asked for, AUC in %. Raises UsageError
    for a fault of the grid, of `only`, a table that is not there, or no cluster, EsadError where `out` has cells of other settings.
    """
    from esad.pipeline.benchmarking.cells import read_results, run_cells, store_folder
    from esad.pipeline.benchmarking.grid import cells, locate, read_grid
    from esad.pipeline.benchmarking.page import write_pages
    from esad.pipeline.benchmarking.tables import lines_of, summarise
    from esad.pipeline.ingest.job import IngestOptions
    from esad.pipeline.settings.config import TableSettings
    from esad.pipeline.stage.cluster import perhaps_connected
    from esad.pipeline.tables import tables

    grid = read_grid(name)
    asked = cells(grid, list(only))
    sources = {dataset: locate(grid, dataset, data) for dataset in {cell.dataset for cell in asked}}
    with perhaps_connected(scheduler, out) as cluster:
        for (
            dataset,
            source,
        ) in sources.items():  # before the workers, of which no two may write into one store
            tables([source], TableSettings(), IngestOptions(store_folder(out, dataset)))
        failures = run_cells(grid, asked, sources, out, device, force, workers, cluster)
    table = summarise(read_results(grid, out, failures), grid)
    write_pages(table, grid, out)
    results = lines_of(table, asked)
    message = (
        f"{len(results)} of {len(asked)} cells are in {out / 'results.html'}, results.md and results.parquet."
    )
    return Outcome(out, message, refused=len(failures), summary={"results": results})


if __name__ == "__main__":
    run_script(command)
