"""Slides through OpenSlide: microns per pixel, levels, regions, thumbnails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from preprocessing.errors import InputError
from preprocessing.tiling import ReadPlan, plan_reading

SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi", ".dcm",
)  # fmt: skip
BLOCK_PIXELS = 2048
"""Side of the blocks that are read at once, in pixels of the level."""
UM_PER_UNIT = {"centimeter": 10_000.0, "inch": 25_400.0}
THUMBNAIL_SIDE = 1024


class Slide:
    """An open slide. Use as a context manager; reads after a failed read reopen the file."""

    def __init__(self, path: Path, slide_mpp: float | None = None) -> None:
        """Open `path`; `slide_mpp` are the level-0 microns per pixel where the file does not say.

        Raises InputError where OpenSlide cannot open the file, or no microns per pixel are known.
        """
        self.path = path
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
            self.handle = openslide.open_slide(
                self.path
            )  # plain pictures too: they have one level and no mpp
        except (openslide.OpenSlideError, OSError) as error:
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
        return mean if 0.01 < mean < 100 else None

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.handle.close()

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

        Raises openslide.OpenSlideError where the data cannot be decoded; the handle is opened anew for the next read.
        """
        try:
            picture = self.handle.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError:
            self.close()
            self._open()
            raise
        return on_white(np.asarray(picture))

    def thumbnail(self, side: int = THUMBNAIL_SIDE) -> np.ndarray:
        """uint8 (h, w, 3) with its longer side at most `side`, from the smallest level that is large enough."""
        factor = max(self.width, self.height) / side
        level = self.handle.get_best_level_for_downsample(max(factor, 1.0))
        size = self.handle.level_dimensions[level]
        if max(size) > 16384:
            return np.asarray(self.handle.get_thumbnail((side, side)).convert("RGB"))
        try:
            whole = self.region(0, 0, level, *size)
        except openslide.OpenSlideError as error:
            raise InputError(f"{self.path.name}: level {level} cannot be read ({error}).") from error
        scale = min(1.0, side / max(size))
        small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        return np.asarray(Image.fromarray(whole).resize(small, Image.Resampling.BOX))

    def tiles(
        self, corners: np.ndarray, plan: ReadPlan, tile_size: int
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """(position in `corners`, tile uint8 (tile_size, tile_size, 3) or None where it cannot be read).

        Tiles of one block are cut from one read; where that fails each of its tiles is tried alone, so that one
        corrupt place costs the tiles that it touches and no more. Order: block by block.
        """
        span = tile_size * plan.downsample
        whole = plan.reduction == round(plan.reduction) and plan.level_downsample == round(
            plan.level_downsample
        )
        per_block = max(1, int(BLOCK_PIXELS / (tile_size * plan.reduction))) if whole else 1
        blocks = (corners // max(1, int(span * per_block))).astype(np.int64)
        for block in np.unique(blocks, axis=0) if len(corners) else []:
            members = np.flatnonzero((blocks == block).all(1))
            yield from self._block(members, corners, plan, tile_size)

    def _block(
        self, members: np.ndarray, corners: np.ndarray, plan: ReadPlan, tile_size: int
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        side = tile_size if plan.reduction == 1 else int(np.ceil(tile_size * plan.reduction))
        offsets = np.round((corners[members] - corners[members].min(0)) / plan.level_downsample).astype(int)
        x, y = corners[members].min(0)
        width, height = offsets.max(0) + side
        try:
            block = self.region(int(x), int(y), plan.level, int(width), int(height))
        except openslide.OpenSlideError:
            if len(members) == 1:
                yield int(members[0]), None
                return
            for member in members:
                yield from self._block(np.array([member]), corners, plan, tile_size)
            return
        for member, (left, top) in zip(members, offsets, strict=True):
            yield (
                int(member),
                reduce_area(block[top : top + side, left : left + side], tile_size, plan.reduction),
            )


def on_white(picture: np.ndarray) -> np.ndarray:
    """RGBA uint8 (H, W, 4) over white, as uint8 (H, W, 3); opaque pixels keep their colour to the bit."""
    alpha = picture[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return np.ascontiguousarray(picture[..., :3])
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def reduce_area(picture: np.ndarray, tile_size: int, reduction: float) -> np.ndarray:
    """Area mean of (tile_size * reduction)² pixels as uint8 (tile_size, tile_size, 3), rounded half up.

    A whole factor averages exact blocks; any other uses Pillow's box filter over the exact (fractional) area.
    """
    if reduction == 1:
        return np.ascontiguousarray(picture)
    if reduction == round(reduction):
        factor = int(reduction)
        blocks = picture.reshape(tile_size, factor, tile_size, factor, 3).astype(np.uint32).sum((1, 3))
        return ((2 * blocks + factor**2) // (2 * factor**2)).astype(np.uint8)
    extent = tile_size * reduction
    image = Image.fromarray(picture)
    return np.asarray(image.resize((tile_size, tile_size), Image.Resampling.BOX, box=(0, 0, extent, extent)))
