"""Which reader opens a slide: OpenSlide where it can, tifffile for OME-TIFF and for TIFF that OpenSlide cannot."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TypeVar

import openslide
import tifffile
from PIL import Image

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.readers.ome import is_ome
from esad.preprocessing.slides.readers.tiff_handle import TiffHandle
from esad.preprocessing.slides.readers.tiff_layout import (
    MOST_DIRECTORIES,
    MOST_SEGMENT_BYTES,
    MOST_SIDE,
    YCBCR,
    Refused,
    check_colour,
    described_mpp,
)

Opened = TypeVar("Opened", openslide.AbstractSlide, TiffHandle)
Handle = openslide.AbstractSlide | TiffHandle
READ_ERRORS = (openslide.OpenSlideError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What OpenSlide, tifffile's handle, and Pillow for plain pictures, raise on a damaged file."""
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of TIFF and BigTIFF, in both byte orders."""
GENERIC = "generic-tiff"
PLAIN_VENDORS = (None, GENERIC, "aperio")
"""Where OpenSlide names another one, tiles may overlap or be shifted, which only OpenSlide knows."""
UID = re.compile(r"\b[0-2](\.\d+){4,}\b")
WHAT_IS_READ = (
    "Slides are read in all formats of OpenSlide (SVS, NDPI, MRXS, SCN, BIF, DICOM, ...), and as TIFF, BigTIFF or OME-TIFF of "
    "red, green and blue, 8 to 16 bits; check that the copy is complete, or save the slide as one of these (with QuPath, vips or "
    "bfconvert)."
)
PIXELS_PER_BYTE = 20_000
MANY_PIXELS = 1 << 28
MOST_PIXELS = 1 << 38
"""2.7e11: eight times the largest slides. A smaller one, too, is not believed if its file has a byte for 20 000 pixels of it,
ten times what empty tiles of 512 pixels as JPEG take."""


def open_handle(path: Path) -> Handle:
    """`path` opened by the reader that fits it; InputError, with what each reader says, where none can.

    OME-TIFF, pyramids in SubIFDs, samples of more than 8 bits, turned pictures and those without red, green and blue go to
    tifffile also where OpenSlide opens them: it takes the first image for the slide, one level, a channel for the whole, and
    makes colours of any values. The answer does not hang on whether the picture is tiled.
    """
    vendor = _vendor(path)
    is_tiff = _starts_as_tiff(path)
    needs_tifffile, giant = _look(path) if is_tiff else (False, None)
    if giant is not None:
        raise InputError(
            f"{path.name}: declares tiles of {giant[0]} x {giant[1]} pixels, which is not believed. {WHAT_IS_READ}"
        )
    if is_tiff and (vendor is None or (vendor == GENERIC and needs_tifffile)):
        return _by_tifffile(path, None if vendor else "Unsupported or missing image file")
    try:
        return _checked(_by_openslide(path), path)
    except READ_ERRORS as error:
        told = UID.sub("(UID)", str(error))
        if is_tiff and vendor in PLAIN_VENDORS:
            return _by_tifffile(path, told)
        raise InputError(
            f"{path.name}: OpenSlide cannot open it as a slide ({told}). {WHAT_IS_READ}"
        ) from error


def _by_openslide(path: Path) -> openslide.AbstractSlide:
    handle = openslide.open_slide(path)
    if isinstance(handle, openslide.ImageSlide):  # a plain picture is decoded as a whole, or not
        handle.read_region((0, 0), 0, (1, 1))
    return handle


def _by_tifffile(path: Path, openslide_said: str | None) -> TiffHandle:
    try:
        return _checked(TiffHandle(path), path)
    except Refused as error:
        other = "" if openslide_said is None else f"OpenSlide cannot open it ({openslide_said}), and "
        raise InputError(
            f"{path.name}: {other}tifffile cannot read it as a slide: {error}. {WHAT_IS_READ}"
        ) from error


def _checked(handle: Opened, path: Path) -> Opened:
    """`handle`, closed and InputError where no file of this size can hold so many pixels."""
    width, height = handle.dimensions
    pixels, size = width * height, path.stat().st_size
    if (
        pixels > MOST_PIXELS
        or max(width, height) > MOST_SIDE
        or (pixels > MANY_PIXELS and pixels > PIXELS_PER_BYTE * size)
    ):
        handle.close()
        raise InputError(
            f"{path.name}: declares {width} x {height} pixels in {size} bytes, which is not believed. {WHAT_IS_READ}"
        )
    return handle


def _vendor(path: Path) -> str | None:
    """OpenSlide's name for the format; None where it knows none."""
    try:
        found = openslide.OpenSlide.detect_format(path)
    except READ_ERRORS:
        return None
    return None if found is None else str(found)


def _starts_as_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in TIFF_MARKS
    except OSError:
        return False


def _look(path: Path) -> tuple[bool, tuple[int, int] | None]:
    """(whether OpenSlide would open the TIFF and miss what it is, see `open_handle`; a tile's
    size that cannot be: OpenSlide ends the process where it finds no memory for one)."""
    needs_tifffile = False
    try:
        with tifffile.TiffFile(path, is_ome=False, is_svs=False, is_philips=False, is_imagej=False) as file:
            for number, page in enumerate(itertools.islice(file.pages, MOST_DIRECTORIES)):
                if not isinstance(page, tifffile.TiffPage):
                    continue
                if number == 0:
                    deep = isinstance(page.bitspersample, int) and page.bitspersample > 8
                    needs_tifffile = is_ome(page.description) or bool(page.subifds) or deep or _is_odd(page)
                size = (int(page.tilewidth), int(page.tilelength))
                if page.is_tiled and 4 * size[0] * size[1] > MOST_SEGMENT_BYTES:
                    return needs_tifffile, size
    except Exception:  # noqa: BLE001  any structure may be damaged in any way; OpenSlide decides
        pass
    return needs_tifffile, None


def _is_odd(page: tifffile.TiffPage) -> bool:
    """Whether tifffile's reader refuses the page for its colours or its orientation; plain YCbCr is OpenSlide's."""
    try:
        check_colour(page, stated=False)
    except Refused:
        return int(page.photometric) != YCBCR or page.tags.valueof(274, default=1) not in (0, 1)
    return False


def mpp_by_description(path: Path) -> float | None:
    """Microns per pixel by the descriptions of a plain TIFF's first image, as tifffile's reader finds them; else None."""
    if not _starts_as_tiff(path):
        return None
    try:
        with tifffile.TiffFile(path, is_ome=False, is_svs=False, is_philips=False, is_imagej=False) as file:
            return described_mpp(file.pages.first)
    except Exception:  # noqa: BLE001  any structure may be damaged in any way; then it states nothing
        return None
