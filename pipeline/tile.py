"""`esad tile`: slides to a store of stain-normalised tiles, one slide at a time."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.config import TileSettings
from pipeline.errors import InputError, UsageError
from pipeline.ingest import IngestOptions, Job, refused_row, run_job, source_row
from pipeline.inputs import find_sources
from pipeline.outcome import Outcome
from pipeline.progress import say
from preprocessing.store import Unit, joined_sources, write_atomically, write_unit

if TYPE_CHECKING:
    import numpy as np

    from preprocessing.slides import Slide
    from preprocessing.stain import StainFit

UM_PER_PIXEL_AT_10 = 1.0
"""A magnification of 10 means 1 um a pixel."""
FIT_PIXELS = 200_000
"""About as many pixels of a slide's tiles make its stain fit (MEASURED: enough, and 0.2 s)."""
PAINT_TILES = 512
"""Tiles are repainted so many at a time, in place: a slide of 100,000 tiles is held in memory once."""


@dataclass(frozen=True)
class _Task:
    """What every slide of a call shares; picklable."""

    archive: Path
    settings: TileSettings
    outlines: dict[str, Path]
    """Slide -> outline file; where it is empty labels are unknown."""
    threads: int = 1
    """Threads within one slide; the result does not depend on it."""


def tile(
    inputs: Sequence[Path], settings: TileSettings, options: IngestOptions, annotations: Path | None = None
) -> Outcome:
    """Write the store of tiles.

    With `annotations`, outline files go with slides of the same stem. A slide without one counts as normal where
    another slide of the call has one; where none has, the folder is not this archive's and labels stay null.
    Raises UsageError for a missing folder of outlines, two outlines of one slide, or an unusable stain target.
    """
    from preprocessing.slides import is_slide, one_per_series

    if annotations is not None and not annotations.is_dir():
        raise UsageError(f"--annotations {annotations}: no such folder.")
    if (settings.magnification is None) == (settings.mpp is None):
        raise UsageError("Give one of --magnification and --mpp.")
    archive, found = find_sources(inputs, is_slide, options.out)
    sources = one_per_series(archive, found)
    warnings = []
    if len(sources) < len(found):
        warnings.append(
            f"{len(found) - len(sources)} DICOM files are further parts of slides that are read once."
        )
    outlines: dict[str, Path] = {}
    if annotations is not None:
        outlines = _outlines_of(annotations, sources)
        warnings.append(_about_outlines(annotations, len(outlines), len(sources)))
    resolved = settings.model_dump()
    resolved["stain_target"] = _target_digest(settings)
    resolved["annotations"] = _digest(outlines.values()) if outlines else None
    at_once = max(1, min(options.workers, len(sources)))
    task = _Task(archive, settings, outlines, max(1, options.workers // at_once))
    versions = ("openslide-python", "pillow", "scikit-image", "numba", "shapely", "simplejpeg", "tifffile")
    process = partial(_process, task)
    job = Job("tile", "tiles", archive, sources, resolved, process, versions=versions, warnings=warnings)
    return _with_notes(run_job(job, options))


def _outlines_of(folder: Path, sources: Sequence[str]) -> dict[str, Path]:
    """Slide -> outline file of the same stem (any case); UsageError where two slides have the stem of one file."""
    from preprocessing.annotations import find_outlines

    by_stem: dict[str, list[str]] = {}
    for source in sources:
        by_stem.setdefault(Path(source).stem.lower(), []).append(source)
    found = {}
    for stem, path in find_outlines(folder, by_stem).items():
        slides = by_stem[stem]
        if len(slides) > 1:
            raise UsageError(
                f"{path}: {slides[0]} and {slides[1]} both have its name, and it can outline only one of them. Tile "
                "their folders apart, each with its own outlines."
            )
        found[slides[0]] = path.resolve()
    return found


def _about_outlines(folder: Path, matched: int, slides: int) -> str:
    if not matched:
        return (
            f"{folder}: no outline file has the stem of any of the {slides} slides, so all labels stay unknown. "
            "Outlines are STEM.xml, .geojson or .json for a slide STEM.tif."
        )
    others = slides - matched
    return f"{folder}: outlines for {matched} slides; {others} slides without one count as normal (label 0)."


def _with_notes(outcome: Outcome) -> Outcome:
    """Say which slides lost tiles or kept their stains, and put the counts into the summary."""
    sources = joined_sources(outcome.out)
    lost = sources[sources["unreadable_tiles"].fillna(0) > 0]
    guarded = sources[sources["stain_guard"].notna()]
    for source, count in lost[["source", "unreadable_tiles"]].head(5).itertuples(index=False):
        say(f"{source}: {int(count)} tiles could not be read and are left out.")
    for source, reason in guarded[["source", "stain_guard"]].head(5).itertuples(index=False):
        say(f"{source}: stain: {reason}")
    counts = {"unreadable_tiles": int(lost["unreadable_tiles"].sum()), "stain_guarded": len(guarded)}
    if len(lost):
        message = (
            f"{outcome.message} {counts['unreadable_tiles']} tiles of {len(lost)} damaged slides are missing."
        )
        outcome = replace(outcome, message=message)
    return replace(outcome, summary={**outcome.summary, **counts})


def _target_digest(settings: TileSettings) -> str | None:
    """Name and digest of the stain target; UsageError where it cannot serve, before any slide is read."""
    from preprocessing.stain import target_from_image

    if settings.stain_target is None or settings.stain == "none":
        return None
    path = Path(settings.stain_target)
    if not path.is_file():
        like = re.fullmatch(r"(.+):[0-9a-f]{16}", settings.stain_target)
        hint = f" The run was made towards {like[1]}: give that file with --stain-target." if like else ""
        raise UsageError(f"--stain-target {path}: no such file.{hint}")
    try:
        target_from_image(path)
    except InputError as error:
        raise UsageError(f"--stain-target {error}") from error
    return f"{path.name}:{_digest([path])}"


def _digest(paths: Iterable[Path]) -> str:
    """16 hex digits over names and bytes."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def _process(task: _Task, root: Path, unit: Unit) -> None:
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
    task: _Task, source: str, root: Path, number: int
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Tiles (N, H, W, 3), their manifest rows, and the source's own columns; InputError where there are none."""
    import numpy as np
    from PIL import Image

    from preprocessing.slides import Slide
    from preprocessing.tiling import tile_grid
    from preprocessing.tissue import box_fractions, tissue_mask

    settings = task.settings
    wanted = settings.mpp or UM_PER_PIXEL_AT_10 * 10 / float(settings.magnification or 10)
    with Slide(task.archive / source, settings.slide_mpp) as slide:
        plan = slide.plan(wanted, exact=settings.mpp is not None)
        thumbnail, unread = slide.thumbnail()
        corners = tile_grid(
            slide.width,
            slide.height,
            plan.downsample,
            settings.tile_size,
            settings.step or settings.tile_size,
        )
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
        kept = np.flatnonzero(tissue >= settings.min_tissue)
        if not len(kept):
            raise InputError(
                f"{slide.path.name}: no tile has {settings.min_tissue:.0%} tissue ({len(corners)} looked at)."
            )
        tiles, read = _read(slide, corners[kept], plan, settings.tile_size, task.threads)
        kept = kept[read]
        described = {
            "width": slide.width, "height": slide.height, "slide_mpp": slide.mpp, "mpp": plan.mpp, "level": plan.level,
            "reduction": plan.reduction, "reader": slide.reader, "thumbnail": f"thumbnails/{number:05d}.png",
            "thumbnail_downsample": downsample, "unreadable_tiles": int((~read).sum()),
        }  # fmt: skip
    if not len(tiles):
        raise InputError(
            f"{source}: none of its {len(read)} tissue tiles could be read; the file is damaged."
        )
    tiles, stain = _normalise(tiles, settings, task.threads)
    described.update(stain)
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
    write_atomically(root / str(described["thumbnail"]), Image.fromarray(thumbnail).save)
    return tiles, items, described


def _read(
    slide: Slide, corners: np.ndarray, plan: Any, tile_size: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The tiles that could be read, in the order of `corners`, and which those are (bool)."""
    import numpy as np

    tiles = np.empty((len(corners), tile_size, tile_size, 3), dtype=np.uint8)
    read = slide.read_tiles(corners, plan, tile_size, tiles, threads)
    return tiles if read.all() else tiles[read], read


def _label(items: pd.DataFrame, boxes: np.ndarray, task: _Task, source: str) -> None:
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


def _normalise(tiles: np.ndarray, settings: TileSettings, threads: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Tiles with their stains brought to the target's, and what is recorded of it.

    Where the slide has no two stains to fit, its tiles stay as they are and `stain_guard` says why.
    """
    from preprocessing.stain import (
        REMEMBERING_PIXELS,
        StainMap,
        builtin_target,
        concentration_ratio,
        fit_stain,
        staintools_transform,
        target_from_image,
    )

    recorded: dict[str, Any] = {"stain_matrix": None, "stain_concentration": None, "stain_guard": None}
    if settings.stain == "none":
        return tiles, recorded
    path = Path(settings.stain_target) if settings.stain_target else None
    if settings.stain == "staintools":
        out, failed = staintools_transform(tiles, path)
        recorded["stain_guard"] = f"{failed} tiles left as they are (staintools failed)" if failed else None
        return out, recorded
    target = target_from_image(path) if path else builtin_target()
    try:
        fit = fit_stain(_sample(tiles))
    except InputError as error:
        recorded["stain_guard"] = f"tiles left as they are: {error}"
        return tiles, recorded
    recorded["stain_matrix"] = json.dumps(fit.matrix.round(6).tolist())
    recorded["stain_concentration"] = json.dumps(fit.max_concentration.round(6).tolist())
    ratio, capped = target.max_concentration / fit.max_concentration, concentration_ratio(fit, target)
    doubts = [fit.guard] if fit.guard else []
    if (ratio > capped).any():
        doubts.append(f"pale slide: stain raised {capped.max():g} times instead of {ratio.max():.1f} times")
    if settings.stain_scope == "slide":
        paint, remember = StainMap(fit, target), tiles.size // 3 >= REMEMBERING_PIXELS

        def repaint(start: int) -> None:
            part = slice(start, start + PAINT_TILES)
            tiles[part] = paint(tiles[part], remember=remember)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(repaint, range(0, len(tiles), PAINT_TILES)))
    else:
        tiles, failed = _tile_by_tile(tiles, fit, target)
        if failed:
            doubts.append(f"{failed} tiles took the slide's fit (too little stain of their own)")
    recorded["stain_guard"] = "; ".join(doubts) or None
    return tiles, recorded


def _sample(tiles: np.ndarray) -> np.ndarray:
    """About FIT_PIXELS pixels (N, 3), evenly over all tiles: every k-th, k prime to the side so that columns vary."""
    pixels = tiles.reshape(-1, 3)
    every = max(1, -(-len(pixels) // FIT_PIXELS))
    while math.gcd(every, tiles.shape[2]) > 1:
        every += 1
    return pixels[::every]


def _tile_by_tile(tiles: np.ndarray, slide_fit: StainFit, target: StainFit) -> tuple[np.ndarray, int]:
    from preprocessing.stain import apply_stain, fit_stain

    out, failed = tiles.copy(), 0
    for place, picture in enumerate(tiles):
        try:
            fit = fit_stain(picture)
        except InputError:
            fit, failed = slide_fit, failed + 1
        out[place] = apply_stain(picture, fit, target)
    return out, failed


if __name__ == "__main__":
    from pipeline.cli import main

    main(["tile", *sys.argv[1:]])
