"""Slides: microns per pixel, levels, regions, thumbnails, whichever reader opened them (`readers/opening.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.readers.opening import GENERIC, READ_ERRORS, mpp_by_description, open_handle
from esad.preprocessing.slides.readers.stated_scale import microscopic, mpp_in_words
from esad.preprocessing.slides.readers.tiff_handle import TiffHandle
from esad.preprocessing.slides.resampling import reduce_whole
from esad.preprocessing.slides.series import has_dicom_mark
from esad.preprocessing.slides.tiling import EXACT_TOLERANCE, ReadPlan, plan_reading

SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi", ".dcm",
)  # fmt: skip
BLOCK_PIXELS = 2048
"""Side of the blocks that are read at once, in pixels of the level."""
RETRY_PIXELS = 256
"""A part of an overview that cannot be read is halved down to this side before it is given up."""
UM_PER_UNIT = {"centimeter": 10_000.0, "inch": 25_400.0}
THUMBNAIL_SIDE = 1024


class UnreadableRegion(InputError):
    """A region whose data cannot be decoded; other regions of the slide may be fine."""


class UnknownScale(InputError):
    """A slide whose file does not state its microns per pixel; it can be used once a person gives them."""


class Slide:
    """An open slide. Use as a context manager; reads after a failed read reopen the file."""

    def __init__(self, path: Path, slide_mpp: float | None = None) -> None:
        """Open `path`; `slide_mpp` are the level-0 microns per pixel where the file does not say.

        Raises InputError where no reader can open the file, UnknownScale where no microns per pixel are known.
        """
        self.path, self.slide_mpp = path, slide_mpp
        self.handle = open_handle(path)
        self.width, self.height = self.handle.dimensions
        self.notes: list[str] = list(self.handle.notes) if isinstance(self.handle, TiffHandle) else []
        """What was assumed of the file, and that tifffile read it."""
        self.mpp = self._known_mpp()
        if self.mpp is None:
            self.close()
            raise UnknownScale(self._no_scale())

    @property
    def reader(self) -> str:
        """What reads the file: openslide or tifffile."""
        return "tifffile" if isinstance(self.handle, TiffHandle) else "openslide"

    @property
    def format(self) -> str | None:
        """OpenSlide's vendor, or TIFF and OME-TIFF where tifffile reads it; None for a plain picture."""
        if isinstance(self.handle, TiffHandle):
            return self.handle.layout.kind
        return self.handle.properties.get("openslide.vendor")

    def _known_mpp(self) -> float | None:
        """What the file states, else the person, else OME-XML's objective; None where none does."""
        stated = self._read_mpp()
        if stated is not None or self.slide_mpp is not None or not isinstance(self.handle, TiffHandle):
            return stated or self.slide_mpp
        by_power = self.handle.layout.by_magnification
        if by_power is not None:
            self.notes.append(
                f"{by_power:.3g} um/px by the magnification of its objective: no pixel size is stated"
            )
        return by_power

    def _no_scale(self) -> str:
        told = self.handle.layout.told_of_scale if isinstance(self.handle, TiffHandle) else None
        return (
            f"{self.path.name}: the file does not say its microns per pixel{f' ({told})' if told else ''}; give them with "
            "--slide-mpp."
        )

    def _read_mpp(self) -> float | None:
        """Mean of the two directions, from the scanner's property, the TIFF resolution or description; None where unsaid."""
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
        mean = microscopic(sum(values) / len(values) if values else 0.0)
        if mean is not None and max(values) / min(values) > 1 + EXACT_TOLERANCE:
            self.notes.append(f"pixels of {values[0]:.4g} x {values[1]:.4g} um; the mean is taken")
        if mean is None and self.format == GENERIC:
            return mpp_by_description(self.path)
        return mean or mpp_in_words(properties.get("tiff.ImageDescription", ""))

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
            self.handle = open_handle(self.path)
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

    def block_sides(self, level: int, usual: int) -> tuple[int, int]:
        """Width and height of the blocks that are read at once, in pixels of the level: squares, but of strips."""
        handle = self.handle
        return handle.block_sides(level, usual) if isinstance(handle, TiffHandle) else (usual, usual)

    def _reduced(self, level: int, width: int, height: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
        """The top left width x height pixels of a level, reduced by `factor`, and where they are unreadable (white)."""
        canvas = np.full((-(-height // factor), -(-width // factor), 3), 255, dtype=np.uint8)
        lost = np.zeros(canvas.shape[:2], dtype=bool)
        across, down = (max(1, side // factor) * factor for side in self.block_sides(level, BLOCK_PIXELS))
        for y in range(0, height, down):
            for x in range(0, width, across):
                box = (x, y, min(across, width - x), min(down, height - y))
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
    """RGBA uint8 (H, W, 4) over white, as uint8 (H, W, 3); opaque pixels keep their colour to the bit, as RGB does."""
    if picture.shape[2] == 3:
        return picture
    alpha = picture[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return np.ascontiguousarray(picture[..., :3])
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def is_slide(path: Path) -> bool:
    """Whether the name is a slide's, or the file has no telling name and DICOM's mark at byte 128."""
    if path.suffix.lower() in SUFFIXES:
        return True
    named_by_uid = path.suffix == "" or path.suffix[1:].isdigit()
    return named_by_uid and has_dicom_mark(path)
