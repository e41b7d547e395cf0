"""Heat over a slide as pyramidal TIFF: the scores as OME-TIFF for QuPath, the colours as a plain one for OpenSlide and ASAP.

One file cannot serve both: OpenSlide reads neither floating-point values nor levels in SubIFDs, and colours are no scores.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from esad.pipeline.annotating.heat_raster import HeatGrid, halved, heat_grid, tile_of_pixel, values_of
from esad.pipeline.annotating.scored_slides import Box, ScoredSlide
from esad.preprocessing.store.writing import write_atomically

TILE = (256, 256)
CHANNELS = ("score", "percentile")
FIRST = 0.4
"""Where colours begin on viridis: teal to yellow, which stained tissue has not; its dark end looks like haematoxylin."""
SAME = 1e-9
HEATS = uuid.uuid5(uuid.NAMESPACE_OID, "esad heat")


def heat_of(slide: ScoredSlide, box: Box) -> tuple[HeatGrid, np.ndarray]:
    """The grid over `box` and which tile each of its pixels shows."""
    boxes = slide.boxes()
    side = min(slide.step, float(boxes[:, 2:].min())) if len(boxes) else slide.step
    grid = heat_grid(box, side)
    return grid, tile_of_pixel(grid, boxes, slide.tiles["score"].to_numpy(dtype=float))


def write_scores(path: Path, slide: ScoredSlide) -> HeatGrid:
    """Write score and percentile as an OME-TIFF over what QuPath shows of the slide; its grid.

    float32, two channels (CHANNELS), NaN where no tile is; tiles of 256, deflate; each further level, in the SubIFDs, has half
    the sides. PhysicalSizeX and Y are those of the heat's own pixel.
    """
    import tifffile

    grid, tiles = heat_of(slide, slide.shown)
    first = np.stack([values_of(tiles, slide.tiles[name].to_numpy(dtype=float)) for name in CHANNELS])
    across, down = (extent * mpp for extent, mpp in zip(grid.pixel, slide.mpp, strict=True))
    told: dict[str, Any] = {
        "axes": "CYX", "UUID": str(uuid.uuid5(HEATS, slide.name)), "Creator": "esad", "Name": "anomaly heat",
        "Channel": {"Name": list(CHANNELS)}, "PhysicalSizeX": across, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": down,
        "PhysicalSizeYUnit": "µm",
    }  # fmt: skip
    kind: dict[str, Any] = {
        "tile": TILE, "compression": "deflate", "photometric": "minisblack", "software": "esad", "maxworkers": 1,
    }  # fmt: skip

    def write(temporary: Path) -> None:
        with tifffile.TiffWriter(temporary, ome=True, bigtiff=True) as file:
            levels = _levels(first, grid.levels)
            file.write(
                next(levels), subifds=grid.levels - 1, metadata=told, resolution=_per_cm(across, down, 0),
                resolutionunit="CENTIMETER", **kind,
            )  # fmt: skip
            for number, level in enumerate(levels, 1):
                file.write(
                    level, subfiletype=1, metadata=None, resolution=_per_cm(across, down, number),
                    resolutionunit="CENTIMETER", **kind,
                )  # fmt: skip

    write_atomically(path, write)
    return grid


def write_colours(path: Path, slide: ScoredSlide, ends: tuple[float, float]) -> HeatGrid:
    """Write the suspicious tiles' colours as a pyramidal TIFF over the whole of level 0; its grid.

    uint8 red, green, blue, alpha; transparent where no suspicious tile is. `ends` are those of `colours`.
    """
    import tifffile

    grid, tiles = heat_of(slide, slide.whole)
    height = np.where(slide.suspicious, -np.log10(slide.rare.clip(1e-12)), np.nan)
    first = values_of(tiles, height)
    across, down = (extent * mpp for extent, mpp in zip(grid.pixel, slide.mpp, strict=True))

    def write(temporary: Path) -> None:
        with tifffile.TiffWriter(temporary, bigtiff=True) as file:
            for number, heat in enumerate(_levels(first[None], grid.levels)):
                file.write(
                    colours(heat[0], ends), tile=TILE, compression="deflate", photometric="rgb", extrasamples=["unassalpha"],
                    subfiletype=int(number > 0), metadata=None, software="esad", resolutionunit="CENTIMETER", maxworkers=1,
                    resolution=_per_cm(across, down, number),
                )  # fmt: skip

    write_atomically(path, write)
    return grid


def _levels(first: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """`first` (channels, rows, columns), then each level of half its sides, `count` in all."""
    level = first
    yield level
    for _ in range(count - 1):
        level = np.stack([halved(channel) for channel in level])
        yield level


def _per_cm(across: float, down: float, level: int) -> tuple[float, float]:
    """Pixels a centimetre along x, y of a level, from the microns a pixel of the finest."""
    return 1e4 / (across * 2**level), 1e4 / (down * 2**level)


def colours(height: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Colours of `height` (rows, columns): uint8 (rows, columns, 4), alpha 0 where it is NaN.

    `height` is -log10 of the share of normals as high: from `ends[0]`, where viridis is at FIRST, to `ends[1]`, where it ends. The
    same share has the same colour on each slide of a run. Where both ends are one, there is one colour, the last.
    """
    from matplotlib import colormaps

    low, high = (-math.log10(end) for end in ends)
    place = (np.nan_to_num(height) - low) / (high - low) if high - low > SAME else np.ones_like(height)
    share = FIRST + (1 - FIRST) * np.clip(place, 0, 1)
    painted = (colormaps["viridis"](share) * 255).round().astype(np.uint8)
    painted[~np.isfinite(height)] = (255, 255, 255, 0)
    return painted
