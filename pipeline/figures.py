"""`esad figures RUN...`: AUC against lambda1 and lambda2, maps of the codes, examples with scores and reconstructions.

They are the paper's Figures 2 and 5, 3, and 4, of one's own runs: PNG and SVG, with the numbers behind them as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.options import Device, Force, Json
from esad.pipeline.stage.outcome import Outcome


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="RUN or SCORES folders; of the folder of a sweep all its runs, for curves alone."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="What to draw: lambda, tsne or examples; repeatable (default: what there is)."),
    ] = None,
    across: Annotated[
        list[str] | None,
        typer.Option(
            help="Average curves over this setting, as over seeds: data.normal_classes; repeatable."
        ),
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=10, help="Most items on a map of codes (default 1000).")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, max=12, help="Normal examples, and as many anomalies (default 5).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draws the items of maps of codes (default 0).")
    ] = None,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Draw the paper's figures of runs: lambda curves, t-SNE of codes, examples."""

    def stage() -> Outcome:
        more = given_only(items=items, examples=examples, seed=seed)
        return figures(paths, out, only or (), across or (), device=device, force=force, **more)

    return run_stage(stage, as_json)


def figures(
    paths: Sequence[Path],
    out: Path,
    only: Sequence[str] = (),
    across: Sequence[str] = (),
    items: int = 1000,
    examples: int = 5,
    seed: int = 0,
    device: str | None = None,
    force: bool = False,
) -> Outcome:
    """Draw what `only` names, or all that the runs at `paths` give, into the folder `out`.

    What some runs lack is said and counted as refused. Raises UsageError (a path, an option), EsadError where a named run is not
    finished, `out` holds other things, or something of `only`, or all of it, cannot be drawn.
    """
    from esad.pipeline.drawing.drawings import all_drawings, checked_kinds
    from esad.pipeline.drawing.folder import already_drawn, described, figures_outcome, write_figures
    from esad.pipeline.drawing.subjects import find_subjects
    from esad.pipeline.stage.lock import writing_to

    kinds = checked_kinds(only, across)
    subjects, told = find_subjects(paths)
    asked = {"only": list(kinds), "across": list(across), "items": items, "examples": examples, "seed": seed}
    wanted = described(out, subjects, asked)
    with writing_to(out):
        if already_drawn(out, wanted, force):
            return figures_outcome(out, "Left alone (finished before):", subjects)
        drawings, left_out, unscored = all_drawings(subjects, kinds, across, items, examples, seed, device)
        write_figures(out, wanted, drawings, [*told, *left_out], len(told) + unscored)
    return figures_outcome(out, "Wrote", subjects)


if __name__ == "__main__":
    run_script(command)
