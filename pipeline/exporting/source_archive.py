"""The archive that radiographs came from: headers of their DICOM files."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.stage.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class SourceArchive:
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
