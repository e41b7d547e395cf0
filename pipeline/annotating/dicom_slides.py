"""DICOM results of slides: a file of annotations and one of heat for each, and the table of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from esad.pipeline.annotating.candidate_shapes import candidate_shapes
from esad.pipeline.annotating.dicom_objects import bulk_annotations, heat_map
from esad.pipeline.annotating.dicom_source import referred, slide_header
from esad.pipeline.annotating.scored_slides import Archive, ScoredSlides, scored_slides
from esad.pipeline.exporting.dicom_results import in_bytes
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, Scores
from esad.pipeline.stage.errors import InputError
from esad.pipeline.stage.progress import progress
from esad.preprocessing.store.reading import check_entries, read_table
from esad.preprocessing.store.store import item_id
from esad.preprocessing.store.writing import write_bytes

if TYPE_CHECKING:
    from pydicom import Dataset

COLUMNS = (
    "source", "max", "top_mean", "p99", "suspicious", "candidates", "annotations", "heat", "StudyInstanceUID",
    "AnnotationsSOPInstanceUID", "HeatSOPInstanceUID", "ReferencedSOPInstanceUID",
)  # fmt: skip


def write_dicom_slides(
    scores: Scores, archive: Archive, folder: Path, with_patient: bool
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Write FOLDER/NAME-annotations.dcm and NAME-heat.dcm of each slide; (a row for each, (source, reason) of those refused).

    All slides have a row, the highest first; those that were refused have no files. A slide that is no DICOM file is refused. Raises
    EsadError where the scores are damaged.
    """
    check_entries(scores.root / "scores.json", scores.marker, SCORE_AGAIN, {"model": str})
    slides = scored_slides(scores, (), None, None, bounded=False)
    model, refused = str(scores.marker["model"]), []
    rows: dict[str, dict[str, Any]] = {}
    with progress("slides to DICOM", len(slides.slides)) as bar:
        for source, tiles in slides:
            try:
                rows[source] = _write(slides, source, tiles, archive, folder, model, with_patient)
            except InputError as error:
                refused.append((source, str(error)))
            bar.advance(note=source)
    stated = read_table(scores.root / "slides.parquet", SCORE_AGAIN, COLUMNS[:5])
    table = stated[list(COLUMNS[:5])].sort_values(
        ["max", "source"], ascending=[False, True], ignore_index=True
    )
    written = [rows.get(str(source), {}) for source in table["source"]]
    for name in COLUMNS[5:]:
        table[name] = pd.array(
            [row.get(name) for row in written], dtype="Int64" if name == "candidates" else "string"
        )
    return table, refused


def _write(
    slides: ScoredSlides,
    source: str,
    tiles: pd.DataFrame,
    archive: Archive,
    folder: Path,
    model: str,
    with_patient: bool,
) -> dict[str, Any]:
    """Both files of a slide; what the table says of them."""
    from esad.preprocessing.radiographs.dicom import FAULTS, quiet

    slide = slides.opened(source, tiles)
    header = slide_header(archive.path(source), source, slide.size)
    files: dict[str, Dataset] = {}
    contents: dict[str, bytes] = {}
    try:
        with quiet():
            refers = referred(header, item_id(source, "slide").rsplit("-", 1)[-1], with_patient)
            files = {
                "annotations": bulk_annotations(slide, refers, model),
                "heat": heat_map(slide, refers, model),
            }
            for kind, image in files.items():
                if not with_patient:
                    image.PatientIdentityRemoved = "YES"
                    image.DeidentificationMethod = "No patient attribute copied"
                contents[kind] = in_bytes(image)
    except FAULTS as error:
        raise InputError(
            f"{source}: its DICOM attributes cannot be written ({type(error).__name__})."
        ) from error
    for kind, content in contents.items():
        write_bytes(folder / f"{slide.name}-{kind}.dcm", content)
    return {
        "candidates": len(candidate_shapes(slide.tiles[slide.suspicious])),
        "annotations": f"{folder.name}/{slide.name}-annotations.dcm", "heat": f"{folder.name}/{slide.name}-heat.dcm",
        "StudyInstanceUID": str(header.StudyInstanceUID), "AnnotationsSOPInstanceUID": str(files["annotations"].SOPInstanceUID),
        "HeatSOPInstanceUID": str(files["heat"].SOPInstanceUID), "ReferencedSOPInstanceUID": str(header.SOPInstanceUID),
    }  # fmt: skip
