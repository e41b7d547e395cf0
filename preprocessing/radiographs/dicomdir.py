"""DICOMDIR: the list of a medium's files (PS3.10 8, PS3.3 F)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pydicom

from esad.preprocessing.errors import InputError
from esad.preprocessing.radiographs.dicom import quiet
from esad.preprocessing.radiographs.dicom_faults import FAULTS, in_words

DICOMDIR = "DICOMDIR"


def listed_images(path: Path) -> tuple[list[str], list[str]]:
    """(images that are there, images that are not) of a DICOMDIR, as paths relative to its folder, sorted.

    Only records of type IMAGE count, and only paths that stay in the folder; where a disc's names lie there in other
    letters (lower case), they are found. InputError where the file is no DICOMDIR.
    """
    try:
        with quiet():
            records = pydicom.dcmread(path).DirectoryRecordSequence
            names = [_relative(record) for record in records if record.get("DirectoryRecordType") == "IMAGE"]
    except FAULTS as error:
        raise InputError(f"{path.name}: not a readable DICOMDIR ({in_words(error)}).") from error
    listed = sorted({name for name in names if name})
    here = {name: name for name in listed if (path.parent / name).is_file()}
    if len(here) < len(listed):
        lower = {
            file.relative_to(path.parent).as_posix().lower(): file.relative_to(path.parent).as_posix()
            for file in path.parent.rglob("*")
            if file.is_file()
        }
        here |= {name: lower[name.lower()] for name in listed if name not in here and name.lower() in lower}
    return sorted(here.values()), [name for name in listed if name not in here]


def _relative(record: pydicom.Dataset) -> str:
    """The record's path with `/`, or an empty text where it has none or it would leave the folder."""
    parts = record.get("ReferencedFileID") or []
    parts = [parts] if isinstance(parts, str) else [str(part) for part in parts]
    path = PurePosixPath(*parts) if parts else PurePosixPath()
    inside = not path.is_absolute() and ".." not in path.parts and not any("\\" in part for part in parts)
    return path.as_posix() if parts and inside else ""
