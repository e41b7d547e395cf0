"""The archive that sources came from: where they lie in it, and the headers of DICOM files."""

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
    """Where the sources are; `names` tells the paths of sources that are called by a hash."""

    root: Path
    names: dict[str, str]

    def header(self, source: str) -> Dataset | None:
        """What a source's DICOM file says, without its pixels; None for another picture; InputError where it is gone."""
        from pydicom import dcmread

        from esad.preprocessing.radiographs.dicom import FAULTS, is_dicom, quiet

        content = self._content(source)
        if not is_dicom(content):
            return None
        try:
            with quiet():
                return dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)
        except FAULTS as error:
            raise InputError(f"{source}: not readable as DICOM ({type(error).__name__}).") from error

    def place(self, source: str) -> Path:
        """Where a source is or would be, a member of a zip below the zip; InputError where that is outside the archive."""
        whole = (self.root / self.names.get(source, source)).resolve()
        if not whole.is_relative_to(self.root.resolve()):
            raise InputError(f"{source}: its path leaves the archive.")
        return whole

    def _content(self, source: str) -> bytes:
        from esad.preprocessing.zips import read_member

        whole = self.place(source)
        packed = [parent for parent in whole.parents if parent.suffix.lower() == ".zip" and parent.is_file()]
        try:
            if packed:
                with zipfile.ZipFile(packed[-1]) as archive:
                    return read_member(archive, whole.relative_to(packed[-1]).as_posix())
            return whole.read_bytes()
        except (OSError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or "not a readable zip"
            raise InputError(f"{source}: not in the archive {self.root} ({reason}).") from error
