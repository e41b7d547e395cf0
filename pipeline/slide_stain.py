"""The stains of one slide's tiles brought to the target's: one fit a slide or a tile, guarded, and what is recorded."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import TileSettings
from pipeline.errors import InputError
from pipeline.stain_target import target_fit

if TYPE_CHECKING:
    import numpy as np

    from preprocessing.stain import StainFit

FIT_PIXELS = 200_000
"""About as many pixels of a slide's tiles make its stain fit (MEASURED: enough, and 0.2 s)."""
PAINT_TILES = 512
"""Tiles are repainted so many at a time, in place: a slide of 100,000 tiles is held in memory once."""


def normalise(tiles: np.ndarray, settings: TileSettings, threads: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Tiles with their stains brought to the target's, and what is recorded of it.

    Where the slide has no two stains to fit, its tiles stay as they are and `stain_guard` says why.
    """
    from preprocessing.stain import (
        REMEMBERING_PIXELS,
        StainMap,
        concentration_ratio,
        fit_stain,
        staintools_transform,
    )

    recorded: dict[str, Any] = {"stain_matrix": None, "stain_concentration": None, "stain_guard": None}
    if settings.stain == "none":
        return tiles, recorded
    path = Path(settings.stain_target) if settings.stain_target else None
    if settings.stain == "staintools":
        out, failed = staintools_transform(tiles, path)
        recorded["stain_guard"] = f"{failed} tiles left as they are (staintools failed)" if failed else None
        return out, recorded
    target = target_fit(settings.stain_target)
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
