"""Radiographs from DICOM and from pictures: what a file says of itself, and one grey picture, bright where dense.

The stored picture is taken as it lies: nothing is rotated, mirrored or masked, but as the EXIF orientation of a picture
says, which every viewer follows. What PatientOrientation and
BurnedInAnnotation state is passed on; FieldOfViewRotation and FieldOfViewHorizontalFlip tell how the picture lay on the
detector, not how it is stored, and are not used. Collimation borders and burnt-in text fall away outside the central
square (`radiograph_squares`), inside it they stay.
"""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.pictures import MOST_PIXELS, decode
from esad.preprocessing.radiographs.dicom import MARK, DicomFile, read_dicom
from esad.preprocessing.radiographs.dicom_pixels import GreyPicture
from esad.preprocessing.radiographs.dicomdir import DICOMDIR
from esad.preprocessing.zips import file_names, read_member

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2")
SUFFIXES = (*PICTURES, ".dcm", ".dicom")
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


@dataclass(frozen=True)
class PictureFile:
    """A file of PICTURES, not yet decoded; it says nothing of itself (the fields are those of `DicomFile`)."""

    name: str
    _content: bytes = field(repr=False)
    view: str | None = None
    patient: str | None = None
    spacing: float | None = None
    orientation: str | None = None
    burned_in: bool = False
    unfit: str | None = None
    doubts: tuple[str, ...] = ()

    def pixels(self) -> np.ndarray:
        """uint8 (H, W): `picture` without its notes."""
        return self.picture().pixels

    def picture(self) -> GreyPicture:
        """As a viewer shows it (`esad.preprocessing.pictures`); colour becomes grey by BT.601. InputError else."""
        if _is_plain_png(self._content):  # libpng itself is a fifth faster than Pillow, to the same pixels
            with contextlib.suppress(imagecodecs.PngError):
                pixels = imagecodecs.png_decode(self._content)
                if pixels.ndim == 2:  # else it has a transparent grey
                    return GreyPicture(pixels)
        picture = decode(self._content, self.name, "grey")
        return GreyPicture(picture.pixels[..., 0], picture.notes)


def is_radiograph(path: Path) -> bool:
    """Whether a folder's file is read: by its ending, or DICOM's mark under any name; a DICOMDIR only lists others.

    Archives name files by their UID, so that an ending such as `.850819` says nothing.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.name.upper() == DICOMDIR:
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == MARK


def zip_radiographs(path: Path) -> list[str]:
    """Names of the radiographs in a zip, sorted, known as `is_radiograph` knows files; InputError where it has none."""
    everything = file_names(path)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in everything if _is_radiograph_member(archive, name)]
    if not names:
        raise InputError(f"{path.name}: holds no radiographs ({', '.join(SUFFIXES)}, or DICOM of any name).")
    return names


def _is_radiograph_member(archive: zipfile.ZipFile, name: str) -> bool:
    if Path(name).suffix.lower() in SUFFIXES:
        return True
    try:
        return Path(name).name.upper() != DICOMDIR and read_member(archive, name, 132)[128:] == MARK
    except InputError:  # a damaged file of unknown kind is nobody's radiograph
        return False


def read_radiograph(content: bytes, name: str) -> PictureFile | DicomFile:
    """What the bytes of a file called `name` say of themselves; InputError for what is neither picture nor DICOM.

    The content decides, and where it tells nothing the ending of the name.
    """
    if content.startswith((PNG, JPEG)) or (content[128:132] != MARK and name.lower().endswith(PICTURES)):
        return PictureFile(name, content)
    return read_dicom(content, name)


def _is_plain_png(content: bytes) -> bool:
    """Whether it is a PNG of 8-bit grey, no more pixels than are read, and no EXIF, by its header (PNG 11.2.2)."""
    if not content.startswith(PNG) or len(content) < 33:
        return False
    width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    return (
        content[24] == 8
        and content[25] == 0
        and 0 < width * height <= MOST_PIXELS
        and b"eXIf" not in _png_chunks(content)
    )


def _png_chunks(content: bytes) -> set[bytes]:
    """Types of a PNG's chunks, as far as each begins where the one before it ends (PNG 5.3)."""
    found, place = set(), len(PNG)
    while place + 12 <= len(content):
        found.add(content[place + 4 : place + 8])
        place += 12 + int.from_bytes(content[place : place + 4])
    return found
