"""`esad dicom SCORES`: results as a radiology system takes them: overlays as DICOM, scores as CSV and Parquet."""

from __future__ import annotations

import io
import shutil
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.evaluate import Scores, open_scores
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import progress

if TYPE_CHECKING:
    from pydicom import Dataset

COLUMNS = (
    "item_id", "source", "group", "view", "score", "reconstruction", "norm", "percentile", "part", "label",
    "pixel_spacing", "hot_x", "hot_y",
)  # fmt: skip
FINISHED = "results.json"
"""Written last, and only where no overlay was refused, so that those are tried again."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class _Archive:
    """Where the radiographs are; `names` tells the paths of sources that are called by a hash."""

    root: Path
    names: dict[str, str]

    def header(self, source: str) -> Dataset | None:
        """What a source's DICOM file says, without its pixels; None for another picture; InputError where it is gone."""
        from pydicom import dcmread

        from esad.preprocessing.radiographs.dicom import FAULTS, MARK, quiet

        content = self._content(self.names.get(source, source), source)
        if content[128:132] != MARK:
            return None
        try:
            with quiet():
                return dcmread(io.BytesIO(content), stop_before_pixels=True)
        except FAULTS as error:
            raise InputError(f"{source}: not readable as DICOM ({type(error).__name__}).") from error

    def _content(self, path: str, called: str) -> bytes:
        from esad.preprocessing.zips import read_member

        whole = (self.root / path).resolve()
        if not whole.is_relative_to(self.root.resolve()):
            raise InputError(f"{called}: its path leaves the archive.")
        packed = [parent for parent in whole.parents if parent.suffix.lower() == ".zip" and parent.is_file()]
        try:
            if packed:
                with zipfile.ZipFile(packed[-1]) as archive:
                    return read_member(archive, whole.relative_to(packed[-1]).as_posix())
            return whole.read_bytes()
        except (OSError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or "not a readable zip"
            raise InputError(f"{called}: not in the archive {self.root} ({reason}).") from error


def dicom(
    scores: Path,
    archive: Path,
    out: Path,
    with_patient: bool = False,
    group_key: Path | None = None,
    force: bool = False,
) -> Outcome:
    """Write OUT/dicom/ITEM.dcm for every overlay of radiographs, and OUT/results.csv and .parquet for all items.

    `scores` is a SCORES folder, or a RUN with one; `archive` what the store was made of, where the sources' headers are
    read; `group_key` the key of a store that was made with --anonymous. `with_patient` copies patient and study attributes,
    which filing in an archive system needs; otherwise there are placeholders (see `esad.pipeline.exporting.secondary_capture`). A source
    that is gone refuses its overlay alone, in OUT/failures.csv. Raises UsageError for scores of another kind or a missing
    archive, EsadError where `out` holds something else.
    """
    from esad.preprocessing.privacy import read_names
    from esad.preprocessing.store.store import write_atomically, write_json, write_table

    opened = open_scores(scores)
    if opened.marker["kind"] != "radiographs":
        raise UsageError(
            f"{opened.root}: scores of {opened.marker['kind']}; DICOM results are of radiographs."
        )
    if not archive.is_dir():
        raise UsageError(f"--archive {archive}: no such folder.")
    wanted = {"scores": opened.marker, "with_patient": with_patient}
    if _is_finished(out, wanted, force):
        found = pd.read_parquet(out / "results.parquet", columns=["dicom"])
        counts = {"overlays": int(found["dicom"].notna().sum()), "results": len(found)}
        return Outcome(
            out, f"Left alone (finished before) {out}: {counts['overlays']} overlays.", "", 0, counts
        )
    read = _Archive(archive, read_names(group_key))
    described, refused = _write_overlays(opened, read, out / "dicom", with_patient)
    columns = [name for name in COLUMNS if name in opened.table]
    ranked = opened.table[columns].sort_values(
        ["score", "item_id"], ascending=[False, True], ignore_index=True
    )
    results = ranked.merge(described, on="item_id", how="left")
    failures = pd.DataFrame(refused, columns=["source", "reason"])
    write_table(out / "results.parquet", results)
    write_atomically(out / "results.csv", lambda path: results.to_csv(path, index=False))
    write_atomically(out / "failures.csv", lambda path: failures.to_csv(path, index=False))
    if not refused:
        write_json(out / FINISHED, wanted)
    told = "with the patients' attributes" if with_patient else "without any patient's attribute"
    message = (
        f"Wrote {out}: {len(described)} overlays as DICOM, {told}; results of {len(results)} radiographs."
    )
    if refused:
        message += f" {len(refused)} refused (first: {refused[0][1]}), see {out / 'failures.csv'}."
    return Outcome(out, message, "", len(refused), {"overlays": len(described), "results": len(results)})


def _is_finished(out: Path, wanted: dict[str, Any], force: bool) -> bool:
    """Whether `out` holds just these results; EsadError where it holds others or is something else.

    What was begun is begun anew, and `force` replaces other results.
    """
    import json

    from esad.preprocessing.store.store import write_json

    settings = out / "settings.json"
    if out.exists() and any(out.iterdir()):
        if not settings.is_file():
            raise EsadError(f"{out}: exists and holds no DICOM results; choose another --out.")
        difference = first_difference(json.loads(settings.read_text(encoding="utf-8")), wanted)
        if difference and not force:
            raise EsadError(
                f"{out}: holds other results ({difference}). Choose another --out, or --force to replace them."
            )
        if not force and (out / FINISHED).is_file():
            return True
        shutil.rmtree(out)
    write_json(settings, wanted)
    return False


def _write_overlays(
    scores: Scores, archive: _Archive, folder: Path, with_patient: bool
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """(a row per overlay written: item_id, file and UIDs; (source, reason) of those refused). Highest scores first."""
    from esad.pipeline.exporting.secondary_capture import Overlay, secondary_capture, study_of
    from esad.preprocessing.radiographs.dicom import FAULTS, quiet
    from esad.preprocessing.store.store import write_atomically

    table = scores.table.sort_values(["score", "item_id"], ascending=[False, True], kind="stable")
    shown = [
        row
        for row in table.to_dict("records")
        if (scores.root / "overlays" / f"{row['item_id']}.png").is_file()
    ]
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
                    float(row["percentile"]), numbers[study],
                )  # fmt: skip
                with quiet():
                    image = secondary_capture(overlay, header, str(scores.marker["model"]), with_patient)
                    write_atomically(
                        folder / f"{item}.dcm",
                        partial(image.save_as, enforce_file_format=True),
                    )
            except InputError as error:
                refused.append((source, str(error)))
            except FAULTS as error:
                fault = type(error).__name__
                refused.append((source, f"{source}: its patient attributes cannot be written ({fault})."))
            else:
                rows.append(_described(item, image, header))
            bar.advance()
    columns = ["item_id", "dicom", *UIDS, "ReferencedSOPInstanceUID"]
    return pd.DataFrame(rows, columns=columns).astype("str"), refused


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


if __name__ == "__main__":
    from esad.pipeline.cli.app import main

    main(["dicom", *sys.argv[1:]])
