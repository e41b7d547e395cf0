"""`esad score RUN [STORE]`: a score per item, where it looks, heat overlays, slide heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import By, Device, FalseAlarms, Force, Json, PerGroup, Scheduler
from esad.pipeline.stage.outcome import Outcome

if TYPE_CHECKING:
    from esad.pipeline.scoring.work import Crew, Opened
    from esad.pipeline.thresholds.reference_sets import ReferenceSets


def command(
    run: Annotated[Path, typer.Argument(help="The RUN.")],
    store: Annotated[Path | None, typer.Argument(help="The STORE to score (default: the run's own).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of scores (default: RUN/scores/STORE NAME).")
    ] = None,
    overlays: Annotated[
        str | None,
        typer.Option(
            help="Which overlays to draw: none, worst:N or all (default worst:50, of embeddings none)."
        ),
    ] = None,
    false_alarms: FalseAlarms = None,
    by: By = None,
    per_group: PerGroup = None,
    device: Device = None,
    scheduler: Scheduler = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Score every item; draw heat overlays and slide maps."""

    def stage() -> Outcome:
        rule = given_only(level=false_alarms, by=by, per_group=per_group)
        more = given_only(overlays=overlays, scheduler=scheduler, rule=rule or None)
        return score(run, store, out, device=device, force=force, **more)

    return run_stage(stage, as_json, in_several=True)


def score(
    run: Path,
    store: Path | None = None,
    out: Path | None = None,
    overlays: str | None = None,
    device: str | None = None,
    force: bool = False,
    scheduler: str | None = None,
    rule: Mapping[str, Any] | None = None,
) -> Outcome:
    """Score all items of `store` (default: the run's own) and write the SCORES folder.

    `rule` has values of `thresholds.reference_sets.Rule`; without it thresholds stay as finished scores have them.

    The workers of the Dask cluster at `scheduler` do the work, or the processes that torchrun started, or this one; the scores are
    the same. Scoring that was stopped or killed goes on where it was. Where only `overlays` differs from what is there, they
    alone are drawn anew; labels that the store got since then and other thresholds are taken over. Of a store that has grown since,
    only the new shards are scored. Raises EsadError where the store does not fit the run, `out` holds scores of another run or store,
    or workers die of a shard, UsageError where there is no cluster.
    """
    from contextlib import nullcontext

    from esad.pipeline.runs.run_folder import open_run
    from esad.pipeline.runs.store_changes import check_unchanged, say_unlike
    from esad.pipeline.scoring.explanation import overlays_wanted
    from esad.pipeline.scoring.scores_folder import sets_of
    from esad.pipeline.scoring.work import Opened, crew
    from esad.pipeline.stage.lock import writing_to
    from esad.pipeline.stage.ranks import is_first
    from esad.preprocessing.store.store import Store

    opened = open_run(run)
    target = Store(store) if store else opened.training_store()
    overlays = overlays or ("none" if target.kind == "embeddings" else "worst:50")
    wanted = overlays_wanted(overlays)
    opened.check(target)
    check_unchanged(opened, target, force)
    say_unlike(opened, target)
    folder, chosen = out or run / "scores" / target.root.name, device or opened.settings.device
    sets = sets_of(opened, folder, rule or {})
    held = writing_to(folder) if is_first() else nullcontext()
    with held, crew(scheduler, folder, chosen) as hands:
        return _score(Opened(opened, target, folder, chosen), hands, wanted, overlays, force, sets)


def _score(
    opened: Opened, crew: Crew, wanted: int | None, overlays: str, force: bool, sets: ReferenceSets
) -> Outcome:
    """Of several processes each does its share; the first alone writes the tables."""
    from esad.pipeline.scoring.columns.explained_rows import write_row_heat
    from esad.pipeline.scoring.embedded.pixel_overlays import write_pixel_overlays
    from esad.pipeline.scoring.explanation import write_all_overlays
    from esad.pipeline.scoring.scores_folder import (
        already_scored,
        begin_scores,
        finish_scores,
        renew,
        scores_are_there,
        scores_marker,
        scores_outcome,
        told_of_labels,
    )  # fmt: skip
    from esad.pipeline.scoring.scores_table import score_shards
    from esad.pipeline.stage.log import now

    run, store, folder = opened.run, opened.store, opened.folder
    marker, began = scores_marker(run, store, overlays, folder, sets), now()
    if crew.agreed(lambda: already_scored(folder, marker, force, store, lambda: crew.device)):
        said = told_of_labels(folder, run, store, sets) if crew.first else ""
    else:
        kept = crew.agreed(lambda: scores_are_there(folder, marker))
        if kept and crew.first:
            renew(folder, run, store, sets)
        elif not kept:
            scored = score_shards(opened, crew)
            if crew.first:
                begin_scores(opened, scored, marker, sets, crew.device)
        crew.meet()  # the others read what the first wrote
        if store.kind != "embeddings":
            (write_row_heat if store.kind == "table" else write_all_overlays)(opened, crew, wanted)
        elif crew.first:
            write_pixel_overlays(opened, wanted)
        said = f"Drew overlays, scores kept, in {folder}" if kept else f"Wrote {folder}"
        if crew.first:
            finish_scores(folder, marker, run, began)
    crew.meet()  # whoever called may read the scores now, in each process
    if not crew.first:
        return Outcome(folder, "Scored.")
    return scores_outcome(folder, run, store, said, sets)


if __name__ == "__main__":
    run_script(command)
