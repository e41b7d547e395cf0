"""`esad synthetic`: an archive to try everything on: made-up slides and radiographs, and a real small table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Force, Json, Out
from esad.pipeline.stage.outcome import Outcome

SLIDES, RADIOGRAPHS, SIZE = 6, 240, 6144


def command(
    out: Out,
    slides: Annotated[int | None, typer.Option(min=0, help=f"How many slides (default {SLIDES}).")] = None,
    radiographs: Annotated[
        int | None, typer.Option(min=0, help=f"How many radiographs (default {RADIOGRAPHS}).")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help=f"Side of a slide in level-0 pixels (default {SIZE}).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything drawn (default 0).")] = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Draw a made-up archive of slides and radiographs, and copy a real table, to try everything on."""

    def stage() -> Outcome:
        given = given_only(slides=slides, radiographs=radiographs, size=size, seed=seed)
        return synthetic(out, force=force, **given)

    return run_stage(stage, as_json)


def synthetic(
    out: Path,
    slides: int = SLIDES,
    radiographs: int = RADIOGRAPHS,
    size: int = SIZE,
    seed: int = 0,
    force: bool = False,
) -> Outcome:
    """Write OUT/slides, OUT/annotations, OUT/radiographs, OUT/table.npz; the same bytes for the same settings.

    Half of the `slides` (of `size` level-0 pixels, 0.25 um each) and a quarter of the `radiographs` are abnormal. The
    folder appears whole or not at all. Raises EsadError where `out` was made with other settings (unless `force`)
    or is something else, UsageError for a size that leaves no room for a tile.
    """
    from esad.pipeline.stage.lock import writing_to
    from esad.pipeline.synthesis.archive import DRAWING, already_made, make_archive

    if size < 1024:
        raise UsageError(f"--size {size}: a slide needs at least 1024 level-0 pixels.")
    wanted = {"drawing": DRAWING, "radiographs": radiographs, "seed": seed, "size": size, "slides": slides}
    with writing_to(out, inside=False):
        there = already_made(out, wanted, force)
        if not there:
            make_archive(out, wanted)
    verb = f"Left {out} alone (made before)" if there else f"Wrote {out}"
    message = f"{verb}: {slides} synthetic slides, {radiographs} synthetic radiographs, one real table."
    following = f"esad tile {out / 'slides'} --annotations {out / 'annotations'} --out tiles"
    return Outcome(out, message, following, summary=dict(wanted))


if __name__ == "__main__":
    run_script(command)
