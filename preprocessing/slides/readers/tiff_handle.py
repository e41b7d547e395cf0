"""A slide read by tifffile and imagecodecs, with OpenSlide's own interface: only tiles and strips that a region meets are decoded."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import tifffile

from esad.preprocessing.slides.readers.tiff_layout import (
    SIXTEEN,
    Refused,
    TiffLayout,
    TiffLevel,
    is_jpeg,
    read_layout,
)

CACHE_BYTES = 1 << 26
"""Decoded tiles and strips that a handle keeps, at most; one that is larger is kept alone."""
MOST_STORED_BYTES = 1 << 30
STRIP_BLOCK_PIXELS = 1 << 26
"""Blocks of a level in strips are as wide as it is, up to so many pixels: each strip is then decoded once."""
WHITE = 255
SEGMENTS_LOOKED_AT = 9
HALF = 32767
"""Values of 16 bits that reach no more than half of the range may be 8 to 15 bits that were stored without scaling, as in pictures."""
DIMLY = "its 16 bits reach"
DIM = (
    f"{DIMLY} {{}} at most where it was looked at, and are read by their full range (of 12 bits: state 4095 as MaxSampleValue, "
    "tiffset -s 281 3 4095 4095 4095 FILE, or multiply the values by 16)"
)

logging.getLogger("tifffile").addHandler(
    logging.NullHandler()
)  # what is wrong with a file is told by our own messages


class TiffHandle:
    """An open TIFF. The attributes and methods that `Slide` uses of OpenSlide's handle, and `notes`; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Opens `path`; Refused, in words, where no slide is in it or it is damaged."""
        try:
            self._file = tifffile.TiffFile(
                path, is_ome=False, is_svs=False, is_philips=False, is_imagej=False
            )
        except Exception as error:
            raise Refused(_in_words(error)) from error
        try:
            self.layout = read_layout(self._file)
            self._cache: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
            self._held = self._greatest = 0
            self._descriptor = self._file.filehandle.fileno()
            self._tables = [
                [
                    (page.jpegtables, page.jpegheader) if is_jpeg(page) else (None, None)
                    for page in level.pages
                ]
                for level in self.layout.levels
            ]
            self._check_decoding()
        except Refused:
            self._file.close()
            raise
        except Exception as error:
            self._file.close()
            raise Refused(_in_words(error)) from error
        levels = self.layout.levels
        self.dimensions = (levels[0].width, levels[0].height)
        self.level_dimensions = tuple((level.width, level.height) for level in levels)
        self.level_downsamples = tuple(self.layout.downsamples)
        self.properties = _properties(self.layout)
        self.notes = [f"read by tifffile ({self.compression(0)})", *self.layout.notes, *self._dim()]

    def close(self) -> None:
        """Close the file and forget what was decoded."""
        self._cache.clear()
        self._file.close()

    def compression(self, level: int) -> str:
        """The compression of a level, by TIFF's name of it."""
        found = self.layout.levels[level].pages[0].compression
        return str(getattr(found, "name", int(found)))

    def get_best_level_for_downsample(self, downsample: float) -> int:
        """The coarsest level that is not coarser than `downsample`."""
        return max(
            (number for number, step in enumerate(self.level_downsamples) if step <= downsample + 1e-6),
            default=0,
        )

    def block_sides(self, level: int, usual: int) -> tuple[int, int]:
        """Width and height, in pixels of the level, of blocks that decode each strip once; `usual` for tiles."""
        found = self.layout.levels[level]
        if found.columns < found.width:
            return usual, usual
        return max(usual, min(found.width, STRIP_BLOCK_PIXELS // usual)), usual

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """uint8 (height, width, 3): `location` in level-0 pixels, the size in pixels of `level`.

        The nearest pixel of the level is the first; beyond the slide, and where a tile is not stored, it is white.
        Raises ValueError where a tile or strip cannot be decoded.
        """
        found, step = self.layout.levels[level], self.level_downsamples[level]
        x, y = round(location[0] / step), round(location[1] / step)
        width, height = size
        out = np.full((height, width, 3), WHITE, dtype=np.uint8)
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, found.width), min(y + height, found.height)
        if left >= right or top >= bottom:
            return out
        for row in range(top // found.rows, -(-bottom // found.rows)):
            for column in range(left // found.columns, -(-right // found.columns)):
                first_x, first_y = column * found.columns, row * found.rows
                x0, y0 = max(left, first_x), max(top, first_y)
                x1, y1 = min(right, first_x + found.columns), min(bottom, first_y + found.rows)
                inside = np.s_[y0 - first_y : y1 - first_y, x0 - first_x : x1 - first_x]
                place = out[y0 - y : y1 - y, x0 - x : x1 - x]
                for channel in range(3 if found.planes else 1):
                    picture = self._segment(level, row * found.across + column, channel)
                    if picture is not None:
                        part = picture[inside]
                        place[..., channel : channel + part.shape[2]] = part
        return out

    def _segment(self, level: int, number: int, channel: int) -> np.ndarray | None:
        """uint8 (rows, columns, 3), or 1 of one colour; None where the file does not store it."""
        key = (level, number, channel)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            picture = self._decoded(level, number, channel)
        except Exception as error:
            raise ValueError(f"a tile or strip cannot be decoded: {_in_words(error)}") from error
        if picture is None:
            return None
        self._cache[key] = picture
        self._held += picture.nbytes
        while self._held > CACHE_BYTES and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].nbytes
        return picture

    def _decoded(self, level: int, number: int, channel: int) -> np.ndarray | None:
        found = self.layout.levels[level]
        place = channel if len(found.pages) == 3 else 0
        page = found.pages[place]
        if found.raw:
            picture = self._raw(found, page, number, channel if place != channel else 0)
        else:
            index = number + (channel if place != channel else 0) * found.across * found.down
            stored = self._stored(int(page.dataoffsets[index]), int(page.databytecounts[index]))
            if stored is None:
                return None
            tables, header = self._tables[level][place]
            data, _, _ = page.decode(stored, index, jpegtables=tables, jpegheader=header)
            picture = None if data is None else data[0]
        if picture is None:
            return None
        row, column = divmod(number, found.across)
        rows = min(found.rows, found.height - row * found.rows)
        columns = min(found.columns, found.width - column * found.columns)
        if picture.ndim != 3 or picture.shape[0] < rows or picture.shape[1] < columns:
            raise ValueError(f"it holds a picture of shape {picture.shape}, and should be {columns} x {rows}")
        if picture.dtype.kind == "u" and picture.size:
            self._greatest = max(self._greatest, int(picture.max()))
        return _to_8_bits(picture, found, int(page.bitspersample))

    def _dim(self) -> list[str]:
        """The note of a slide of 16 bits whose coarsest level stays in the lower half of their range, by some of its tiles or strips."""
        number = len(self.layout.levels) - 1
        level = self.layout.levels[number]
        if level.down_by + 8 < SIXTEEN:
            return []
        for place in np.unique(np.linspace(0, level.across * level.down - 1, SEGMENTS_LOOKED_AT).astype(int)):
            for channel in range(3 if level.planes else 1):
                with contextlib.suppress(ValueError):  # told where it is read
                    self._segment(number, int(place), channel)
        return [DIM.format(self._greatest)] if 0 < self._greatest <= HALF else []

    def _raw(self, level: TiffLevel, page: tifffile.TiffPage, number: int, plane: int) -> np.ndarray | None:
        """Rows of uncompressed strips, (rows, width, samples): part `number` of `plane`."""
        first = number * level.rows
        rows = min(level.rows, level.height - first)
        samples = 1 if level.planes else int(page.samplesperpixel)
        dtype = np.dtype(f"{page.parent.byteorder}u{1 if page.bitspersample == 8 else 2}")
        in_strip = min(int(page.rowsperstrip), level.height)
        strip, above = divmod(first, in_strip)
        strip += plane * -(-level.height // in_strip)
        offset, count = int(page.dataoffsets[strip]), int(page.databytecounts[strip])
        row_bytes = level.width * samples * dtype.itemsize
        if not count:
            return None
        if (above + rows) * row_bytes > count:
            raise ValueError("a strip is shorter than its rows")
        stored = self._stored(offset + above * row_bytes, rows * row_bytes)
        return None if stored is None else np.frombuffer(stored, dtype).reshape(rows, level.width, samples)

    def _stored(self, offset: int, count: int) -> bytes | None:
        """The bytes of a segment; None where there are none. ValueError where the file ends before them."""
        if not count or not offset:
            return None
        if not 0 < count <= MOST_STORED_BYTES:
            raise ValueError(f"it states {count} bytes")
        stored = os.pread(self._descriptor, count, offset)
        if len(stored) < count:
            raise ValueError("the file ends before its data")
        return stored

    def _check_decoding(self) -> None:
        """Refused where of the first, a middle and the last stored tile of the finest level none can be decoded."""
        level = self.layout.levels[0]
        last, told = level.across * level.down - 1, ""
        for number in sorted({0, last // 2, last}):
            try:
                for channel in range(3 if level.planes else 1):
                    self._segment(0, number, channel)
                return
            except ValueError as error:
                told = str(error)
        raise Refused(told)


def _to_8_bits(picture: np.ndarray, level: TiffLevel, bits: int) -> np.ndarray:
    """Red, green, blue (or the one colour of a plane) as uint8, by the upper 8 of the stated bits; brighter is 255."""
    wanted = 1 if level.planes else 3
    depth = 8 * picture.dtype.itemsize if picture.dtype.kind == "u" else 0
    if picture.shape[2] < wanted or depth != (8 if bits == 8 else 16):
        raise ValueError(f"it holds {picture.dtype} of shape {picture.shape}, other than the directory says")
    picture = picture[..., :wanted]
    if depth > 8:
        picture = (picture >> np.uint16(level.down_by)).clip(0, WHITE).astype(np.uint8)
    return np.ascontiguousarray(picture)


def _properties(layout: TiffLayout) -> dict[str, str]:
    """What `Slide` asks OpenSlide's properties for."""
    stated = zip(("openslide.mpp-x", "openslide.mpp-y"), layout.mpp, strict=True)
    return {name: repr(value) for name, value in stated if value is not None}


def _in_words(error: Exception) -> str:
    """What a library says of damage, if that is words; its lookups and assertions are not."""
    told = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
    known = isinstance(
        error, (tifffile.TiffFileError, ValueError, RuntimeError, NotImplementedError, OSError)
    )
    if not known or len(told.split()) < 2:
        return "its structure is damaged, or of a form that is not known"
    return told[:200].rstrip(". ")
