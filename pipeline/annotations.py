"""`esad annotations SCORES|RUN`: scored slides as files for other viewers: QuPath, ASAP, OME-TIFF, OpenSlide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import given_only, run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Force, GroupKey, Json
from esad.pipeline.stage.outcome import Outcome


def command(
    scores: Annotated[Path, typer.Argument(help="SCORES of slides, or their RUN.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="qupath, asap, ome-tiff (scores) or tiff (colours); repeatable (default: all)."
        ),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="The archive that the store was made of: slides say where they begin.")
    ] = None,
    slide: Annotated[
        list[str] | None, typer.Option(help="This slide alone: source, file name or stem; repeatable.")
    ] = None,
    tiles: Annotated[
        str | None, typer.Option(help="Tiles in the GeoJSON: none, suspicious or all (default suspicious).")
    ] = None,
    least_percentile: Annotated[
        float | None,
        typer.Option(
            help="Tiles from this percentile on are suspicious (default: those above their threshold)."
        ),
    ] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress the GeoJSON.")] = False,
    group_key: GroupKey = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Write scored slides as files for QuPath, ASAP and OpenSlide."""

    def stage() -> Outcome:
        more = given_only(formats=formats, tiles=tiles)
        return write_annotations(
            scores, out, archive=archive, slides=slide or (), least_percentile=least_percentile, gzip=gzip,
            group_key=group_key, force=force, **more,
        )  # fmt: skip

    return run_stage(stage, as_json)


def write_annotations(
    scores: Path,
    out: Path,
    formats: Sequence[str] = ("qupath", "asap", "ome-tiff", "tiff"),
    archive: Path | None = None,
    slides: Sequence[str] = (),
    tiles: str = "suspicious",
    least_percentile: float | None = None,
    gzip: bool = False,
    group_key: Path | None = None,
    force: bool = False,
) -> Outcome:
    """Write a file per slide and format into OUT/FORMAT/, and OUT/slides.parquet, which says where each of them lies.

    `scores` is a SCORES folder, or a RUN with one. With `archive` each slide is opened for its bounds; without, slides of formats
    that QuPath cuts to their bounds are refused. `group_key` is the key of a store that was made with --anonymous. A slide that
    cannot be used is refused alone, in OUT/failures.csv. Raises UsageError for scores of another kind, a missing archive or an
    option that means nothing, EsadError where `out` holds something else.
    """
    from esad.pipeline.annotating.folder import Asked, annotations_outcome, finish, is_finished, write_all
    from esad.pipeline.annotating.scored_slides import Archive, scored_slides
    from esad.pipeline.scoring.open_scores import open_scores
    from esad.pipeline.stage.lock import writing_to
    from esad.preprocessing.privacy import read_names

    asked = Asked(tuple(dict.fromkeys(formats)), tiles, gzip, least_percentile, tuple(slides))
    opened = open_scores(scores, whole=True)
    if archive is not None and not archive.is_dir():
        raise UsageError(f"--archive {archive}: no such folder.")
    at_hand = None if archive is None else Archive(archive, read_names(group_key))
    chosen = scored_slides(opened, slides, least_percentile, at_hand, asked.bounded)
    wanted = {"scores": opened.marker, "asked": asked.content(), "archive": archive is not None}
    with writing_to(out):
        if is_finished(out, wanted, force):
            return annotations_outcome(out, asked)
        rows, refused = write_all(out, chosen, asked)
        finish(out, rows, refused, wanted)
    return annotations_outcome(out, asked, refused)


if __name__ == "__main__":
    run_script(command)
