"""`esad benchmark NAME|FILE.yaml`: the cells of a grid on tables, every cell's seeds as one batched model.

OUT holds a JSON a cell (the mark that it is finished), results.parquet (a row per cell and seed), and its pages.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.benchmarking.grid import Cell, Grid, cell_settings, cells, locate, read_grid
from esad.pipeline.benchmarking.page import write_pages
from esad.pipeline.benchmarking.tables import summarise
from esad.pipeline.settings.config import TableSettings, first_difference
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress, say
from esad.pipeline.training.failures import failures_in_words

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from esad.models.detector import Method
    from esad.models.training.fit import Items, TrainingData
    from esad.preprocessing.store.store import Store

AUDITED = ("one_part", "groups_apart", "identical_apart", "labels_agree")
SCALING = "scaling_on_training"
"""The checks of `esad audit` that every cell's splits and scaling go through; each is a column that counts what breaks it."""


def benchmark(
    name: str, data: Path, out: Path, only: Sequence[str] = (), device: str = "auto", force: bool = False,
    workers: int = 1,
) -> Outcome:  # fmt: skip
    """Run the cells of a grid that `only` allows, `workers` at a time; finished ones are left alone unless `force`.

    A cell that cannot be trained is counted as refused, with its reason, and the others go on. The summary's `results`
    are {"dataset", "method", "split", "mean", "std", "runs", …} of every cell asked for, AUC in %. Raises UsageError
    for a fault of the grid, of `only`, or a table that is not there, EsadError where `out` has cells of other settings.
    """
    import pandas as pd
    from sklearn.utils.parallel import Parallel, delayed

    from esad.preprocessing.store.store import write_table

    grid = read_grid(name)
    asked = cells(grid, list(only))
    sources = {dataset: locate(grid, dataset, data) for dataset in {cell.dataset for cell in asked}}
    for dataset, source in sources.items():
        _make_store(source, dataset, out)  # before the workers, of which no two may write into one
    failures: list[str] = []
    run = delayed(_run_cell)
    with progress("benchmark", len(asked)) as bar:
        tried = Parallel(n_jobs=workers, return_as="generator_unordered")(
            run(grid, cell, sources[cell.dataset], out, device, force) for cell in asked
        )
        for failure in tried:
            if failure:
                failures.append(failure)
                say(failure)
            bar.advance()
    rows = pd.DataFrame(_finished(grid, out))
    if rows.empty:
        raise EsadError(f"{out}: no cell could be trained; the first: {failures[0]}")
    write_table(out / "results.parquet", rows)
    table = summarise(rows, grid)
    write_pages(table, grid, out)
    names = {cell.name for cell in asked}
    results = [
        {key: value for key, value in line.items() if key not in {"name", "label"}}
        for line in table.to_dict("records")
        if line["name"] in names
    ]
    message = (
        f"{len(results)} of {len(asked)} cells are in {out / 'results.html'}, results.md and results.parquet."
    )
    return Outcome(out, message, refused=len(failures), summary={"results": results})


def _file(out: Path, cell: Cell) -> Path:
    return out / "cells" / f"{cell.name}.json"


def _run_cell(grid: Grid, cell: Cell, source: Path, out: Path, device: str, force: bool) -> str | None:
    """Train and measure a cell, and write its file, unless it is there; the reason in words where it cannot be trained.

    EsadError where the file was made with other settings.
    """
    from esad.preprocessing.store.store import Store, fingerprint, write_json

    settings = {**_stated(grid, cell), "source": fingerprint(source)}
    path = _file(out, cell)
    if path.is_file() and not force:
        difference = first_difference(_read(path)["settings"], settings)
        if difference:
            raise EsadError(
                f"{path}: made with other settings ({difference}); use another --out, or --force."
            )
        return None
    began = time.monotonic()
    try:
        with failures_in_words(out, cell_settings(grid, cell, 0)):
            rows = _measured(grid, cell, Store(_store_folder(out, cell.dataset)), device)
    except (ValueError, FloatingPointError, EsadError) as error:
        return f"{cell.name} cannot be trained: {error}"
    _warn(cell, rows)
    write_json(path, {"settings": settings, "rows": rows, "seconds": round(time.monotonic() - began, 1)})
    say(f"{cell.name}: {grid.seeds} seeds in {time.monotonic() - began:.0f} s.")
    return None


def _stated(grid: Grid, cell: Cell) -> dict[str, Any]:
    """What a cell's file says of its making, but for the table's fingerprint."""
    settings = json.loads(cell_settings(grid, cell, 0).model_dump_json())
    return {**settings, "seeds": grid.seeds, "oracle": grid.methods[cell.method].oracle}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _finished(grid: Grid, out: Path) -> list[dict[str, Any]]:
    """The rows of the grid's cells that are there; one of other settings, which was not asked for now, is said and left out."""
    rows = []
    for cell in cells(grid):
        path = _file(out, cell)
        if not path.is_file():
            continue
        found = _read(path)
        made = {name: value for name, value in found["settings"].items() if name != "source"}
        difference = first_difference(made, _stated(grid, cell))
        if difference:
            say(f"{path}: left out of the results: made with other settings ({difference}).")
        else:
            rows += found["rows"]
    return rows


