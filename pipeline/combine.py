"""`esad combine SCORES... --out FOLDER`: one score of several runs' scores of the same items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import By, FalseAlarms, Force, Json, PerGroup
from esad.pipeline.stage.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def command(
    paths: Annotated[list[Path], typer.Argument(help="RUN or SCORES folders, two or more.")],
    out: Annotated[Path, typer.Option(help="Folder to write: evaluate, report and view take it as a RUN.")],
    false_alarms: FalseAlarms = None,
    by: By = None,
    per_group: PerGroup = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Combine scores of the same items by several runs: seeds of one recipe, or pixels and embeddings."""
    rule = given_only(level=false_alarms, by=by, per_group=per_group)
    return run_stage(lambda: combine(paths, out, rule, force), as_json)


def combine(
    paths: Sequence[Path], out: Path, rule: Mapping[str, Any] | None = None, force: bool = False
) -> Outcome:
    """Write into `out` the mean of the scores at `paths`, each less the median and over the spread of its run's held-out normals.

    `out` holds what later stages read of a RUN (config.yaml, normals.parquet, assignments.parquet, provenance.json) and SCORES, so that
    `evaluate`, `report`, `view`, `suggest` and `annotations` take it; it has no weights and no overlays, which stay with the members.
    p-values refer to the normals that all members held out. `rule` has values of `thresholds.reference_sets.Rule`. What changed in the
    members since is taken over. Raises UsageError for one path alone or the same scores twice, EsadError where items or labels are others,
    no normal was held out by all, or `out` holds something else.
    """
    import shlex

    from esad.pipeline.combining.combination import combined_assignments, combined_normals, combined_table
    from esad.pipeline.combining.combined_folder import (
        check_folder,
        combined_marker,
        is_finished,
        scores_in,
        told,
        write_combination,
    )
    from esad.pipeline.combining.members import open_members
    from esad.pipeline.scoring.scores_table import put_p_values
    from esad.pipeline.stage.lock import writing_to
    from esad.pipeline.stage.log import now
    from esad.pipeline.thresholds.reference_sets import ReferenceSets, Rule

    members, began = open_members(paths), now()
    normals = combined_normals(members)
    sets = ReferenceSets.of(normals, Rule(**(rule or {})), str(out))
    table = combined_table(members, normals)
    put_p_values(table, sets, table)
    with writing_to(out):
        check_folder(out, members, force)
        marker, folder = combined_marker(out, members, table, sets), scores_in(out, members)
        said = "Left alone (finished before)"
        if not is_finished(folder, marker):
            assignments = combined_assignments(members)
            write_combination(out, members, normals, assignments, table, marker, sets, began)
            said = f"Wrote {folder}"
    message = f"{said}: {told(members, table, sets)}"
    summary = {"items": len(table), "members": len(members), "normals": sets.most}
    return Outcome(out, message, shlex.join(["esad", "evaluate", str(out)]), summary=summary)


if __name__ == "__main__":
    run_script(command)
