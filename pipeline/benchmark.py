"""`esad benchmark NAME|FILE.yaml`: the cells of a grid on tables, every cell's seeds as one batched model.

OUT holds a JSON a cell (the mark that it is finished), results.parquet (a row per cell and seed), and its pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import print_json, run_script, run_stage
from esad.pipeline.stage.options import Device, Force, Json, Out
from esad.pipeline.stage.outcome import Outcome


def command(
    grid: Annotated[str, typer.Argument(help="table3, table4, or a YAML file that declares a grid.")],
    data: Annotated[Path, typer.Option(help="Folder of the tables.")],
    out: Out,
    only: Annotated[
        list[str] | None, typer.Option(help="A part: dataset=cardio, method=esad, split=clean; repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells at a time, each in a process of its own.")] = 1,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Compare methods on tables, all seeds at once, beside published figures."""
    outcome = run_stage(
        lambda: benchmark(grid, data, out, only or [], device or "auto", force, workers), False
    )
    if as_json:
        print_json(outcome.summary["results"])
    return outcome


def benchmark(
    name: str, data: Path, out: Path, only: Sequence[str] = (), device: str = "auto", force: bool = False,
    workers: int = 1,
) -> Outcome:  # fmt: skip
    """Run the cells of a grid that `only` allows, `workers` at a time; finished ones are left alone unless `force`.

    A cell that cannot be trained is counted as refused, with its reason, and the others go on. The summary's `results`
    are {"dataset", "method", "split", "mean", "std", "runs", …} of every cell asked for, AUC in %. Raises UsageError
    for a fault of the grid, of `only`, or a table that is not there, EsadError where `out` has cells of other settings.
    """
    from esad.pipeline.benchmarking.cells import read_results, run_cells, store_folder
    from esad.pipeline.benchmarking.grid import cells, locate, read_grid
    from esad.pipeline.benchmarking.page import write_pages
    from esad.pipeline.benchmarking.tables import lines_of, summarise
    from esad.pipeline.ingest.job import IngestOptions
    from esad.pipeline.settings.config import TableSettings
    from esad.pipeline.tables import tables

    grid = read_grid(name)
    asked = cells(grid, list(only))
    sources = {dataset: locate(grid, dataset, data) for dataset in {cell.dataset for cell in asked}}
    for dataset, source in sources.items():  # before the workers, of which no two may write into one store
        tables([source], TableSettings(), IngestOptions(store_folder(out, dataset)))
    failures = run_cells(grid, asked, sources, out, device, force, workers)
    table = summarise(read_results(grid, out, failures), grid)
    write_pages(table, grid, out)
    results = lines_of(table, asked)
    message = (
        f"{len(results)} of {len(asked)} cells are in {out / 'results.html'}, results.md and results.parquet."
    )
    return Outcome(out, message, refused=len(failures), summary={"results": results})


if __name__ == "__main__":
    run_script(command)
