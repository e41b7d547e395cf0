"""Slides through OpenSlide: microns per pixel, levels, regions, thumbnails."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import openslide
from PIL import Image
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

from preprocessing.errors import InputError
from preprocessing.jpeg_levels import JpegLevel, NotDirect, jpeg_levels
from preprocessing.resampling import cut_tiles, reduce_whole, resample_area
from preprocessing.tiling import ReadPlan, plan_reading

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


class Slide:
    """An open slide. Use as a context manager; reads after a failed read reopen the file."""

    def __init__(self, path: Path, slide_mpp: float | None = None) -> None:
        """Open `path`; `slide_mpp` are the level-0 microns per pixel where the file does not say.

        Raises InputError where OpenSlide cannot open the file, or no microns per pixel are known.
        """
        self.path = path
        self.reader = "openslide"
        """What the last `read_tiles` read with: jpeg, openslide, or jpeg+openslide."""
        self._direct: dict[int, JpegLevel | None] = {}
        self._open()
        self.width, self.height = self.handle.dimensions
        self.mpp = self._read_mpp() or slide_mpp
        if self.mpp is None:
            self.close()
            raise InputError(
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

    def read_tiles(
        self, corners: np.ndarray, plan: ReadPlan, tile_size: int, out: np.ndarray, threads: int = 1
    ) -> np.ndarray:
        """Read tiles into `out` uint8 (N, tile_size, tile_size, 3); bool (N,), which of them could be read.

        `corners` (N, 2) x, y in level-0 pixels. Levels of JPEG tiles are decoded directly by `threads` threads, all
        else block by block through OpenSlide; `reader` says which. Tiles of one block are cut from one read; where
        that fails each of its tiles is tried alone, so that one corrupt place costs the tiles that it touches and no
        more. Where a level's downsample is not whole (4.0001) the direct path takes the nearest pixel of the level,
        while OpenSlide places a read between pixels and blends by up to 1 / downsample pixels.
        """
        read = np.zeros(len(corners), dtype=bool)
        if not len(corners):
            return read
        whole = plan.reduction == round(plan.reduction)
        level = self._direct_level(plan.level) if whole else None
        self.reader = "openslide" if level is None else "jpeg"
        if level is None:
            left = self._blocks(corners, plan, tile_size, (BLOCK_PIXELS, BLOCK_PIXELS))
        else:
            left = self._read_directly(level, corners, plan, tile_size, out, read, threads)
            self.reader += "+openslide" if left else ""
        for members in left:
            for member, picture in self._block(members, corners, plan, tile_size):
                if picture is not None:
                    out[member], read[member] = picture, True
        return read

    def _direct_level(self, number: int) -> JpegLevel | None:
        """The level as one that can be decoded directly, if its first tile comes out as OpenSlide reads it."""
        if number not in self._direct:
            vendor = str(self.handle.properties.get("openslide.vendor"))
            level = jpeg_levels(self.path, vendor, self.handle.level_dimensions).get(number)
            self._direct[number] = level if level is not None and self._agrees(level, number) else None
        return self._direct[number]

    def _agrees(self, level: JpegLevel, number: int) -> bool:
        there = np.flatnonzero(level.counts)
        if not len(there):
            return False
        row, column = divmod(int(there[0]), level.across)
        x, y = column * level.tile_width, row * level.tile_height
        width, height = min(level.tile_width, level.width - x), min(level.tile_height, level.height - y)
        downsample = self.handle.level_downsamples[number]
        if (x or y) and downsample != round(downsample):
            return False
        try:
            with level.open() as reader:
                ours = reader.region(x, y, width, height)
            return np.array_equal(
                ours, self.region(round(x * downsample), round(y * downsample), number, width, height)
            )
        except (NotDirect, UnreadableRegion, OSError):
            return False

    def _read_directly(
        self,
        level: JpegLevel,
        corners: np.ndarray,
        plan: ReadPlan,
        tile_size: int,
        out: np.ndarray,
        read: np.ndarray,
        threads: int,
    ) -> list[np.ndarray]:
        """Fill `out` and `read`; returns the blocks that are left to OpenSlide."""
        places = np.round(corners / plan.level_downsample).astype(np.int64)
        extent, own = tile_size * int(plan.reduction), threading.local()
        blocks = self._blocks(corners, plan, tile_size, (level.tile_width, level.tile_height))

        def work(members: np.ndarray) -> np.ndarray | None:
            if not hasattr(own, "reader"):
                own.reader = stack.enter_context(level.open())
            low, high = places[members].min(0), places[members].max(0) + extent
            try:
                block = own.reader.region(*low, *(high - low))
            except (NotDirect, OSError):
                return members
            lefts, tops = (places[members] - low).T
            cut_tiles(block, lefts, tops, int(plan.reduction), members, out)
            read[members] = True
            return None

        with ExitStack() as stack, ThreadPoolExecutor(threads) as pool:
            return [members for members in pool.map(work, blocks) if members is not None]

    def _blocks(
        self, corners: np.ndarray, plan: ReadPlan, tile_size: int, sides: tuple[int, int]
    ) -> list[np.ndarray]:
        """Positions of the tiles block by block: of about `sides` (width, height) level pixels, whole tiles each."""
        extent = tile_size * plan.reduction
        if any(side % extent for side in sides):
            sides = (BLOCK_PIXELS, BLOCK_PIXELS)
        per_block = [max(1, int(side / extent)) for side in sides]
        blocks = np.floor((corners + 0.5) / (tile_size * plan.downsample * np.array(per_block))).astype(
            np.int64
        )
        order = np.lexsort((blocks[:, 0], blocks[:, 1]))
        ends = np.flatnonzero((np.diff(blocks[order], axis=0) != 0).any(1)) + 1
        return np.split(order, ends)

    def _block(
        self, members: np.ndarray, corners: np.ndarray, plan: ReadPlan, tile_size: int
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        origin = corners[members].min(0)
        offsets = (corners[members] - origin) / plan.level_downsample
        whole = plan.reduction == round(plan.reduction)
        if whole:
            offsets = np.round(offsets)
        extent = tile_size * plan.reduction
        width, height = np.ceil(offsets.max(0) + extent - 1e-6).astype(int)
        try:
            block = self.region(int(origin[0]), int(origin[1]), plan.level, int(width), int(height))
        except UnreadableRegion:
            if len(members) == 1:
                yield int(members[0]), None
                return
            for member in members:
                yield from self._block(np.array([member]), corners, plan, tile_size)
            return
        for member, (left, top) in zip(members, offsets, strict=True):
            if whole:
                x, y, side = int(left), int(top), int(extent)
                yield int(member), reduce_whole(block[y : y + side, x : x + side], int(plan.reduction))
            else:
                yield int(member), resample_area(block, left, top, tile_size, plan.reduction)


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