def _store_folder(out: Path, dataset: str) -> Path:
    return out / "stores" / dataset


def _make_store(source: Path, dataset: str, out: Path) -> None:
    """The table as a store in OUT/stores; made once, and again where the file has changed."""
    from esad.pipeline.ingest.job import IngestOptions
    from esad.pipeline.tables import tables

    tables([source], TableSettings(), IngestOptions(_store_folder(out, dataset)))


def _measured(grid: Grid, cell: Cell, store: Store, device: str) -> list[dict[str, Any]]:
    """A row per seed: AUC in %, what the split shares and what the audit finds, all seeds trained at once."""
    import numpy as np

    from esad.models.methods.registry import build
    from esad.models.training.fit import TrainingData, fit
    from esad.pipeline.evaluation.metrics import auc
    from esad.pipeline.training.items import assign_items, in_memory, positions_of, splittable
    from esad.pipeline.training.run_folder import resolve_device
    from esad.preprocessing.splits.published_split import overlap
    from esad.preprocessing.store.contents import with_contents

    seeds = range(grid.seeds)
    chosen = [cell_settings(grid, cell, seed) for seed in seeds]
    manifest = splittable(store, chosen[0])
    splits = [assign_items(store, manifest, settings) for settings in chosen]
    if cell.split == "validation":
        splits = [_training_side(split) for split in splits]
    trained, held, tested = (
        [split[split["part"] == part] for split in splits] for part in ("train", "validation", "test")
    )
    oracle = grid.methods[cell.method].oracle
    if oracle:
        held = [_tenth(part, seed) for seed, part in zip(seeds, tested, strict=True)]
    items, kind = in_memory(store), resolve_device(device)
    data = TrainingData(
        items,
        [positions_of(store, part["item_id"]) for part in trained],
        [part["semi_label"].to_numpy(dtype="int8") for part in trained],
        [(positions_of(store, part["item_id"]), part["label"].to_numpy(dtype="int8")) for part in held],
    )
    method = fit(build(chosen[0], store.shape, tuple(seeds)), data, str(kind))
    scores = _scores(method, items, len(store), kind)
    contents = with_contents(store, store.manifest[["item_id"]], np.arange(len(store))).set_index("item_id")
    rows = []
    for seed in seeds:
        part = tested[seed]
        area = auc(scores[seed][positions_of(store, part["item_id"])], part["label"].to_numpy(dtype="int8"))
        if area is None:
            raise ValueError("the test part has one class only")
        place = {**cell.values(), "oracle": oracle, "name": cell.name, "seed": seed, "auc": 100 * area}
        audited = {**_audited(splits[seed], contents), SCALING: _scaled(method, data, seed)}
        rows.append({**place, **overlap(splits[seed]), **audited})
    return rows


def _training_side(split: pd.DataFrame) -> pd.DataFrame:
    """A split without its test part, the validation part testing in its place."""
    return split[split["part"] != "test"].replace({"part": {"validation": "test"}})


def _tenth(tested: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A tenth of each label of the test part, by seed."""
    import numpy as np

    from esad.preprocessing.splits.semisupervised import hold_out

    numbers = np.random.default_rng([seed, 6510])
    names = tested["item_id"].to_numpy().astype(str)
    return tested[hold_out(names, tested["label"].to_numpy(dtype=int), 0.1, numbers)]


def _scores(method: Method, items: Items, count: int, device: torch.device) -> np.ndarray:
    """The methods' own scores of all `count` items, (S, N)."""
    import numpy as np

    from esad.models.training.fit import score_batches

    batches = score_batches(method, items, np.arange(count), device, batch_size=8192)
    return np.concatenate([terms["eq9"].float().cpu().numpy() for _, _, terms in batches], axis=1)


def _audited(split: pd.DataFrame, contents: pd.DataFrame) -> dict[str, int]:
    """How many items break each check of AUDITED; `contents` has group and digest of every item, by its name."""
    from esad.pipeline.evaluation import split_checks

    table = split.join(contents, on="item_id")
    return {name: getattr(split_checks, name)(table).count for name in AUDITED}


def _scaled(method: Method, data: TrainingData, seed: int) -> int:
    """How many columns the method scales by other rows than the training rows of the seed at position `seed`."""
    import torch

    from esad.models.networks import ColumnScaler
    from esad.pipeline.evaluation.split_checks import scaling_on_training

    scaler = method.scaler
    assert isinstance(scaler, ColumnScaler)  # grids are of tables
    minimum, span = (values[seed, 0].cpu().numpy() for values in (scaler.minimum, scaler.range))
    rows = data.take(data.positions[seed], torch.device("cpu")).numpy()
    return scaling_on_training((minimum, span), rows, [str(column) for column in range(rows.shape[1])]).count


def _warn(cell: Cell, rows: list[dict[str, Any]]) -> None:
    """Say what breaks the audit of a cell whose split is to be clean."""
    broken = [name for name in (*AUDITED, SCALING) if any(row[name] for row in rows)]
    if broken and cell.split != "published":
        say(f"warning: {cell.name}: the split fails {', '.join(broken)} (`esad audit` says what that means).")


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["benchmark", *sys.argv[1:]])
