"""`esad verify RUN`: whether a run's exports give its own scores, item by item and in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome

MOST_ITEMS = 512


def command(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    store: Annotated[
        Path | None, typer.Argument(help="The STORE to compare on (default: the run's own).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where the run itself scores: cpu, cuda or cuda:N (default cpu).")
    ] = None,
    as_json: Json = False,
) -> Outcome:
    """Check that the exports give the run's own scores; status 1 where one does not."""
    return run_stage(lambda: verify(run, store, **given_only(device=device)), as_json)


def verify(run: Path, store: Path | None = None, device: str = "cpu") -> Outcome:
    """Score up to MOST_ITEMS items of `store` (default: the run's own), evenly spaced, from the weights and from each
    export; what is not exported yet is. `device` is that of the first.

    The outcome failed where scores differ by more than TOLERANCE of their spread (`differences`). A run on tables has
    no bundle, which is said; a method that searches for its scores no ONNX file.
    """
    import numpy as np
    import torch

    from esad.pipeline.export import export
    from esad.pipeline.exporting.bundle import bundle_scores, check_bundle
    from esad.pipeline.exporting.comparison import (
        checkpoint_scores,
        comparison_outcome,
        differences,
        show_comparison,
    )
    from esad.pipeline.exporting.onnx_model import FILE, onnx_scores
    from esad.pipeline.runs.items import evenly
    from esad.pipeline.runs.run_folder import open_run
    from esad.preprocessing.store.store import Store

    opened = open_run(run)
    target = Store(store) if store else opened.training_store()
    opened.check(target)
    positions = evenly(np.arange(len(target)), MOST_ITEMS)
    own = checkpoint_scores(opened, target, positions, device)["score"].to_numpy(dtype=float)
    found = {}
    if target.pictures:
        bundle = export(run, "bundle").out
        check_bundle(opened, bundle)
        found["bundle"] = bundle_scores(bundle, target, positions)
    if not opened.method(torch.device("cpu")).searches:  # no file holds an optimisation
        found["onnx"] = onnx_scores(export(run, "onnx").out / FILE, target, positions)
    results = {name: differences(own, table["score"].to_numpy(dtype=float)) for name, table in found.items()}
    show_comparison(results, len(positions))
    return comparison_outcome(run, target, results, len(positions))


if __name__ == "__main__":
    run_script(command)
