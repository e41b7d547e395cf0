"""One slide to its tiles: grid or published list, tissue, pixels, stains, labels; what `esad tile` does slide by slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.config import TileSettings
from pipeline.errors import InputError
from pipeline.ingest import refused_row, source_row
from pipeline.slide_stain import normalise
from pipeline.slide_stain_dpa import from_level_0, read_normalised
from pipeline.stain_sheet import sample_places, stain_sheet
from preprocessing.store import Unit, write_atomically, write_unit

if TYPE_CHECKING:
    import numpy as np

    from preprocessing.slides import Slide
    from preprocessing.tiling import ReadPlan

UM_PER_PIXEL_AT_10 = 1.0
"""A magnification of 10 means 1 um a pixel."""


@dataclass(frozen=True)
class SlideTask:
    """What every slide of a call shares; picklable."""

    archive: Path
    settings: TileSettings
    outlines: dict[str, Path]
    """Slide -> outline file; where it is empty labels are unknown."""
    threads: int = 1
    """Threads within one slide; the result does not depend on it."""
    listed: Mapping[str, pd.DataFrame] | None = None
    """Slide -> its rows of a published tile list, which then take the place of grid and tissue mask."""


def process_slide(task: SlideTask, root: Path, unit: Unit) -> None:
    """Tile one slide into its unit; a fault of the slide becomes its refused row."""
    (source,) = unit.sources
    try:
        array, items, described = _tile_slide(task, source, root, unit.number)
    except InputError as error:
        nothing = pd.DataFrame({"source": [], "place": []})
        write_unit(root, unit, None, nothing, pd.DataFrame([refused_row(task.archive, source, error)]))
        return
    row = source_row(task.archive, source, len(items), **described)
    write_unit(root, unit, array, items, pd.DataFrame([row]))


def _tile_slide(
    task: SlideTask, source: str, root: Path, number: int
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Tiles (N, H, W, 3), their manifest rows, and the source's own columns; InputError where there are none."""
    import numpy as np
    from PIL import Image

    from preprocessing.slides import Slide
    from preprocessing.tissue import box_fractions, tissue_mask

    settings = task.settings
    wanted = settings.mpp or UM_PER_PIXEL_AT_10 * 10 / float(settings.magnification or 10)
    with Slide(task.archive / source, settings.slide_mpp) as slide:
        plan = slide.plan(wanted, exact=settings.mpp is not None)
        if settings.stain == "vahadane-dpa":
            plan = from_level_0(plan, settings.tile_size)
        thumbnail, unread = slide.thumbnail()
        listed = task.listed[source] if task.listed is not None else None
        corners = _grid(slide, plan, settings) if listed is None else _corners(slide, plan, settings, listed)
        span = settings.tile_size * plan.downsample
        boxes = np.column_stack([corners, np.full((len(corners), 2), span)])
        if not len(corners):
            raise InputError(
                f"{slide.path.name}: smaller than one tile of {settings.tile_size} pixels at {plan.mpp:.3g} um/px."
            )
        downsample = slide.width / thumbnail.shape[1]
        mask = (
            tissue_mask(thumbnail) | unread
        )  # what the overview lost is tried tile by tile, and counted there
        tissue = box_fractions(mask, boxes, downsample)
        kept = np.flatnonzero((tissue >= settings.min_tissue) | (listed is not None))
        if not len(kept):
            raise InputError(
                f"{slide.path.name}: no tile has {settings.min_tissue:.0%} tissue ({len(corners)} looked at)."
            )
        tiles, read, before, stain = _normalised(slide, corners[kept], plan, task)
        kept = kept[read]
        described = {
            "width": slide.width, "height": slide.height, "slide_mpp": slide.mpp, "mpp": plan.mpp, "level": plan.level,
            "reduction": plan.reduction, "thumbnail": f"thumbnails/{number:05d}.png",
            "thumbnail_downsample": downsample, "unreadable_tiles": int((~read).sum()), **stain,
        }  # fmt: skip
    if not len(tiles):
        raise InputError(
            f"{source}: none of its {len(read)} tissue tiles could be read; the file is damaged."
        )
    described["stain_sheet"] = None if settings.stain == "none" else f"stain/{number:05d}.png"
    items = pd.DataFrame(
        {
            "source": source,
            "place": [f"{x},{y}" for x, y in corners[kept]],
            "group": Path(source).with_suffix("").as_posix(),
        }
    )
    items["x"], items["y"] = corners[kept].T
    items["width"] = items["height"] = round(span)
    items["mpp"], items["tissue"] = plan.mpp, tissue[kept].astype(np.float32)
    _label(items, boxes[kept], task, source)
    if listed is not None:
        for name in ("split", "label", "semi_label"):
            items[name] = listed[name].to_numpy()[kept]
    write_atomically(root / str(described["thumbnail"]), Image.fromarray(thumbnail).save)
    if described["stain_sheet"]:
        sheet = stain_sheet(before, tiles[sample_places(len(tiles))])
        write_atomically(root / str(described["stain_sheet"]), partial(sheet.save, compress_level=1))
    return tiles, items, described


