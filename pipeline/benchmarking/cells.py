"""A grid's cells: trained and measured, each in a file that marks it as finished."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.grid import Cell, cell_settings, cells, runs_of
from esad.pipeline.benchmarking.grid_file import Grid
from esad.pipeline.benchmarking.measurement import AUDITED, SCALING, measured
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.cluster import Cluster, Probe, wait_until_visible
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.log import now, write_log
from esad.pipeline.stage.progress import progress, say
from esad.pipeline.training.failures import failures_in_words

if TYPE_CHECKING:
    import pandas as pd

_WARNED: set[tuple[str, ...]] = set()
"""What this process has warned of."""
PACKAGES = ("esad", "numpy", "torch", "scikit-learn")
BUSY = "and trains one cell at a time all the same"


@dataclass(frozen=True)
class Source:
    """A data set of a grid: the `file` that it is known by, and its `store`."""

    file: Path
    store: Path


def cell_file(out: Path, cell: Cell) -> Path:
    """The file that marks a cell as finished."""
    return out / "cells" / f"{cell.name}.json"


def run_cell(
    grid: Grid,
    cell: Cell,
    source: Source,
    out: Path,
    device: str,
    force: bool,
    tell: Callable[[str], None] = say,
) -> str | None:
    """Train and measure a cell, and write its file, unless it is there; the reason in words where it cannot be trained.

    `tell` is called with what is to be said. EsadError where the file was made with other settings.
    """
    from esad.preprocessing.store.store import fingerprint, write_json

    settings = {**_stated(grid, cell), "source": fingerprint(source.file)}
    path = cell_file(out, cell)
    if path.is_file() and not force:
        difference = first_difference(_read(path)["settings"], settings)
        if difference:
            raise EsadError(
                f"{path}: made with other settings ({difference}); use another --out, or --force."
            )
        return None
    began, clock = now(), time.monotonic()
    try:
        with failures_in_words(out, cell_settings(grid, cell, runs_of(grid, cell)[0])):
            rows = measured(grid, cell, source.store, device)
    except (ValueError, FloatingPointError, EsadError) as error:
        return f"{cell.name} cannot be trained: {error}"
    _warn(cell, rows, tell)
    write_json(path, {"settings": settings, "rows": rows})
    seconds = time.monotonic() - clock
    write_log(out, cell.name, began, seconds=round(seconds, 1))
    tell(f"{cell.name}: {_count(len(rows))} in {seconds:.0f} s.")
    return None


def _stated(grid: Grid, cell: Cell) -> dict[str, Any]:
    """What a cell's file says of its making, but for the table's fingerprint."""
    runs = runs_of(grid, cell)
    settings = json.loads(cell_settings(grid, cell, runs[0]).model_dump_json())
    more: dict[str, Any] = (
        {"labelled_classes_of_runs": [run.labelled for run in runs]} if runs[0].labelled else {}
    )
    if grid.chosen.test_items:
        more["test_items"] = grid.chosen.test_items
    return {**settings, "seeds": len(runs), "oracle": grid.methods[cell.method].oracle, **more}


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def finished_rows(grid: Grid, out: Path) -> list[dict[str, Any]]:
    """The rows of the grid's cells that are there; one of other settings, which was not asked for now, is said and left out."""
    rows = []
    for cell in cells(grid):
        path = cell_file(out, cell)
        if not path.is_file():
            continue
        found = _read(path)
        made = {name: value for name, value in found["settings"].items() if name != "source"}
        difference = first_difference(made, _stated(grid, cell))
        if difference:
            say(f"{path}: left out of the results: made with other settings ({difference}).")
        else:
            rows += [
                {"line": cell.line, "labelled": None, **row} for row in found["rows"]
            ]  # a cell from before there were lines, or numbers of labelled anomalies, has none
    return rows


def _warn(cell: Cell, rows: list[dict[str, Any]], tell: Callable[[str], None]) -> None:
    """Say what breaks the audit of a cell whose split is to be clean, once a data set."""
    broken = [name for name in (*AUDITED, SCALING) if any(row[name] for row in rows)]
    if broken and cell.split != "published" and (cell.dataset, *broken) not in _WARNED:
        _WARNED.add((cell.dataset, *broken))
        tell(
            f"warning: {cell.name}: the split fails {', '.join(broken)} (`esad audit` says what that means)."
        )


@dataclass(frozen=True)
class _Call:
    """What all cells of a call share."""

    grid: Grid
    sources: Mapping[str, Source]
    out: Path
    device: str
    force: bool


def _told(call: _Call, cell: Cell) -> tuple[str | None, list[str]]:
    """(why the cell cannot be trained, what is to be said) of a cell on a worker."""
    lines: list[str] = []
    failure = run_cell(
        call.grid, cell, call.sources[cell.dataset], call.out, call.device, call.force, lines.append
    )
    return failure, lines


def run_cells(
    grid: Grid,
    asked: Sequence[Cell],
    sources: Mapping[str, Source],
    out: Path,
    device: str,
    force: bool,
    workers: int,
    cluster: Cluster | None = None,
) -> list[str]:
    """Run the cells `asked` for, `workers` at a time or on a `cluster`; why some could not be trained."""
    from sklearn.utils.parallel import Parallel, delayed

    failures: list[str] = []
    run = delayed(run_cell)
    with progress("benchmark", len(asked)) as bar:
        if cluster is not None:
            tried = _on(cluster, _Call(grid, sources, out, device, force), asked)
        else:
            tried = Parallel(n_jobs=workers, return_as="generator_unordered")(
                run(grid, cell, sources[cell.dataset], out, device, force) for cell in asked
            )
        for failure in tried:
            if failure:
                failures.append(failure)
                say(failure)
            bar.advance()
    return failures


def _on(cluster: Cluster, call: _Call, asked: Sequence[Cell]) -> Iterator[str | None]:
    """Why each cell cannot be trained, or None, as workers end them, one at a time each."""
    out = call.out.resolve()
    sources = {name: Source(of.file.resolve(), of.store.resolve()) for name, of in call.sources.items()}
    mark = sources[asked[0].dataset].store / "store.json"
    files = [of.file for of in sources.values()]
    cluster.check(Probe.here(out, mark, files, PACKAGES), "tables and OUT", BUSY)
    tasks = {cell.name: cell for cell in asked}
    done = set()
    for ended in cluster.run(out, _told, replace(call, out=out, sources=sources), tasks, alone=True):
        if ended.given_up:
            yield f"{ended.name} cannot be trained: {ended.given_up}"
            continue
        failure, lines = ended.result
        for line in lines:
            say(line)
        if not failure:
            done.add(tasks[ended.name])
        yield failure
    wait_until_visible(
        out, "cells", lambda: {cell.name for cell in done if not cell_file(out, cell).is_file()}
    )


def read_results(grid: Grid, out: Path, failures: Sequence[str]) -> pd.DataFrame:
    """A row per cell and seed of all cells that are there, also written to results.parquet; EsadError where none is."""
    import pandas as pd

    from esad.preprocessing.store.store import write_table

    rows = pd.DataFrame(finished_rows(grid, out))
    if rows.empty:
        raise EsadError(f"{out}: no cell could be trained; the first: {failures[0]}")
    write_table(out / "results.parquet", rows)
    return rows
