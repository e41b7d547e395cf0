"""Overlays as DICOM files, and the folder that holds them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.exporting.source_archive import SourceArchive
from esad.pipeline.scoring.open_scores import SCORE_AGAIN, Scores
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, InputError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress
from esad.preprocessing.store.reading import check_entries, read_object, read_table

if TYPE_CHECKING:
    from pydicom import Dataset


COLUMNS = (
    "item_id", "source", "group", "view", "score", "reconstruction", "norm", "percentile", "part", "label",
    "pixel_spacing", "hot_x", "hot_y",
)  # fmt: skip
FINISHED = "results.json"
"""Written last, and only where no overlay was refused, so that those are tried again."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def is_finished(out: Path, wanted: dict[str, Any], force: bool) -> bool:
    """Whether `out` holds just these results; EsadError where it holds others or is something else.

    What was begun is begun anew, and `force` replaces other results.
    """
    from esad.preprocessing.store.durable import empty_folder, is_empty
    from esad.preprocessing.store.store import write_json

    settings = out / "settings.json"
    if out.exists() and not is_empty(out):
        if not settings.is_file():
            raise EsadError(f"{out}: exists and holds no DICOM results; choose another --out.")
        before = {} if force else read_object(settings, "replace it with --force.", {})
        difference = first_difference(before, wanted)
        if difference and not force:
            raise EsadError(
                f"{out}: holds other results ({difference}). Choose another --out, or --force to replace them."
            )
        if not force and (out / FINISHED).is_file():
            return True
        empty_folder(out, "settings.json", [FINISHED])
    write_json(settings, wanted)
    return False


def write_dicom_overlays(
    scores: Scores, archive: SourceArchive, folder: Path, with_patient: bool
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """(a row per overlay written: item_id, file and UIDs; (source, reason) of those refused). Highest scores first."""
    from esad.pipeline.exporting.secondary_capture import Overlay, secondary_capture, study_of
    from esad.preprocessing.radiographs.dicom import FAULTS, quiet
    from esad.preprocessing.store.writing import write_bytes

    check_entries(scores.root / "scores.json", scores.marker, SCORE_AGAIN, {"model": str})
    table = scores.table.sort_values(["score", "item_id"], ascending=[False, True], kind="stable")
    shown = [
        row
        for row in table.to_dict("records")
        if (scores.root / "overlays" / f"{row['item_id']}.png").is_file()
    ]
    held_out = (scores.marker.get("thresholds") or {}).get("held_out")
    numbers: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    refused: list[tuple[str, str]] = []
    with progress("overlays to DICOM", len(shown)) as bar:
        for row in shown:
            item, source = str(row["item_id"]), str(row["source"])
            try:
                header = archive.header(source)
                study = study_of(header, item)
                numbers[study] = numbers.get(study, 0) + 1
                overlay = Overlay(
                    _strip(scores.root / "overlays" / f"{item}.png"), item, _placeholder(row), float(row["score"]),
                    float(row["percentile"]), numbers[study], held_out,
                )  # fmt: skip
                with quiet():
                    image = secondary_capture(overlay, header, str(scores.marker["model"]), with_patient)
                    content = in_bytes(image)
            except InputError as error:
                refused.append((source, str(error)))
            except FAULTS as error:
                fault = type(error).__name__
                refused.append((source, f"{source}: its patient attributes cannot be written ({fault})."))
            else:
                write_bytes(folder / f"{item}.dcm", content)
                rows.append(_described(item, image, header))
            bar.advance()
    columns = ["item_id", "dicom", *UIDS, "ReferencedSOPInstanceUID"]
    return pd.DataFrame(rows, columns=columns).astype("str"), refused


def in_bytes(image: Dataset) -> bytes:
    """The file of a DICOM object. It is written apart from this: a full disk is no fault of the object."""
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _strip(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _placeholder(row: dict[str, Any]) -> str:
    """A patient's name that is none: the keyed hash, or the hash of the item where the file named no patient."""
    group = row.get("group")
    return str(group) if isinstance(group, str) and group else str(row["item_id"]).rsplit("-", 1)[-1]


def _described(item: str, image: Dataset, header: Dataset | None) -> dict[str, Any]:
    referred = image.get("SourceImageSequence")
    return {
        "item_id": item, "dicom": f"dicom/{item}.dcm", **{name: str(image.get(name)) for name in UIDS},
        "ReferencedSOPInstanceUID": str(referred[0].ReferencedSOPInstanceUID) if referred else None,
    }  # fmt: skip


def results_table(scores: Scores, described: pd.DataFrame) -> pd.DataFrame:
    """A row a radiograph, the highest score first, with the file and UIDs of its overlay where it has one."""
    columns = [name for name in COLUMNS if name in scores.table]
    ranked = scores.table[columns].sort_values(
        ["score", "item_id"], ascending=[False, True], ignore_index=True
    )
    return ranked.merge(described, on="item_id", how="left")


def write_results(
    out: Path, results: pd.DataFrame, refused: list[tuple[str, str]], wanted: dict[str, Any]
) -> None:
    """results.parquet, results.csv and failures.csv; the mark of a finished folder only where nothing was refused."""
    from esad.preprocessing.store.writing import write_csv, write_json, write_table

    failures = pd.DataFrame(refused, columns=["source", "reason"])
    write_table(out / "results.parquet", results)
    write_csv(out / "results.csv", results)
    write_csv(out / "failures.csv", failures)
    if not refused:
        write_json(out / FINISHED, wanted)


@dataclass(frozen=True)
class Told:
    """How results of a kind are spoken of: `column` names their files, `files` and `items` are said in the plural."""

    column: str
    files: str
    counted: str
    items: str


OVERLAYS = Told("dicom", "{} overlays", "overlays", "radiographs")
SLIDES = Told("annotations", "annotations and heat of {} slides", "slides", "slides")


def results_outcome(
    out: Path, told: Told, refused: list[tuple[str, str]] | None = None, with_patient: bool = False
) -> Outcome:
    """What the folder holds, `told` as its kind is; without `refused` it was finished before."""
    written = read_table(out / "results.parquet", "make it anew with --force.", (told.column,))
    count = int(written[told.column].notna().sum())
    counts = {told.counted: count, "results": len(written)}
    if refused is None:
        return Outcome(out, f"Left alone (finished before) {out}: {count} {told.counted}.", "", 0, counts)
    patients = "with the patients' attributes" if with_patient else "without any patient's attribute"
    message = f"Wrote {out}: {told.files.format(count)} as DICOM, {patients}; results of {len(written)} {told.items}."
    if refused:
        message += f" {len(refused)} refused (first: {refused[0][1]}), see {out / 'failures.csv'}."
    return Outcome(out, message, "", len(refused), counts)
