"""What a slide's headers say of its levels: sizes, compression, and how each would be read. One pixel a level is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import tifffile
from pydicom.uid import UID

from esad.preprocessing.slides.jpeg_levels import jpeg_levels
from esad.preprocessing.slides.readers.tiff_handle import TiffHandle
from esad.preprocessing.slides.reading import Slide, UnreadableRegion


@dataclass(frozen=True)
class LevelHeader:
    """One level: size in its own pixels, microns per pixel, and what is known without reading it.

    `compression` is the file's own word (JPEG, APERIO_JP2000_RGB, a DICOM transfer syntax), empty where it says none;
    `direct` whether it is of the form that `jpeg_levels` decodes; `readable` whether its middle pixel can be read.
    """

    width: int
    height: int
    mpp: float
    compression: str
    direct: bool
    readable: bool


def level_headers(slide: Slide) -> list[LevelHeader]:
    """All levels of an open slide, finest first."""
    handle = slide.handle
    direct = jpeg_levels(slide.path, str(slide.format), handle.level_dimensions)
    names = _compressions(slide)
    return [
        LevelHeader(
            width, height, float(slide.mpp or 0) * downsample, names.get((width, height), names.get(None, "")),
            number in direct, _readable(slide, number),
        )
        for number, ((width, height), downsample) in enumerate(
            zip(handle.level_dimensions, handle.level_downsamples, strict=True)
        )
    ]  # fmt: skip


def _readable(slide: Slide, level: int) -> bool:
    try:
        slide.region(slide.width // 2, slide.height // 2, level, 1, 1)
    except UnreadableRegion:
        return False
    return True


def _compressions(slide: Slide) -> dict[tuple[int, int] | None, str]:
    """Size of a level -> its compression; under None that of all others. Empty where the file is no TIFF nor DICOM."""
    if isinstance(slide.handle, TiffHandle):
        sizes = slide.handle.level_dimensions
        return {size: slide.handle.compression(number) for number, size in enumerate(sizes)}
    syntax = slide.handle.properties.get("dicom.TransferSyntaxUID")
    if syntax is not None:
        return {None: UID(syntax).name}
    found: dict[tuple[int, int] | None, str] = {}
    try:
        with tifffile.TiffFile(slide.path, is_philips=False, is_svs=False, is_ome=False) as file:
            for page in file.pages:
                if isinstance(page, tifffile.TiffPage):
                    size = (int(page.tags[256].value), int(page.tags[257].value))
                    found.setdefault(size, getattr(page.compression, "name", str(int(page.compression))))
    except Exception:  # noqa: BLE001  any structure may be damaged in any way
        return {}
    return found