def _grid(slide: Slide, plan: ReadPlan, settings: TileSettings) -> np.ndarray:
    """Level-0 corners (N, 2) of all whole tiles of the slide."""
    from preprocessing.tiling import tile_grid

    step = settings.step or settings.tile_size
    return tile_grid(slide.width, slide.height, plan.downsample, settings.tile_size, step)


def _corners(slide: Slide, plan: ReadPlan, settings: TileSettings, listed: pd.DataFrame) -> np.ndarray:
    """Level-0 corners (N, 2) of listed tiles; InputError where they are of another size or leave the slide."""
    span = settings.tile_size * plan.downsample
    other = listed[(listed["width"] - span).abs() > 1]
    if len(other):
        raise InputError(
            f"{slide.path.name}: {other['name'].iloc[0]} is {other['width'].iloc[0]} level-0 pixels wide; a tile of "
            f"{settings.tile_size} pixels at {plan.mpp:.3g} um/px covers {span:g}."
        )
    corners = listed[["x", "y"]].to_numpy(dtype="int64")
    beyond = (corners < 0).any(1) | (corners + span > [slide.width, slide.height]).any(1)
    if beyond.any():
        raise InputError(
            f"{slide.path.name}: {listed['name'].to_numpy()[beyond][0]} leaves the slide of {slide.width} x "
            f"{slide.height} pixels: is it the slide that the list is of?"
        )
    return corners


def _normalised(
    slide: Slide, corners: np.ndarray, plan: ReadPlan, task: SlideTask
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Tiles with their stains normalised, those that could be read (bool), samples of them before, what is recorded."""
    settings = task.settings
    if settings.stain == "vahadane-dpa":
        tiles, read, recorded = read_normalised(slide, corners, plan, settings, task.threads)
        samples = corners[read][sample_places(len(tiles))]
        before, _ = _read(slide, samples, plan, settings.tile_size, task.threads)
        return tiles, read, before, recorded
    tiles, read = _read(slide, corners, plan, settings.tile_size, task.threads)
    before = tiles[sample_places(len(tiles))]  # a copy: painting is done in place
    tiles, recorded = normalise(tiles, settings, task.threads)
    return tiles, read, before, {"reader": slide.reader, **recorded}


def _read(
    slide: Slide, corners: np.ndarray, plan: Any, tile_size: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The tiles that could be read, in the order of `corners`, and which those are (bool)."""
    import numpy as np

    tiles = np.empty((len(corners), tile_size, tile_size, 3), dtype=np.uint8)
    read = slide.read_tiles(corners, plan, tile_size, tiles, threads)
    return tiles if read.all() else tiles[read], read


def _label(items: pd.DataFrame, boxes: np.ndarray, task: SlideTask, source: str) -> None:
    """`tumour_fraction` and `label` from the outlines: 0 without tumour, 1 from `labels.min_fraction`, else null."""
    import numpy as np

    from preprocessing.annotations import outline_fractions, read_outlines

    if not task.outlines:
        items["tumour_fraction"] = np.nan
        items["label"] = pd.array([None] * len(items), dtype="Int8")
        return
    path = task.outlines.get(source)
    fraction = outline_fractions(read_outlines(path), boxes) if path else np.zeros(len(items))
    label = np.select([fraction == 0, fraction >= task.settings.labels.min_fraction - 1e-9], [0, 1], -1)
    items["tumour_fraction"] = fraction
    items["label"] = pd.array(label, dtype="Int8")
    items.loc[label == -1, "label"] = pd.NA
