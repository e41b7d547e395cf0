"""One slide to its tiles: grid or published list, tissue, pixels, stains, labels; what `esad tile` does slide by slide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from esad.pipeline.ingest.units import refused_row, source_row
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.slides.mask_picture import Overview, write_pictures
from esad.pipeline.slides.stain import SlideStain
from esad.pipeline.slides.stain_dpa import DpaStain, area_plan, from_level_0
from esad.pipeline.slides.stain_sheet import sample_places, stain_sheet
from esad.pipeline.slides.stream import Stain, Streamed, stream_tiles
from esad.pipeline.stage.errors import InputError, NothingToKeep
from esad.preprocessing.gate.refusals import refusing
from esad.preprocessing.store.store import Unit, file_digest, shard_path, write_atomically, write_unit

if TYPE_CHECKING:
    import numpy as np
    from shapely.geometry.base import BaseGeometry

    from esad.pipeline.slides.camelyon16 import Camelyon16
    from esad.pipeline.slides.listing import SlideListing
    from esad.preprocessing.slides.outlines.areas import Areas
    from esad.preprocessing.slides.outlines.frame import SlideFrame
    from esad.preprocessing.slides.reading import Slide
    from esad.preprocessing.slides.series import SlideSeries
    from esad.preprocessing.slides.tile_reader import TileReader
    from esad.preprocessing.slides.tiling import ReadPlan

PACKAGES = (
    "openslide-python",
    "pillow",
    "scikit-image",
    "numba",
    "shapely",
    "simplejpeg",
    "tifffile",
    "imagecodecs",
)
"""What tiles depend on."""
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
    series: SlideSeries | None = None
    """Which DICOM files are copies of others, or refused for sharing UIDs."""
    unread: frozenset[str] = frozenset()
    """Slides whose outlines seem to lie in a file that is not read."""

    def areas_of(self, source: str, frame: SlideFrame) -> Areas | None:
        """The outlined areas of the slide; None where it has no outlines. InputError where they cannot be read, or are not its."""
        from esad.preprocessing.slides.outlines.reading import read_areas

        path, labels = self.outlines.get(source), self.settings.labels
        return read_areas(path, labels.outline_classes, frame, labels.geojson_origin) if path else None

    def tiles_of(self, slide: Slide, source: str, area: BaseGeometry | None) -> pd.DataFrame | None:
        """The slide's tiles where a list or a protocol says which they are."""
        if self.listed is not None:
            return self.listed[source]
        if self.protocol is None:
            return None
        settings = self.settings
        return self.protocol.tiles(slide, source, area, settings.labels.min_fraction, settings.protocol_seed)


