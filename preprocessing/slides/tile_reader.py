"""Tiles of a slide, block by block, by several threads: JPEG levels decoded directly, all else through the slide's reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from esad.preprocessing.slides.jpeg_levels import SCALES, JpegLevel, JpegReader, NotDirect, jpeg_levels
from esad.preprocessing.slides.reading import BLOCK_PIXELS, Slide, UnreadableRegion
from esad.preprocessing.slides.resampling import cut_tiles, reduce_whole, resample_area
from esad.preprocessing.slides.tiling import ReadPlan

COMPARED = 8
"""Tiles on which decoding straight to a smaller size is compared with the exact area means."""


class _Own(threading.local):
    """What one thread reads with."""

    jpeg: JpegReader | None = None
    slide: Slide | None = None


def direct_level(slide: Slide, number: int) -> JpegLevel | None:
    """Level `number` as one that can be decoded directly, if its first tile comes out as OpenSlide reads it."""
    level = jpeg_levels(slide.path, str(slide.format), slide.handle.level_dimensions).get(number)
    return level if level is not None and _agrees(slide, level, number) else None


def shrunk_level(level: JpegLevel, by: int, tolerance: float) -> JpegLevel | None:
    """The level decoded straight to one of `by` pixels, if its tiles then differ little from exact area means.

    COMPARED tiles, evenly over the level, differ by at most `tolerance` grey levels on average; else None.
    """
    small = level.shrunk(by)
    there = np.flatnonzero(level.counts)
    if small is None or not len(there):
        return None
    chosen = there[np.unique(np.linspace(0, len(there) - 1, COMPARED).round().astype(int))]
    try:
        with level.open() as exactly, small.open() as straight:
            differences = [
                np.abs(straight.decode(n).astype(int) - reduce_whole(exactly.decode(n), by)).mean()
                for n in chosen.tolist()
            ]
    except (NotDirect, OSError):
        return None
    return small if float(np.mean(differences)) <= tolerance else None


def _agrees(slide: Slide, level: JpegLevel, number: int) -> bool:
    there = np.flatnonzero(level.counts)
    if not len(there):
        return False
    row, column = divmod(int(there[0]), level.across)
    x, y = column * level.tile_width, row * level.tile_height
    width, height = min(level.tile_width, level.width - x), min(level.tile_height, level.height - y)
    downsample = slide.handle.level_downsamples[number]
    if (x or y) and downsample != round(downsample):
        return False
    try:
        with level.open() as reader:
            ours = reader.region(x, y, width, height)
        return np.array_equal(
            ours, slide.region(round(x * downsample), round(y * downsample), number, width, height)
        )
    except (NotDirect, UnreadableRegion, OSError):
        return False


class TileReader:
    """Reads tiles of one plan; a context manager, whose `read` may be called by several threads at once.

    Where a level's downsample is not whole (4.0001) the direct path takes the nearest pixel of the level, while
    OpenSlide places a read between pixels and blends by up to 1 / downsample pixels.
    """

    def __init__(
        self,
        slide: Slide,
        plan: ReadPlan,
        tile_size: int,
        direct: bool = True,
        tolerance: float | None = None,
    ) -> None:
        """`tile_size` in tile pixels; `direct` False reads all through the slide's reader.

        With a `tolerance`, in grey levels, a level that would be reduced by 2, 4 or 8 is decoded straight to that size
        where `shrunk_level` allows it; None keeps to exact area means.
        """
        self.slide, self.plan, self.tile_size = slide, plan, tile_size
        self.used: set[str] = set()
        """What tiles were read with so far: jpeg, openslide, tifffile."""
        self._whole = plan.reduction == round(plan.reduction)
        self.level = direct_level(slide, plan.level) if direct and self._whole else None
        """The level where it can be decoded directly."""
        if self.level is not None and tolerance is not None and plan.reduction in SCALES:
            self.level = shrunk_level(self.level, int(plan.reduction), tolerance) or self.level
        shrink = self.level.shrink if self.level is not None else 1
        self._step, self._reduction = plan.level_downsample * shrink, int(plan.reduction) // shrink
        self._own, self._opened, self._lock = _Own(), ExitStack(), threading.Lock()

    def __enter__(self) -> TileReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def reader(self) -> str:
        """What tiles were read with: jpeg, openslide or tifffile (also before the first read), or jpeg+openslide."""
        return "+".join(sorted(self.used)) or self.slide.reader

    def blocks(self, corners: np.ndarray) -> list[np.ndarray]:
        """Positions of the tiles at `corners` (N, 2; x, y in level-0 pixels), block by block of what is decoded at once.

        Blocks run row by row over the slide, and within one the positions ascend.
        """
        if not len(corners):
            return []
        extent, sides = (
            self.tile_size * self.plan.reduction,
            self.slide.block_sides(self.plan.level, BLOCK_PIXELS),
        )
        if self.level is not None:
            own = (self.level.tile_width * self.level.shrink, self.level.tile_height * self.level.shrink)
            sides = sides if any(side % extent for side in own) else own
        per_block = [max(1, int(side / extent)) for side in sides]
        numbers = np.floor((corners + 0.5) / (self.tile_size * self.plan.downsample * np.array(per_block)))
        order = np.lexsort((numbers[:, 0], numbers[:, 1]))
        ends = np.flatnonzero((np.diff(numbers[order], axis=0) != 0).any(1)) + 1
        return np.split(order, ends)

    def read(self, corners: np.ndarray, room: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Tiles of one block: uint8 (N, tile_size, tile_size, 3), and which of them could be read, bool (N,).

        `corners` (N, 2) x, y in level-0 pixels, near each other. All are cut from one read; where that fails each
        tile is tried alone, so that one corrupt place costs the tiles that it touches and no more. With `room`
        (`room_for`) the tiles lie in its beginning: memory that is used again is in the cache, and new is not.
        """
        shape = (len(corners), self.tile_size, self.tile_size, 3)
        tiles = np.empty(shape, dtype=np.uint8) if room is None else room[: len(corners)]
        if self.level is not None and self._directly(self.level, corners, tiles):
            self.used.add("jpeg" if self.level.shrink == 1 else f"jpeg at 1/{self.level.shrink}")
            return tiles, np.ones(len(corners), dtype=bool)
        self.used.add(self.slide.reader)
        read = np.zeros(len(corners), dtype=bool)
        for place, picture in self._through_slide(np.arange(len(corners)), corners):
            if picture is not None:
                tiles[place], read[place] = picture, True
        return tiles, read

    def room_for(self, blocks: list[np.ndarray]) -> np.ndarray:
        """Room for the tiles of any one of the `blocks`, for one thread: uint8 (N, tile_size, tile_size, 3), not filled."""
        most = max(map(len, blocks), default=0)
        return np.empty((most, self.tile_size, self.tile_size, 3), dtype=np.uint8)

    def read_all(self, corners: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, for any number of tiles, by `threads` threads; all of them are held in memory."""
        tiles = np.empty((len(corners), self.tile_size, self.tile_size, 3), dtype=np.uint8)
        read = np.zeros(len(corners), dtype=bool)

        def work(members: np.ndarray) -> None:
            tiles[members], read[members] = self.read(corners[members])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, self.blocks(corners)))
        return tiles, read

    def _directly(self, level: JpegLevel, corners: np.ndarray, tiles: np.ndarray) -> bool:
        """Fill `tiles`; False where that is left to the slide's reader."""
        if self._own.jpeg is None:
            with self._lock:
                self._own.jpeg = self._opened.enter_context(level.open())
        places = np.round(corners / self._step).astype(np.int64)
        reduction = self._reduction
        (left, top), (right, bottom) = places.min(0).tolist(), places.max(0).tolist()
        extent = self.tile_size * reduction
        try:
            block = self._own.jpeg.region(left, top, right + extent - left, bottom + extent - top)
        except (NotDirect, OSError):
            return False
        cut_tiles(block, places[:, 0] - left, places[:, 1] - top, reduction, np.arange(len(tiles)), tiles)
        return True

    def _through_slide(
        self, members: np.ndarray, corners: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        plan, origin = self.plan, corners[members].min(0)
        offsets = (corners[members] - origin) / plan.level_downsample
        if self._whole:
            offsets = np.round(offsets)
        extent = self.tile_size * plan.reduction
        width, height = np.ceil(offsets.max(0) + extent - 1e-6).astype(int)
        try:
            block = self._own_slide().region(
                int(origin[0]), int(origin[1]), plan.level, int(width), int(height)
            )
        except UnreadableRegion:
            if len(members) == 1:
                yield int(members[0]), None
                return
            for member in members:
                yield from self._through_slide(np.array([member]), corners)
            return
        if self._whole:
            tiles = np.empty((len(members), self.tile_size, self.tile_size, 3), dtype=np.uint8)
            lefts, tops = offsets.astype(np.int64).T
            cut_tiles(block, lefts, tops, int(plan.reduction), np.arange(len(members)), tiles)
            yield from zip(members.tolist(), tiles, strict=True)
            return
        for member, (left, top) in zip(members, offsets, strict=True):
            yield int(member), resample_area(block, left, top, self.tile_size, plan.reduction)

    def _own_slide(self) -> Slide:
        """A handle for this thread alone: a failed read closes it and opens it anew."""
        if self._own.slide is None:
            with self._lock:
                self._own.slide = self._opened.enter_context(Slide(self.slide.path, self.slide.slide_mpp))
        return self._own.slide
