"""`esad tile`: slides to a store of stain-normalised tiles, one slide at a time."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.config import TileSettings
from pipeline.errors import InputError, UsageError
from pipeline.ingest import IngestOptions, Job, find_sources, refused_row, run_job, source_row
from pipeline.outcome import Outcome
from preprocessing.store import Unit, write_atomically, write_unit

if TYPE_CHECKING:
    import numpy as np

    from preprocessing.slides import Slide
    from preprocessing.stain import StainFit

UM_PER_PIXEL_AT_10 = 1.0
"""A magnification of 10 means 1 um a pixel."""
FIT_PIXELS = 200_000


@dataclass(frozen=True)
class _Task:
    """What every slide of a call shares; picklable."""

    archive: Path
    settings: TileSettings
    outlines: dict[str, Path]
    annotated: bool


def tile(
    inputs: Sequence[Path], settings: TileSettings, options: IngestOptions, annotations: Path | None = None
) -> Outcome:
    """Write the store of tiles. With `annotations` a slide without an outline file counts as normal.

    Raises UsageError for a missing folder of outlines or an unreadable stain target.
    """
    from preprocessing.annotations import find_outlines
    from preprocessing.slides import SUFFIXES

    if annotations is not None and not annotations.is_dir():
        raise UsageError(f"--annotations {annotations}: no such folder.")
    if (settings.magnification is None) == (settings.mpp is None):
        raise UsageError("Give one of --magnification and --mpp.")
    archive, sources = find_sources(inputs, lambda path: path.suffix.lower() in SUFFIXES)
    outlines = find_outlines(annotations) if annotations else {}
    known = {Path(source).stem.lower() for source in sources}
    outlines = {stem: path.resolve() for stem, path in outlines.items() if stem in known}
    resolved = settings.model_dump()
    resolved["stain_target"] = _target_digest(settings)
    resolved["annotations"] = _digest(outlines.values()) if annotations else None
    warnings = []
    if annotations is not None:
        plain = len(known) - len(outlines)
        warnings.append(
            f"{annotations}: outlines for {len(outlines)} slides; {plain} slides without one count as normal."
        )
    task = _Task(archive, settings, outlines, annotations is not None)
    versions = ("openslide-python", "pillow", "scikit-image", "numba")
    job = Job(
        "tile",
        "tiles",
        archive,
        sources,
        resolved,
        partial(_process, task),
        versions=versions,
        warnings=warnings,
    )
    return run_job(job, options)


def _target_digest(settings: TileSettings) -> str | None:
    if settings.stain_target is None:
        return None
    path = Path(settings.stain_target)
    if not path.is_file():
        raise UsageError(f"--stain-target {path}: no such file.")
    return f"{path.name}:{_digest([path])}"


def _digest(paths: Any) -> str:
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
        thumbnail = slide.thumbnail()
        write_atomically(root / "thumbnails" / f"{number:05d}.png", Image.fromarray(thumbnail).save)
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
        tissue = box_fractions(tissue_mask(thumbnail), boxes, slide.width / thumbnail.shape[1])
        kept = np.flatnonzero(tissue >= max(settings.min_tissue, 1e-9))
        if not len(kept):
            raise InputError(
                f"{slide.path.name}: no tile has {settings.min_tissue:.0%} tissue ({len(corners)} looked at)."
            )
        tiles, read = _read(slide, corners[kept], plan, settings.tile_size)
        kept = kept[read]
        described = {
            "width": slide.width, "height": slide.height, "slide_mpp": slide.mpp, "mpp": plan.mpp, "level": plan.level,
            "reader": "openslide", "thumbnail": f"thumbnails/{number:05d}.png", "unreadable_tiles": int((~read).sum()),
        }  # fmt: skip
    if not len(tiles):
        raise InputError(
            f"{source}: none of its {len(read)} tissue tiles could be read; the file is damaged."
        )
    tiles, stain = _normalise(tiles, settings)
    described.update(stain)
    items = pd.DataFrame(
        {"source": source, "place": [f"{x},{y}" for x, y in corners[kept]], "group": Path(source).stem}
    )
    items["x"], items["y"] = corners[kept].T
    items["width"] = items["height"] = round(span)
    items["mpp"], items["tissue"] = plan.mpp, tissue[kept].astype(np.float32)
    _label(items, boxes[kept], task, source)
    return tiles, items, described


def _read(slide: Slide, corners: np.ndarray, plan: Any, tile_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The tiles that could be read, in the order of `corners`, and which those are (bool)."""
    import numpy as np

    tiles = np.empty((len(corners), tile_size, tile_size, 3), dtype=np.uint8)
    read = np.zeros(len(corners), dtype=bool)
    for place, picture in slide.tiles(corners, plan, tile_size):
        if picture is not None:
            tiles[place], read[place] = picture, True
    return tiles[read], read


def _label(items: pd.DataFrame, boxes: np.ndarray, task: _Task, source: str) -> None:
    """`tumour_fraction` and `label` from the outlines: 0 without tumour, 1 from `labels.min_fraction`, else null."""
    import numpy as np

    from preprocessing.annotations import outline_fractions, read_outlines

    if not task.annotated:
        items["tumour_fraction"] = np.nan
        items["label"] = pd.array([None] * len(items), dtype="Int8")
        return
    path = task.outlines.get(Path(source).stem.lower())
    fraction = outline_fractions(read_outlines(path), boxes) if path else np.zeros(len(items))
    label = np.select([fraction == 0, fraction >= task.settings.labels.min_fraction - 1e-9], [0, 1], -1)
    items["tumour_fraction"] = fraction
    items["label"] = pd.array(label, dtype="Int8")
    items.loc[label == -1, "label"] = pd.NA


def _normalise(tiles: np.ndarray, settings: TileSettings) -> tuple[np.ndarray, dict[str, Any]]:
    """Tiles with their stains brought to the target's, and what is recorded of it.

    Where the slide has no two stains to fit, its tiles stay as they are and `stain_guard` says why.
    """
    from preprocessing.stain import (
        apply_stain,
        builtin_target,
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
    every = max(1, -(-tiles.shape[0] * tiles.shape[1] * tiles.shape[2] // FIT_PIXELS))
    try:
        fit = fit_stain(tiles.reshape(-1, 3)[::every])
    except InputError as error:
        recorded["stain_guard"] = f"tiles left as they are: {error}"
        return tiles, recorded
    recorded["stain_matrix"] = json.dumps(fit.matrix.round(6).tolist())
    recorded["stain_concentration"] = json.dumps(fit.max_concentration.round(6).tolist())
    if settings.stain_scope == "slide":
        return apply_stain(tiles, fit, target), recorded
    out, failed = _tile_by_tile(tiles, fit, target)
    recorded["stain_guard"] = (
        f"{failed} tiles took the slide's fit (too little stain of their own)" if failed else None
    )
    return out, recorded


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
