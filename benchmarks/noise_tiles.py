"""Stores of tiles of noise, made by the store's own writer, for the scripts of this folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import run_job, source_row
from esad.pipeline.settings.config import TileSettings
from esad.preprocessing.store.store import Store, Unit, write_unit

MPP = 1.0


def make_store(folder: Path, tiles: int, a_slide: int, side: int, channels: int = 1) -> Store:
    """A store of so many tiles, uint8 (side, side, channels), `a_slide` on a slide, made as an ingest stage makes it."""
    archive = folder / "archive"
    archive.mkdir(parents=True)
    sources = [f"slide_{number:04d}.svs" for number in range(tiles // a_slide)]
    for name in sources:
        (archive / name).write_text(name)
    settings = TileSettings(tile_size=side, step=side, mpp=MPP, magnification=None).model_dump(mode="json")
    process = partial(_write_slide, archive, a_slide, (side, side, channels))
    run_job(Job("tile", "tiles", archive, sources, settings, process), IngestOptions(folder / "store"))
    return Store(folder / "store")


def _write_slide(archive: Path, count: int, shape: tuple[int, int, int], root: Path, unit: Unit) -> None:
    """A unit of `count` tiles of noise on a square grid; every fifth slide has bright tumour tiles."""
    (source,), side = unit.sources, shape[0]
    numbers = np.random.default_rng(unit.number)
    across = int(np.ceil(np.sqrt(count)))
    row, column = np.divmod(np.arange(count), across)
    tumour = (numbers.random(count) < 0.05) & (unit.number % 5 == 0)
    pixels = numbers.integers(60, 120, (count, *shape), dtype=np.uint8)
    pixels[tumour] += 60
    items = pd.DataFrame(
        {
            "source": source, "place": np.char.add("t", np.arange(count).astype(str)), "label": tumour.astype(int),
            "group": Path(source).stem, "x": column * side, "y": row * side, "width": side, "height": side,
            "tumour_fraction": tumour.astype(np.float32),
        }
    )  # fmt: skip
    more = {"width": across * side, "height": across * side, "slide_mpp": MPP, "mpp": MPP, "thumbnail": ""}
    write_unit(root, unit, pixels, items, pd.DataFrame([source_row(archive, source, count, **more)]))
