"""The stains of one slide's tiles brought to the target's: one fit a slide or a tile, guarded, and what is recorded."""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import TileSettings
from esad.pipeline.slides.stain_target import of_target, target_fit
from esad.pipeline.stage.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from esad.preprocessing.stain.vahadane import StainFit

FIT_PIXELS = 200_000
"""About as many pixels of a slide's tiles make its stain fit: enough, and 0.2 s
(docs/explanation/measurements.md#stain-sample)."""


class SlideStain:
    """Fitted on a sample of a slide's tiles, then applied to all of them, part by part and by several threads.

    What a tile becomes depends on the sample, the tile and the settings alone.
    """

    def __init__(self, sample: np.ndarray, settings: TileSettings, count: int) -> None:
        """`sample` uint8 (N, H, W, 3), tiles of the slide; `count` how many tiles it has.

        Where the sample has no two stains to fit, all tiles will stay as they are, and the record says why.
        """
        from esad.preprocessing.stain.vahadane import (
            REMEMBERING_PIXELS,
            StainMap,
            concentration_ratio,
            fit_stain,
            staintools_normaliser,
        )

        self.settings, self._lock, self._failed = settings, threading.Lock(), 0
        self._doubts: list[str] = []
        self._fit: StainFit | None = None
        if settings.stain == "staintools":
            target = settings.stain_target
            normaliser = staintools_normaliser
            self._staintools = of_target(target, normaliser) if target else normaliser(None)
        if settings.stain != "vahadane":
            return
        self._target = target_fit(settings.stain_target)
        try:
            fit = fit_stain(_pixels(sample))
        except InputError as error:
            self._doubts.append(f"tiles left as they are: {error}")
            return
        self._fit, self._paint = fit, StainMap(fit, self._target)
        self._remember = count * sample[0].size // 3 >= REMEMBERING_PIXELS
        ratio = self._target.max_concentration / fit.max_concentration
        capped = concentration_ratio(fit, self._target)
        self._doubts += [fit.guard] if fit.guard else []
        if (ratio > capped).any():
            told = f"pale slide: stain raised {capped.max():g} times instead of {ratio.max():.1f} times"
            self._doubts.append(told)

    def as_tiles(self, areas: np.ndarray) -> np.ndarray:
        """What is read of the slide as tiles in their own stains: here it is tiles."""
        return areas

    def __call__(self, places: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tiles uint8 (N, H, W, 3) in the target's stains, and which are settled (bool): here all are.

        `places` (N,) are their numbers within the slide. With one fit for the slide they lie where `areas` were.
        """
        import numpy as np

        return self._stained(areas), np.ones(len(places), dtype=bool)

    def rest(self, areas: np.ndarray) -> np.ndarray:
        """Tiles that were not settled, after all others were."""
        return self._stained(areas)

    def _stained(self, tiles: np.ndarray) -> np.ndarray:
        if self.settings.stain == "staintools":
            with self._lock:  # spams sets the threads of the whole process
                out, failed = self._staintools(tiles)
                self._failed += failed
            return out
        if self._fit is None:
            return tiles
        if self.settings.stain_scope == "slide":
            return self._paint(tiles, remember=self._remember, out=tiles)  # in the cache still
        out, failed = _tile_by_tile(tiles, self._fit, self._target)
        with self._lock:
            self._failed += failed
        return out

    def recorded(self) -> dict[str, Any]:
        """Stain matrix, concentrations and guard for the sources table, after the last tile."""
        told = list(self._doubts)
        if self._failed and self.settings.stain == "staintools":
            told.append(f"{self._failed} tiles left as they are (staintools failed)")
        elif self._failed:
            told.append(f"{self._failed} tiles took the slide's fit (too little stain of their own)")
        fit = self._fit
        return {
            "stain_matrix": json.dumps(fit.matrix.round(6).tolist()) if fit else None,
            "stain_concentration": json.dumps(fit.max_concentration.round(6).tolist()) if fit else None,
            "stain_guard": "; ".join(told) or None,
        }


def _pixels(tiles: np.ndarray) -> np.ndarray:
    """About FIT_PIXELS pixels (N, 3), evenly over all tiles: every k-th, k prime to the side so that columns vary."""
    pixels = tiles.reshape(-1, 3)
    every = max(1, -(-len(pixels) // FIT_PIXELS))
    while math.gcd(every, tiles.shape[2]) > 1:
        every += 1
    return pixels[::every]


def _tile_by_tile(tiles: np.ndarray, slide_fit: StainFit, target: StainFit) -> tuple[np.ndarray, int]:
    from esad.preprocessing.stain.vahadane import apply_stain, fit_stain

    out, failed = tiles.copy(), 0
    for place, picture in enumerate(tiles):
        try:
            fit = fit_stain(picture)
        except InputError:
            fit, failed = slide_fit, failed + 1
        out[place] = apply_stain(picture, fit, target)
    return out, failed
