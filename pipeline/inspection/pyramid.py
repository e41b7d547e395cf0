"""Deep zoom of a slide: its own pyramid where the file is there, else its stored tiles over its thumbnail.

A level is half as large as the next; the last one is level 0 of the slide. Level pixel i shows the level-0 pixels from i * step to
(i + 1) * step, whatever the layer, so that layers lie on each other.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from esad.preprocessing.slides.readers.opening import READ_ERRORS, open_handle

SIDE, OVERLAP = 254, 1
"""Of the tiles of the slide itself: openslide's own."""
LAYER_SIDE = 256
"""Of the tiles of all else; no overlap, since two half transparent pixels on each other are darker."""
MOST_STORED = 600
"""Stored tiles that one tile of the page is put together of; where there are more the thumbnail alone is shown."""
UNREADABLE = (150, 150, 150)
QUALITY = 88


def level_count(size: tuple[int, int]) -> int:
    """Levels of a slide of this width and height: from one pixel to all of them."""
    return math.ceil(math.log2(max(*size, 1))) + 1


@dataclass(frozen=True)
class Window:
    """A tile of a layer: `left`, `top` in level-0 pixels, `step` of them a pixel, `width` and `height` in its own pixels."""

    left: int
    top: int
    step: int
    width: int
    height: int

    def pixels(self, boxes: np.ndarray) -> np.ndarray:
        """x, y, width, height in level-0 pixels -> left, top, right, bottom in whole pixels of the window, int (N, 4).

        Divided first, rounded once: neighbours meet, and nothing adds up to the far corner.
        """
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        found = np.rint((corners - (self.left, self.top) * 2) / self.step).astype(int)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        return found

    def meets(self, boxes: np.ndarray) -> np.ndarray:
        """Which boxes lie in the window, bool (N,)."""
        right, bottom = self.left + self.width * self.step, self.top + self.height * self.step
        return (
            (boxes[:, 0] < right) & (boxes[:, 1] < bottom)
            & (boxes[:, 0] + boxes[:, 2] > self.left) & (boxes[:, 1] + boxes[:, 3] > self.top)
        )  # fmt: skip


def window(size: tuple[int, int], level: int, column: int, row: int) -> Window | None:
    """The tile of a layer over a slide of this size; None where there is none."""
    levels = level_count(size)
    if not 0 <= level < levels or column < 0 or row < 0:
        return None
    step = 1 << (levels - 1 - level)
    width, height = (-(-side // step) for side in size)
    left, top = column * LAYER_SIDE, row * LAYER_SIDE
    if left >= width or top >= height:
        return None
    return Window(left * step, top * step, step, min(LAYER_SIDE, width - left), min(LAYER_SIDE, height - top))


class _Reader:
    """A handle as openslide's deep zoom wants it, reopened after a failed read: it stays broken after an error."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._handle: Any = open_handle(path)
        self.dimensions = self._handle.dimensions
        self.level_dimensions = self._handle.level_dimensions
        self.level_downsamples = self._handle.level_downsamples
        self.properties = dict(self._handle.properties)

    def get_best_level_for_downsample(self, downsample: float) -> int:
        return int(self._handle.get_best_level_for_downsample(downsample))

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        with self._lock:
            try:
                found = self._handle.read_region(location, level, size)
            except READ_ERRORS:
                self._handle.close()
                self._handle = open_handle(self._path)
                raise
        picture = Image.fromarray(found) if isinstance(found, np.ndarray) else found
        return picture.convert("RGBA") if picture.mode != "RGBA" else picture

    def close(self) -> None:
        with self._lock:
            self._handle.close()


class SlidePyramid:
    """The slide itself, by openslide's DeepZoomGenerator, in level-0 pixels as OpenSlide counts them: bounds are not cut off."""

    side, overlap = SIDE, OVERLAP

    def __init__(self, path: Path) -> None:
        """Open `path`; InputError where no reader can."""
        from openslide.deepzoom import DeepZoomGenerator

        self._reader = _Reader(path)
        self._zoom = DeepZoomGenerator(self._reader, SIDE, OVERLAP, limit_bounds=False)  # type: ignore[arg-type]
        self.size = self._reader.dimensions

    @property
    def bounds(self) -> tuple[int, int, int, int] | None:
        """x, y, width, height in level-0 pixels of what was scanned, where the scanner says it."""
        try:
            found = [
                int(self._reader.properties[f"openslide.bounds-{name}"])
                for name in ("x", "y", "width", "height")
            ]
        except (KeyError, ValueError):
            return None
        return (found[0], found[1], found[2], found[3])

    def tile(self, level: int, column: int, row: int) -> bytes | None:
        """JPEG of a tile; a grey one where the file is damaged; None where there is no such tile."""
        try:
            width, height = self._zoom.get_tile_dimensions(level, (column, row))
        except ValueError:
            return None
        try:
            return jpeg(self._zoom.get_tile(level, (column, row)))
        except READ_ERRORS:
            return jpeg(Image.new("RGB", (width, height), UNREADABLE))

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


class StoredPyramid:
    """Stored tiles at their places over the thumbnail, which is all that is left where the slide is away."""

    side, overlap = LAYER_SIDE, 0
    bounds = None

    def __init__(
        self,
        size: tuple[int, int],
        boxes: np.ndarray,
        read: Callable[[np.ndarray], np.ndarray] | None,
        thumbnail: Image.Image | None,
    ) -> None:
        """`boxes` (N, 4) in level-0 pixels; `read` gives the pictures, uint8 (n, H, W, 3), of some of them."""
        self.size, self._boxes, self._read, self._thumbnail = size, boxes, read, thumbnail

    def tile(self, level: int, column: int, row: int) -> bytes | None:
        """JPEG of a tile; None where there is no such tile."""
        place = window(self.size, level, column, row)
        return None if place is None else jpeg(self.picture(place))

    def picture(self, place: Window) -> Image.Image:
        """The window, RGB: stored pixels where they are not more than can be put together, else the thumbnail, else white."""
        found = self._background(place)
        here = np.flatnonzero(place.meets(self._boxes))
        if self._read is None or not 0 < len(here) <= MOST_STORED:
            return found
        for pixels, (left, top, right, bottom) in zip(
            self._read(here), place.pixels(self._boxes[here]), strict=True
        ):
            image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels.repeat(3, -1))
            shrinks = right - left < image.width
            how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
            found.paste(image.resize((int(right - left), int(bottom - top)), how), (int(left), int(top)))
        return found

    def _background(self, place: Window) -> Image.Image:
        if self._thumbnail is None:
            return Image.new("RGB", (place.width, place.height), "white")
        across, down = (small / whole for small, whole in zip(self._thumbnail.size, self.size, strict=True))
        box = (
            place.left * across, place.top * down,
            min((place.left + place.width * place.step) * across, self._thumbnail.width),
            min((place.top + place.height * place.step) * down, self._thumbnail.height),
        )  # fmt: skip
        return self._thumbnail.resize((place.width, place.height), Image.Resampling.BILINEAR, box=box)

    def close(self) -> None:
        """Nothing is open."""


Pyramid = SlidePyramid | StoredPyramid


def jpeg(picture: Image.Image) -> bytes:
    """JPEG without subsampled colour: stains are told by it."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def png(picture: Image.Image | np.ndarray) -> bytes:
    """PNG, quickly: it goes no further than this machine's browser."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
