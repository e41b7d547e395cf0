"""Slides through OpenSlide: microns per pixel, levels, regions, thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import openslide
from PIL import Image
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.resampling import reduce_whole
from esad.preprocessing.slides.tiling import ReadPlan, plan_reading

SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi", ".dcm",
)  # fmt: skip
BLOCK_PIXELS = 2048
"""Side of the blocks that are read at once, in pixels of the level."""
RETRY_PIXELS = 256
"""A part of an overview that cannot be read is halved down to this side before it is given up."""
UM_PER_UNIT = {"centimeter": 10_000.0, "inch": 25_400.0}
MICROSCOPIC = (0.01, 20.0)
"""Microns per pixel that a slide can have; print resolutions (300 dpi = 85 um) lie outside."""
THUMBNAIL_SIDE = 1024
READ_ERRORS = (openslide.OpenSlideError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What OpenSlide, and Pillow for plain pictures, raise on a damaged file."""
SERIES_UID = 0x0020000E


class UnreadableRegion(InputError):
    """A region whose data cannot be decoded; other regions of the slide may be fine."""


class UnknownScale(InputError):
    """A slide whose file does not state its microns per pixel; it can be used once a person gives them."""


class Slide:
    """An open slide. Use as a context manager; reads after a failed read reopen the file."""

    def __init__(self, path: Path, slide_mpp: float | None = None) -> None:
        """Open `path`; `slide_mpp` are the level-0 microns per pixel where the file does not say.

        Raises InputError where OpenSlide cannot open the file, UnknownScale where no microns per pixel are known.
        """
        self.path, self.slide_mpp = path, slide_mpp
        self._open()
        self.width, self.height = self.handle.dimensions
        self.mpp = self._read_mpp() or slide_mpp
        if self.mpp is None:
            self.close()
            raise UnknownScale(
                f"{path.name}: the file does not say its microns per pixel; give them with --slide-mpp."
            )

    def _open(self) -> None:
        try:
            self.handle = openslide.open_slide(self.path)
            if isinstance(self.handle, openslide.ImageSlide):  # a plain picture is decoded as a whole, or not
                self.handle.read_region((0, 0), 0, (1, 1))
        except READ_ERRORS as error:
            raise InputError(f"{self.path.name}: OpenSlide cannot open it as a slide ({error}).") from error

    def _read_mpp(self) -> float | None:
        """Mean of the two directions, from the scanner's property or the TIFF resolution; None where unsaid."""
        properties = self.handle.properties
        values: list[float] = []
        for axis, tag in (("x", "tiff.XResolution"), ("y", "tiff.YResolution")):
            text = properties.get(f"openslide.mpp-{axis}")
            unit = UM_PER_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
            try:
                if text is not None:
                    values.append(float(text))
                elif unit and tag in properties:
                    values.append(unit / float(properties[tag]))
            except (ValueError, ZeroDivisionError):
                continue
        mean = sum(values) / len(values) if values else 0.0
        return mean if MICROSCOPIC[0] < mean < MICROSCOPIC[1] else None

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.handle.close()

    def plan_downsample(self, downsample: int) -> ReadPlan:
        """How to read at exactly `downsample` level-0 pixels a tile pixel, from the coarsest level that allows it."""
        steps = [round(step, 3) for step in self.handle.level_downsamples]
        usable = [number for number, step in enumerate(steps) if (downsample / step).is_integer()]
        level = usable[-1]
        reduction = downsample / steps[level]
        return ReadPlan(level, downsample / reduction, reduction, float(self.mpp or 0) * downsample)

    def plan(self, wanted: float, exact: bool) -> ReadPlan:
        """See `tiling.plan_reading`; InputError where the slide is coarser than wanted."""
        try:
            return plan_reading(float(self.mpp or 0), tuple(self.handle.level_downsamples), wanted, exact)
        except ValueError as error:
            raise InputError(
                f"{self.path.name}: {error}; tiles are never enlarged. Ask for a lower magnification."
            ) from error

    def region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3), alpha laid on white: `x`, `y` in level-0 pixels, the size in pixels of `level`.

        Raises UnreadableRegion where the data cannot be decoded; the file is opened anew for the next read, because
        an OpenSlide handle stays broken after an error.
        """
        try:
            return on_white(np.asarray(self.handle.read_region((x, y), level, (width, height))))
        except READ_ERRORS as error:
            self.close()
            self._open()
            raise UnreadableRegion(
                f"{self.path.name}: {width} x {height} pixels at ({x}, {y}) of level {level} cannot be read ({error})."
            ) from error

    def thumbnail(self, side: int = THUMBNAIL_SIDE) -> tuple[np.ndarray, np.ndarray]:
        """The whole slide small: uint8 (h, w, 3), longer side at most `side`; bool (h, w) where it is unreadable.

        Read in blocks from the smallest level that is large enough, so that a slide of one level fits in memory;
        what cannot be read is white.
        """
        level = self.handle.get_best_level_for_downsample(max(max(self.width, self.height) / side, 1.0))
        width, height = self.handle.level_dimensions[level]
        factor = max(1, max(width, height) // (2 * side))
        canvas, lost = self._reduced(level, width, height, factor)
        scale = min(1.0, side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        covered = (0, 0, width / factor, height / factor)
        small = Image.fromarray(canvas).resize(size, Image.Resampling.BOX, box=covered)
        unread = Image.fromarray(lost.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX, box=covered)
        return np.asarray(small), np.asarray(unread) > 0

    def overview(self, downsample: int) -> np.ndarray:
        """The whole slide at `downsample` level-0 pixels a pixel: uint8 (height // downsample, width // downsample, 3).

        Its level of that downsample, or the next finer one reduced by whole pixels. What cannot be read is white.
        """
        factors = [downsample / round(step) for step in self.handle.level_downsamples]
        level = max(number for number, factor in enumerate(factors) if factor >= 1 and factor.is_integer())
        factor = int(factors[level])
        width, height = self.width // downsample, self.height // downsample
        return self._reduced(level, width * factor, height * factor, factor)[0][:height, :width]

    def _reduced(self, level: int, width: int, height: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
        """The top left width x height pixels of a level, reduced by `factor`, and where they are unreadable (white)."""
        canvas = np.full((-(-height // factor), -(-width // factor), 3), 255, dtype=np.uint8)
        lost = np.zeros(canvas.shape[:2], dtype=bool)
        block = max(1, BLOCK_PIXELS // factor) * factor
        for y in range(0, height, block):
            for x in range(0, width, block):
                box = (x, y, min(block, width - x), min(block, height - y))
                for left, top, columns, rows, part in self._pieces(level, *box, factor):
                    place = np.s_[
                        top // factor : -(-(top + rows) // factor),
                        left // factor : -(-(left + columns) // factor),
                    ]
                    if part is None:
                        lost[place] = True
                    else:
                        canvas[place] = reduce_whole(part, factor)
        return canvas, lost

    def _pieces(
        self, level: int, x: int, y: int, width: int, height: int, factor: int
    ) -> Iterator[tuple[int, int, int, int, np.ndarray | None]]:
        """(x, y, width, height, picture or None where unreadable) of a box in level pixels, in as few parts as can be."""
        downsample = self.handle.level_downsamples[level]
        try:
            picture = self.region(round(x * downsample), round(y * downsample), level, width, height)
            yield x, y, width, height, picture
            return
        except UnreadableRegion:
            if max(width, height) <= max(RETRY_PIXELS, factor):
                yield x, y, width, height, None
                return
        half = -(-max(width, height) // (2 * factor)) * factor
        for top in range(y, y + height, half):
            for left in range(x, x + width, half):
                box = (left, top, min(half, x + width - left), min(half, y + height - top))
                yield from self._pieces(level, *box, factor)


def on_white(picture: np.ndarray) -> np.ndarray:
    """RGBA uint8 (H, W, 4) over white, as uint8 (H, W, 3); opaque pixels keep their colour to the bit."""
    alpha = picture[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return np.ascontiguousarray(picture[..., :3])
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def is_slide(path: Path) -> bool:
    """Whether the name is a slide's, or the file has no telling name and DICOM's mark at byte 128."""
    if path.suffix.lower() in SUFFIXES:
        return True
    named_by_uid = path.suffix == "" or path.suffix[1:].isdigit()
    return named_by_uid and _has_dicom_mark(path)


def _has_dicom_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _series(path: Path) -> tuple[str, bool] | None:
    """Series UID of a DICOM file and whether it holds a level of the slide (no label, no overview), or None."""
    try:
        with path.open("rb") as file:
            header = read_partial(file, stop_when=lambda tag, vr, length: int(tag) > SERIES_UID)
    except (InvalidDicomError, OSError, ValueError, EOFError, NotImplementedError):
        return None  # opening it as a slide will say what is wrong
    uid = str(header.get("SeriesInstanceUID", ""))
    kind = header.get("ImageType", [])
    return (uid, "VOLUME" in list(kind)) if uid else None


def one_per_series(archive: Path, sources: Iterable[str]) -> list[str]:
    """`sources` (relative to `archive`) with one file for each DICOM series of a folder, in the same order.

    OpenSlide opens all files of a series in a folder as one slide, whichever it is given: taken one by one they
    would be the same slide again and again. The first file that holds a level stands for the series.
    """
    sources = list(sources)
    chosen: dict[tuple[str, str], tuple[bool, str]] = {}
    others: set[str] = set()
    for source in sources:
        path = archive / source
        found = _series(path) if _has_dicom_mark(path) else None
        if found is None:
            continue
        key = (str(path.parent), found[0])
        before = chosen.get(key)
        if before is None or (found[1] and not before[0]):
            chosen[key] = (found[1], source)
            others |= {before[1]} if before else set()
        else:
            others.add(source)
    return [source for source in sources if source not in others]
