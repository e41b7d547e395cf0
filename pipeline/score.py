"""`esad score RUN [STORE]`: a score per item, where it looks, heat overlays, slide heat maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import Device, Force, Json
from esad.pipeline.stage.outcome import Outcome


def command(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    store: Annotated[Path | None, typer.Argument(help="The STORE to score (default: the run's own).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of scores (default: RUN/scores/STORE NAME).")
    ] = None,
    overlays: Annotated[
        str | None, typer.Option(help="Which overlays to draw: none, worst:N or all (default worst:50).")
    ] = None,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Score every item; draw heat overlays and slide maps."""

    def stage() -> Outcome:
        return score(run, store, out, device=device, force=force, **given_only(overlays=overlays))

    return run_stage(stage, as_json)


def score(
    run: Path,
    store: Path | None = None,
    out: Path | None = None,
    overlays: str = "worst:50",
    device: str | None = None,
    force: bool = False,
) -> Outcome:
    """Score all items of `store` (default: the run's own) and write the SCORES folder.

    Where only `overlays` differs from what is there, they alone are drawn anew; labels that the store got since then are
    taken over. Raises EsadError where the store does not fit the run, or `out` holds scores of another run or store.
    """
    from esad.pipeline.runs.items import in_memory
    from esad.pipeline.runs.run_folder import open_run, resolve_device
    from esad.pipeline.runs.store_changes import check_unchanged
    from esad.pipeline.scoring.explanation import overlays_wanted, write_all_overlays
    from esad.pipeline.scoring.scores_folder import (
        already_scored,
        begin_scores,
        finish_scores,
        renew_labels,
        scores_are_there,
        scores_marker,
        scores_outcome,
        told_of_labels,
    )  # fmt: skip
    from esad.pipeline.scoring.scores_table import scored_items
    from esad.pipeline.stage.log import now
    from esad.preprocessing.store.store import Store

    wanted = overlays_wanted(overlays)
    opened = open_run(run)
    target = Store(store) if store else opened.training_store()
    opened.check(target)
    check_unchanged(opened, target, force)
    folder = out or run / "scores" / target.root.name
    marker, began = scores_marker(opened, target, overlays, folder), now()
    if already_scored(folder, marker, force):
        return scores_outcome(folder, target, told_of_labels(folder, opened, target), len(opened.normals))
    chosen = resolve_device(device or opened.settings.device)
    method, items = opened.method(chosen), in_memory(target, chosen)
    kept = scores_are_there(folder, marker)
    if kept:
        renew_labels(folder, opened, target)
    else:
        begin_scores(folder, target, scored_items(opened, target, method, items, chosen), marker)
    if method.pictures:
        write_all_overlays(folder, opened, method, items, wanted, chosen)
    finish_scores(folder, marker, opened, began)
    said = f"Drew overlays, scores kept, in {folder}" if kept else f"Wrote {folder}"
    return scores_outcome(folder, target, said, len(opened.normals))


if __name__ == "__main__":
    run_script(command)