def slide_task(listing: SlideListing, workers: int) -> SlideTask:
    """What every slide of `listing` shares; `workers` not needed for slides side by side become threads within one."""
    threads = max(1, workers // max(1, min(workers, len(listing.sources))))
    protocol = listing.protocol if listing.listed is None else None
    return SlideTask(
        listing.archive, listing.settings, listing.outlines, threads, listing.listed, protocol, listing.series,
        listing.unread,
    )  # fmt: skip


def process_slide(task: SlideTask, root: Path, unit: Unit) -> None:
    """Tile one slide into its unit; a fault of the slide becomes its refused row."""
    from esad.preprocessing.slides.readers.probe import probe_slide

    (source,) = unit.sources
    if task.series is not None and source in task.series.refused:
        row = refused_row(task.archive, source, f"{Path(source).name}: {task.series.refused[source]}")
        write_unit(root, unit, None, _no_items(), pd.DataFrame([row]))
        return
    reason = task.series.copies.get(source) if task.series is not None else None
    if reason is None and task.protocol is not None:
        reason = task.protocol.left_out(source)
    if reason:
        row = source_row(task.archive, source, 0, reason=reason)
        write_unit(root, unit, None, _no_items(), pd.DataFrame([row]))
        return
    with ThreadPoolExecutor(1) as beside:
        try:
            with refusing(Path(source).name, "slide"):
                probe_slide(task.archive / source)
                items, described, digest = _tile_slide(task, source, root, unit.number, beside)
        except InputError as error:
            refused = refused_row(task.archive, source, error)
            write_unit(root, unit, None, _no_items(), pd.DataFrame([refused]))
            return
        row = source_row(task.archive, source, len(items), **described)
        write_unit(root, unit, None, items, pd.DataFrame([row]), digest)


def _no_items() -> pd.DataFrame:
    return pd.DataFrame({"source": [], "place": []})


def _tile_slide(
    task: SlideTask, source: str, root: Path, number: int, beside: Executor
) -> tuple[pd.DataFrame, dict[str, Any], Future[str] | None]:
    """Write the slide's shard and pictures; its tiles' manifest rows, the source's own columns, and the shard's digest to be.

    Where nothing on the slide is worth a tile there are no rows, and `reason` says why. InputError where it cannot be tiled.
    The digest is taken `beside` the pictures and tables.
    """
    import numpy as np

    from esad.preprocessing.slides.outlines.frame import frame_of
    from esad.preprocessing.slides.reading import Slide
    from esad.preprocessing.slides.sharpness import focus_note

    settings = task.settings
    with Slide(task.archive / source, settings.slide_mpp) as slide:
        if task.protocol is not None:
            plan = slide.plan_downsample(task.protocol.rule.span // settings.tile_size)
        else:
            plan = grid_plan(slide, settings)
        if settings.stain == "vahadane-dpa":
            plan = from_level_0(plan, settings.tile_size)
        frame = frame_of(slide)
        areas = task.areas_of(source, frame)
        overview = slide_overview(slide)
        described: dict[str, Any] = {
            "width": slide.width, "height": slide.height, "slide_mpp": slide.mpp, "mpp": plan.mpp, "level": plan.level,
            "reduction": plan.reduction, "reader": None,
            "reader_note": _reader_note(task, source, slide), "thumbnail_downsample": overview.downsample,
            "unreadable_tiles": 0, "blurred_tiles": 0, "focus_note": None, **frame.columns(),
            "outlines": json.dumps(areas.understood, sort_keys=True) if areas else None,
        }  # fmt: skip
        try:
            boxes, tissue, listed = places_of_tiles(
                task, source, slide, plan, overview, areas.tumour if areas else None
            )
        except NothingToKeep as error:
            nothing = np.empty((0, 4))
            pictures = write_pictures(root, number, overview, nothing, nothing)
            return _no_items(), {**described, **pictures, "reason": str(error)}, None
        corners = boxes[:, :2].astype(np.int64)
        least = settings.min_sharpness if listed is None else 0.0
        streamed, read_with = _write_shard(task, slide, plan, corners, root, number, least)
        if not streamed.read.any():
            raise InputError(
                f"{source}: none of its {len(corners)} tissue tiles could be read; the file is damaged."
            )
        kept, blurred = streamed.written, streamed.read & ~streamed.written
        digest = beside.submit(file_digest, shard_path(root, number)) if kept.any() else None
    sharp = streamed.sharpness[streamed.read]
    described |= {
        "reader": read_with, "unreadable_tiles": int((~streamed.read).sum()), "blurred_tiles": int(blurred.sum()),
        "focus_note": focus_note(sharp, plan.mpp), **write_pictures(root, number, overview, boxes[kept], boxes[blurred]),
    }  # fmt: skip
    if not kept.any():
        told = f"blurred: the sharpest of {len(sharp)} tiles has {sharp.max():.2f}, {least:g} needed."
        return _no_items(), {**described, "reason": told}, None
    described |= streamed.stain.recorded()
    described["stain_sheet"] = f"stain/{number:05d}.png" if settings.stain != "none" else None
    measured = pd.DataFrame({"tissue": tissue.astype(np.float32), "sharpness": streamed.sharpness})
    items = _items(task, source, boxes[kept], measured[kept], plan.mpp, areas)
    if listed is not None:
        for name in ("split", "label", "semi_label"):
            items[name] = listed[name].to_numpy()[kept]
    return items, described, digest


def _write_shard(
    task: SlideTask, slide: Slide, plan: ReadPlan, corners: np.ndarray, root: Path, number: int, least: float
) -> tuple[Streamed, str]:
    """Write the pixels of the tiles at `corners` and the sheet of samples; what was written, and what it was read with.

    Without a tile that can be read and is sharp enough there is no shard.
    """
    from esad.preprocessing.slides.tile_reader import TileReader
    from esad.preprocessing.store.shards import ShardWriter

    settings = task.settings
    read_plan, side = plan, settings.tile_size
    if settings.stain == "vahadane-dpa":
        read_plan, side = area_plan(plan, side)

    def make_stain(sample: np.ndarray) -> Stain:
        if settings.stain == "vahadane-dpa":
            return DpaStain(settings, plan, len(corners))
        return SlideStain(sample, settings, len(corners))

    shape = (settings.tile_size, settings.tile_size, 3)
    with (
        TileReader(slide, read_plan, side, tolerance=settings.scaled_decode) as reader,
        ShardWriter(root, number, len(corners), shape) as shard,
    ):
        streamed = stream_tiles(reader, corners, make_stain, shard, task.threads, least)
        read_with = reader.reader
        if streamed.written.any():
            shard.commit(streamed.written)
            if settings.stain != "none":
                _write_sheet(root, number, reader, corners[streamed.written], streamed.stain)
    return streamed, read_with


def _write_sheet(root: Path, number: int, reader: TileReader, corners: np.ndarray, stain: Stain) -> None:
    """Sample tiles of the shard above the same tiles as they were read."""
    import numpy as np

    chosen = sample_places(len(corners))
    before = stain.as_tiles(reader.read_all(corners[chosen])[0])
    after = np.load(shard_path(root, number), mmap_mode="r", allow_pickle=False)[chosen]
    sheet = stain_sheet(before, after)
    write_atomically(root / f"stain/{number:05d}.png", partial(sheet.save, compress_level=1))


def _items(
    task: SlideTask,
    source: str,
    boxes: np.ndarray,
    measured: pd.DataFrame,
    mpp: float,
    areas: Areas | None,
) -> pd.DataFrame:
    """The manifest rows of tiles at `boxes` (N, 4), with the columns of `measured` (N rows), labelled by the outlines."""
    corners = boxes[:, :2].astype("int64")
    items = pd.DataFrame(
        {
            "source": source,
            "place": [f"{x},{y}" for x, y in zip(*corners.T.tolist(), strict=True)],
            "group": Path(source).with_suffix("").as_posix(),
        }
    )
    items["x"], items["y"] = corners.T
    items["width"] = items["height"] = round(float(boxes[0, 2]))
    items["mpp"] = mpp
    for name, values in measured.items():
        items[name] = values.to_numpy()
    _label(items, boxes, task, areas, source)
    return items


def _reader_note(task: SlideTask, source: str, slide: Slide) -> str | None:
    """What was assumed of the slide's file, by whichever reader; None where nothing was."""
    told = task.series.notes.get(source) if task.series is not None else None
    return "; ".join([*slide.notes, *([told] if told else [])]) or None


def grid_plan(slide: Slide, settings: TileSettings) -> ReadPlan:
    """How the tiles of a grid are read; InputError where the slide is too coarse."""
    wanted = settings.mpp or UM_PER_PIXEL_AT_10 * 10 / float(settings.magnification or 10)
    return slide.plan(wanted, exact=settings.mpp is not None)


def slide_overview(slide: Slide) -> Overview:
    """The thumbnail, and what it shows."""
    from esad.preprocessing.tissue.mask import tissue_kinds

    thumbnail, lost = slide.thumbnail()
    downsample = slide.width / thumbnail.shape[1]
    return Overview(thumbnail, tissue_kinds(thumbnail, float(slide.mpp or 0) * downsample), lost, downsample)


def places_of_tiles(
    task: SlideTask,
    source: str,
    slide: Slide,
    plan: ReadPlan,
    overview: Overview,
    area: BaseGeometry | None = None,
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame | None]:
    """Level-0 boxes (N, 4) of the tiles to read, their share of tissue (N,), and their rows of a list or protocol, if any.

    NothingToKeep where no place has enough tissue, InputError where the slide cannot be tiled.
    """
    import numpy as np

    from esad.preprocessing.tissue.mask import Kind, box_fractions

    settings = task.settings
    listed = task.tiles_of(slide, source, area)
    corners = _grid(slide, plan, settings) if listed is None else _corners(slide, plan, settings, listed)
    if not len(corners):
        raise InputError(
            f"{slide.path.name}: smaller than one tile of {settings.tile_size} pixels at {plan.mpp:.3g} um/px."
        )
    boxes = np.column_stack([corners, np.full((len(corners), 2), settings.tile_size * plan.downsample)])
    # what the overview lost is tried tile by tile, and counted there
    tissue = box_fractions((overview.kinds == Kind.TISSUE) | overview.lost, boxes, overview.downsample)
    if listed is not None:
        return boxes, tissue, listed
    enough = tissue >= settings.min_tissue
    if not enough.any():
        raise NothingToKeep(
            f"no tissue: {tissue.max():.0%} in the fullest of {len(boxes)} places, {settings.min_tissue:.0%} needed.{_dimly(slide)}"
        )
    return boxes[enough], tissue[enough], None


def _dimly(slide: Slide) -> str:
    """What may be why a slide shows no tissue: values of 12 bits, say, that were taken as 16."""
    from esad.preprocessing.slides.readers.tiff_handle import DIMLY

    return "".join(f" Perhaps it is dark: {note}." for note in slide.notes if note.startswith(DIMLY))


def _grid(slide: Slide, plan: ReadPlan, settings: TileSettings) -> np.ndarray:
    """Level-0 corners (N, 2) of all whole tiles of the slide."""
    from esad.preprocessing.slides.tiling import tile_grid

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


def _label(items: pd.DataFrame, boxes: np.ndarray, task: SlideTask, areas: Areas | None, source: str) -> None:
    """`tumour_fraction` and `label` from the outlines: 0 without tumour, 1 from `labels.min_fraction`, else null.

    Null, too, where a tile is less than that in tumour and touches an ignored area, or is not wholly inside the regions
    where the slide has some, or where it has no outlines and `labels.without_outlines` says unknown or a file
    that is not read may hold them.
    """
    import numpy as np

    from esad.preprocessing.slides.outlines.fractions import outline_fractions

    if not task.outlines:
        items["tumour_fraction"] = np.nan
        items["label"] = pd.array([None] * len(items), dtype="Int8")
        return
    fraction, unknown = np.zeros(len(items)), np.zeros(len(items), dtype=bool)
    if areas is not None:
        fraction, unknown = (
            outline_fractions(areas.tumour, boxes),
            outline_fractions(areas.ignored, boxes) > 0,
        )
        if areas.regions is not None:
            unknown |= outline_fractions(areas.regions, boxes) < 1 - 1e-9
    elif task.settings.labels.without_outlines == "unknown" or source in task.unread:
        fraction, unknown = np.full(len(items), np.nan), ~unknown
    least = task.settings.labels.min_fraction - 1e-9
    label = np.select([fraction >= least, (fraction == 0) & ~unknown], [1, 0], -1)
    items["tumour_fraction"] = fraction
    items["label"] = pd.array(label, dtype="Int8")
    items.loc[label == -1, "label"] = pd.NA
