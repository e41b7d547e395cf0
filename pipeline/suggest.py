"""`esad suggest RUN|SCORES`: the items that are most worth a label next, as a CSV to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome


def command(
    path: Annotated[Path, typer.Argument(help="A RUN or a SCORES folder.")],
    out: Annotated[Path | None, typer.Option(help="The CSV (default: SCORES/suggestions.csv).")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many items.")] = 20,
    way: Annotated[
        list[str] | None, typer.Option(help="highest, uncertain or random; repeatable (default all three).")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Marks so far: what they name is left out.")] = None,
    as_json: Json = False,
) -> Outcome:
    """List the items that are most worth a label next."""
    return run_stage(
        lambda: suggest(path, count=count, **given_only(out=out, ways=way, labels=labels)), as_json
    )


def suggest(
    path: Path,
    out: Path | None = None,
    count: int = 20,
    ways: list[str] | None = None,
    labels: Path | None = None,
) -> Outcome:
    """Write item_id, label (empty), why, source, place, score and p_value of `count` items without a label that the run has not seen.

    `made_from` says what the items are now, so that labels are refused for others of their names; it is there where the store is as scored.
    A third of them score highest, a third lie nearest to the threshold, a third are drawn at random, one of each slide or patient
    before a second one. Raises EsadError where there are no scores, UsageError for a way that is none, and where the file at `out` has
    labels that were filled in.
    """
    import shlex

    from esad.pipeline.evaluation.counted_items import labelled_in_training, made_from_now, unlabelled
    from esad.pipeline.evaluation.item_figures import group_codes
    from esad.pipeline.scoring.open_scores import open_scores
    from esad.pipeline.scoring.scores_folder import SUGGESTIONS, check_not_filled_in
    from esad.pipeline.stage.lock import writing_to
    from esad.pipeline.thresholds.worth_labelling import WAYS, suggestions
    from esad.preprocessing.splits.labels import read_labels
    from esad.preprocessing.store.contents import MADE_FROM
    from esad.preprocessing.store.writing import write_csv

    wrong = [way for way in ways or [] if way not in WAYS]
    if wrong:
        raise UsageError(f"--way {wrong[0]}: expected {', '.join(WAYS)}.")
    scores = open_scores(path, whole=True)
    left = unlabelled(scores, read_labels(labels) if labels else None)
    left = left[~left["item_id"].isin(labelled_in_training(scores))].reset_index(drop=True)
    found = suggestions(left, group_codes(left), count, ways or WAYS)
    kept = ("source", "group", "view", "x", "y", "width", "height", "score", "p_value")
    table = found[["item_id"]].assign(
        label="", why=found["why"], **{name: found[name] for name in kept if name in found}
    )
    known = made_from_now(scores, table["item_id"])
    if known is not None:
        table[MADE_FROM] = known
    target = out or scores.root / SUGGESTIONS
    check_not_filled_in(target)
    with writing_to(target, inside=False):
        write_csv(target, table)
    message = f"Wrote {target}: {len(table)} of {len(left)} items without a label. Fill in label (1 anomaly, 0 normal)."
    following = shlex.join(["esad", "train", "STORE", "--out", "RUN2", "--labels", str(target)])
    return Outcome(target, message, following, summary={"items": len(table), "unlabelled": len(left)})


if __name__ == "__main__":
    run_script(command)
