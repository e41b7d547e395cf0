"""One slide to its tiles: grid or published list, tissue, pixels, stains, labels; what `esad tile` does slide by slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.config import TileSettings
from pipeline.errors import InputError
from pipeline.ingest import refused_row, source_row
from pipeline.tile_stream import stream_tiles
from preprocessing.store import Unit, write_atomically, write_unit

if TYPE_CHECKING:
    import numpy as np

    from pipeline.camelyon16 import Camelyon16
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
    protocol: Camelyon16 | None = None
    """The rule that then takes the place of grid and tissue mask."""

    def tiles_of(self, slide: Slide, source: str) -> pd.DataFrame | None:
        """The slide's tiles where a list or a protocol says which they are."""
        if self.listed is not None:
            return self.listed[source]
        if self.protocol is None:
            return None
        settings, outlines = self.settings, self.outlines.get(source)
        return self.protocol.tiles(
            slide, source, outlines, settings.labels.min_fraction, settings.protocol_seed
        )


def process_slide(task: SlideTask, root: Path, unit: Unit) -> None:
    """Tile one slide into its unit; a fault of the slide becomes its refused row."""
    (source,) = unit.sources
    reason = task.protocol.left_out(source) if task.protocol else None
    if reason:
        row = source_row(task.archive, source, 0, reason=reason)
        write_unit(root, unit, None, pd.DataFrame({"source": [], "place": []}), pd.DataFrame([row]))
        return
    try:
        items, described = _tile_slide(task, source, root, unit.number)
    except InputError as error:
        nothing = pd.DataFrame({"source": [], "place": []})
        write_unit(root, unit, None, nothing, pd.DataFrame([refused_row(task.archive, source, error)]))
        return
    row = source_row(task.archive, source, len(items), **described)
    write_unit(root, unit, None, items, pd.DataFrame([row]))


def _tile_slide(task: SlideTask, source: str, root: Path, number: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Write the slide's shard; its tiles' manifest rows, and the source's own columns. InputError where there are none."""
    import numpy as np
    from PIL import Image

    from preprocessing.shard_writer import ShardWriter
    from preprocessing.slides import Slide
    from preprocessing.tile_reader import TileReader
    from preprocessing.tissue import box_fractions, tissue_mask

    settings = task.settings
    wanted = settings.mpp or UM_PER_PIXEL_AT_10 * 10 / float(settings.magnification or 10)
    with Slide(task.archive / source, settings.slide_mpp) as slide:
        listed = task.tiles_of(slide, source)
        if task.protocol is not None:
            plan = slide.plan_downsample(task.protocol.rule.span // settings.tile_size)
        else:
            plan = slide.plan(wanted, exact=settings.mpp is not None)
        thumbnail, unread = slide.thumbnail()
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
        shape = (settings.tile_size, settings.tile_size, 3)
        with (
            TileReader(slide, plan, settings.tile_size) as reader,
            ShardWriter(root, number, len(kept), shape) as shard,
        ):
            streamed = stream_tiles(reader, corners[kept], settings, shard, task.threads)
            if not streamed.read.any():
                raise InputError(
                    f"{source}: none of its {len(kept)} tissue tiles could be read; the file is damaged."
                )
            shard.commit(streamed.read)
        described = {
            "width": slide.width, "height": slide.height, "slide_mpp": slide.mpp, "mpp": plan.mpp, "level": plan.level,
            "reduction": plan.reduction, "reader": reader.reader, "thumbnail": f"thumbnails/{number:05d}.png",
            "thumbnail_downsample": downsample, "unreadable_tiles": int((~streamed.read).sum()),
        }  # fmt: skip
    described.update(streamed.stain.recorded())
    kept = kept[streamed.read]
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
    return items, described


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
