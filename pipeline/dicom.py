"""`esad dicom SCORES`: results as an image archive takes them: overlays, annotations and heat as DICOM, scores as CSV and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esad.pipeline.stage.command import run_script, run_stage
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.stage.options import Force, GroupKey, Json, Out
from esad.pipeline.stage.outcome import Outcome


def command(
    scores: Annotated[Path, typer.Argument(help="SCORES of radiographs or slides, or their RUN.")],
    archive: Annotated[Path, typer.Option(help="The archive that the store was made of.")],
    out: Out,
    with_patient: Annotated[
        bool, typer.Option("--with-patient", help="Copy patient and study attributes, to file the results.")
    ] = False,
    group_key: GroupKey = None,
    force: Force = False,
    as_json: Json = False,
) -> Outcome:
    """Write results as DICOM: overlays of radiographs; annotations and heat of slides."""
    return run_stage(lambda: dicom(scores, archive, out, with_patient, group_key, force), as_json)


def dicom(
    scores: Path,
    archive: Path,
    out: Path,
    with_patient: bool = False,
    group_key: Path | None = None,
    force: bool = False,
) -> Outcome:
    """Write OUT/dicom/ITEM.dcm for every overlay of radiographs, or NAME-annotations.dcm and NAME-heat.dcm for every slide.

    OUT/results.csv and .parquet have all radiographs, or all slides.
    `scores` is a SCORES folder, or a RUN with one; `archive` what the store was made of, where the sources' headers are
    read; `group_key` the key of a store that was made with --anonymous. `with_patient` copies patient and study attributes,
    which filing in an archive system needs; otherwise there are placeholders (see `esad.pipeline.exporting.secondary_capture`). A source
    that is gone refuses its overlay alone, in OUT/failures.csv. Raises UsageError for scores of another kind or a missing
    archive, EsadError where `out` holds something else.
    """
    from esad.pipeline.annotating.dicom_slides import write_dicom_slides
    from esad.pipeline.annotating.scored_slides import Archive
    from esad.pipeline.exporting.dicom_results import (
        OVERLAYS,
        SLIDES,
        is_finished,
        results_outcome,
        results_table,
        write_dicom_overlays,
        write_results,
    )  # fmt: skip
    from esad.pipeline.exporting.source_archive import SourceArchive
    from esad.pipeline.scoring.open_scores import open_scores
    from esad.pipeline.stage.lock import writing_to
    from esad.preprocessing.privacy import read_names

    opened = open_scores(scores, whole=True)
    if (kind := opened.marker["kind"]) not in ("radiographs", "tiles"):
        raise UsageError(f"{opened.root}: scores of {kind}; DICOM results are of radiographs and slides.")
    if not archive.is_dir():
        raise UsageError(f"--archive {archive}: no such folder.")
    wanted = {"scores": opened.marker, "with_patient": with_patient}
    told = SLIDES if kind == "tiles" else OVERLAYS
    with writing_to(out):
        if is_finished(out, wanted, force):
            return results_outcome(out, told)
        names = read_names(group_key)
        if kind == "tiles":
            results, refused = write_dicom_slides(
                opened, Archive(archive, names), out / "dicom", with_patient
            )
        else:
            read = SourceArchive(archive, names)
            described, refused = write_dicom_overlays(opened, read, out / "dicom", with_patient)
            results = results_table(opened, described)
        write_results(out, results, refused, wanted)
    return results_outcome(out, told, refused, with_patient)


if __name__ == "__main__":
    run_script(command)
