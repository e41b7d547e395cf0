"""The direct path: levels stored as JPEG tiles in a TIFF are read and decoded without OpenSlide, at several times its
speed and to the same pixels.

Only where nothing can differ: baseline tiled TIFF of the vendors in VENDORS (others overlap or shift their tiles), JPEG
compression (JPEG 2000 and all else: OpenSlide), three samples of 8 bits. What is missing, damaged or beyond the level
is left to OpenSlide, and before a level is trusted its first tile is compared with OpenSlide's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile

VENDORS = ("generic-tiff", "aperio", "philips")
JPEG = 7
RGB, YCBCR = 2, 6
SOI = b"\xff\xd8"
SCALES = (2, 4, 8)
MOST_TILE_BYTES = 1 << 26
"""A directory that claims larger tiles is not believed."""


class NotDirect(Exception):
    """This region must be read through OpenSlide."""


@dataclass(frozen=True)
class JpegLevel:
    """One level: sizes in pixels (`full_width` before any shrinking), and where each of its tiles lies in the file, row by row.

    `head` goes before each tile's own data: start of image, colour transform, and the tables that tiles share.
    """

    path: Path
    full_width: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: np.ndarray
    counts: np.ndarray
    head: bytes
    shrink: int = 1
    """Tiles are decoded straight to one of so many pixels in each direction; all sizes are those after it."""

    def shrunk(self, by: int) -> JpegLevel | None:
        """The level at one of `by` pixels (2, 4 or 8: what JPEG's transform gives), or None where tiles do not divide."""
        if by not in SCALES or self.tile_width % by or self.tile_height % by:
            return None
        sizes = (self.width // by, self.height // by, self.tile_width // by, self.tile_height // by)
        width, height, tile_width, tile_height = sizes
        return replace(
            self, width=width, height=height, tile_width=tile_width, tile_height=tile_height, shrink=by
        )

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.full_width // (self.tile_width * self.shrink))

    def open(self) -> JpegReader:
        """The file opened for one thread."""
        return JpegReader(self)


class JpegReader:
    """Decodes tiles of one level; for one thread at a time. Use as a context manager."""

    def __init__(self, level: JpegLevel) -> None:
        """Opens the level's file; OSError where it is gone."""
        self.level = level
        self._file = os.open(level.path, os.O_RDONLY)
        self._buffer = np.empty((level.tile_height, level.tile_width, 3), dtype=np.uint8)
        self._least = (level.tile_height, level.tile_width) if level.shrink > 1 else (0, 0)  # 0: no scaling
        self._stream = memoryview(bytearray(level.head))

    def __enter__(self) -> JpegReader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def decode(self, number: int) -> np.ndarray:
        """Tile `number`: uint8 (tile_height, tile_width, 3) RGB, overwritten by the next call.

        Raises NotDirect where it is missing, or anything about its data is wrong, be it recoverable.
        """
        level = self.level
        count = int(level.counts[number])
        if not count:
            raise NotDirect(f"tile {number} is missing")
        try:
            out = simplejpeg.decode_jpeg(
                self._read(int(level.offsets[number]), count),
                "RGB",
                min_height=self._least[0],
                min_width=self._least[1],
                buffer=self._buffer,
            )
        except ValueError as error:
            raise NotDirect(f"tile {number}: {error}") from error
        if out.shape[:2] != (level.tile_height, level.tile_width):
            raise NotDirect(f"tile {number} is {out.shape[1]} x {out.shape[0]}")
        return out

    def _read(self, offset: int, count: int) -> memoryview:
        """A tile's own `count` bytes but its start of image, with the level's head before them; overwritten by the next call."""
        head = self.level.head
        begin = len(head) - len(SOI)
        if len(self._stream) < begin + count:
            self._stream = memoryview(bytearray(begin + count))
            self._stream[: len(head)] = head
        read = os.preadv(self._file, [self._stream[begin : begin + count]], offset)
        self._stream[begin : len(head)] = head[begin:]
        return self._stream[: begin + read]

    def region(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3) of a box in level pixels; overwritten by the next call if it is within one tile.

        Raises NotDirect where the box leaves the level or touches a tile that cannot be decoded.
        """
        level = self.level
        if x < 0 or y < 0 or x + width > level.width or y + height > level.height:
            raise NotDirect("beyond the level")
        across, down = level.tile_width, level.tile_height
        columns = range(x // across, -(-(x + width) // across))
        rows = range(y // down, -(-(y + height) // down))
        if len(columns) == len(rows) == 1:
            left, top = x - columns[0] * across, y - rows[0] * down
            return self.decode(rows[0] * level.across + columns[0])[top : top + height, left : left + width]
        out = np.empty((height, width, 3), dtype=np.uint8)
        for row in rows:
            for column in columns:
                tile = self.decode(row * level.across + column)
                left, top = column * across, row * down
                x0, y0 = max(x, left), max(y, top)
                x1, y1 = min(x + width, left + across), min(y + height, top + down)
                out[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
        return out


def jpeg_levels(path: Path, vendor: str, dimensions: Sequence[tuple[int, int]]) -> dict[int, JpegLevel]:
    """The levels of a slide that can be decoded directly, by OpenSlide's numbers of them.

    `dimensions` are OpenSlide's (width, height) of the levels. A directory is a level's if it alone has its size.
    """
    if vendor not in VENDORS or not hasattr(os, "preadv"):
        return {}
    by_size: dict[tuple[int, int], list[JpegLevel | None]] = {}
    try:  # flags off: tifffile would crop Philips's sizes, OpenSlide does not
        with tifffile.TiffFile(path, is_philips=False, is_svs=False, is_ome=False) as file:
            for page in file.pages:
                if not isinstance(page, tifffile.TiffPage):
                    continue
                size = (int(page.tags[256].value), int(page.tags[257].value))
                by_size.setdefault(size, []).append(_level(path, page, size))
    except Exception:  # noqa: BLE001  any structure may be damaged in any way; OpenSlide reads what it can
        return {}
    found = {number: by_size.get((size[0], size[1]), []) for number, size in enumerate(dimensions)}
    return {number: pages[0] for number, pages in found.items() if len(pages) == 1 and pages[0] is not None}


def _level(path: Path, page: tifffile.TiffPage, size: tuple[int, int]) -> JpegLevel | None:
    """The directory as a level, or None where it is not of the one form that is decoded here."""
    tags = page.tags
    usual = (
        page.is_tiled
        and int(page.compression) == JPEG
        and int(page.photometric) in (RGB, YCBCR)
        and page.samplesperpixel == 3
        and page.bitspersample == 8
        and int(page.planarconfig) == 1
    )
    if not usual or page.tilewidth * page.tilelength * 3 > MOST_TILE_BYTES:
        return None
    across, down = -(-size[0] // page.tilewidth), -(-size[1] // page.tilelength)
    offsets, counts = (np.asarray(tags[code].value, dtype=np.int64).reshape(-1) for code in (324, 325))
    if len(offsets) != across * down or len(counts) != across * down:
        return None
    tables = tags[347].value if 347 in tags else b""
    return JpegLevel(
        path, size[0], size[0], size[1], int(page.tilewidth), int(page.tilelength), offsets, counts,
        SOI + _adobe(int(page.photometric)) + bytes(tables)[2:-2],
    )  # fmt: skip


def _adobe(photometric: int) -> bytes:
    """An Adobe marker (APP14) that states the colour transform: libjpeg must not guess it."""
    transform = 1 if photometric == YCBCR else 0
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
