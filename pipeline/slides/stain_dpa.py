"""`--stain vahadane-dpa`: each tile's area is read at level 0, repainted under its own fit, then reduced to the tile."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esad.pipeline.settings.config import TileSettings
from esad.pipeline.slides.stain_target import dpa_target_matrix
from esad.pipeline.stage.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from esad.preprocessing.slides.tiling import ReadPlan


def from_level_0(plan: ReadPlan, tile_size: int) -> ReadPlan:
    """`plan` with the tiles' areas read at level 0.

    A downsample so near a whole number that a tile's far edge moves by less than half a pixel (levels of odd sizes:
    4.0001) counts as whole; any other (3.7) stays, and tiles are exact area means (`resample_area`).
    """
    whole = round(plan.downsample)
    near = abs(plan.downsample - whole) * tile_size < 0.5
    reduction = float(whole) if near else plan.downsample
    return replace(
        plan, level=0, level_downsample=1.0, reduction=reduction, mpp=plan.mpp * reduction / plan.downsample
    )


def area_plan(plan: ReadPlan, tile_size: int) -> tuple[ReadPlan, int]:
    """(how to read the areas of a plan of `from_level_0`, unreduced; their side in level-0 pixels)."""
    import numpy as np

    side = int(np.ceil(tile_size * plan.reduction - 1e-6))
    return replace(plan, reduction=1.0, mpp=plan.mpp / plan.reduction), side


class DpaStain:
    """As `SlideStain`, for level-0 areas of tiles, each under its own fit.

    A tile without two stains of its own to fit waits for the others, and is repainted under their median matrix; where
    no tile has them, all keep their stains, at standardised brightness. A black tile stays black.
    """

    def __init__(self, settings: TileSettings, plan: ReadPlan, count: int) -> None:
        """`plan` is one of `from_level_0`; the slide has `count` tiles."""
        import numpy as np

        self._plan, self._side = plan, settings.tile_size
        self._target = dpa_target_matrix(settings.stain_target)
        self._matrices = np.full((count, 2, 3), np.nan)
        self._ill = np.zeros(count, dtype=bool)
        self._typical: np.ndarray | None = None

    def as_tiles(self, areas: np.ndarray) -> np.ndarray:
        """Level-0 areas uint8 (N, side, side, 3) reduced to tiles, in their own stains."""
        import numpy as np

        from esad.preprocessing.slides.resampling import reduce_whole, resample_area

        tiles = np.empty((len(areas), self._side, self._side, 3), dtype=np.uint8)
        for place, area in enumerate(areas):
            if self._plan.reduction == round(self._plan.reduction):
                tiles[place] = reduce_whole(area, int(self._plan.reduction))
            else:
                tiles[place] = resample_area(area, 0, 0, self._side, self._plan.reduction)
        return tiles

    def __call__(self, places: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tiles uint8 (N, tile_size, tile_size, 3) in the target's stains, and which had a fit of their own (bool)."""
        import numpy as np

        from esad.preprocessing.stain import dpa as stain_dpa

        painted, fitted = areas.copy(), np.ones(len(places), dtype=bool)
        for number, place in enumerate(places.tolist()):
            try:
                standardised = stain_dpa.standardise_brightness(areas[number])
                matrix = stain_dpa.fit_matrix(standardised)
            except InputError:
                fitted[number], self._ill[place] = False, True
                continue
            self._matrices[place] = matrix
            painted[number] = stain_dpa.repaint(standardised, matrix, self._target)
        return self.as_tiles(painted), fitted

    def rest(self, areas: np.ndarray) -> np.ndarray:
        """Tiles that had no fit of their own, once all others have theirs."""
        from esad.preprocessing.stain import dpa as stain_dpa

        typical, painted = self._typical_matrix(), areas.copy()
        for number, area in enumerate(areas):
            try:
                standardised = stain_dpa.standardise_brightness(area)
            except InputError:
                continue
            painted[number] = standardised
            if typical is not None:
                painted[number] = stain_dpa.repaint(standardised, typical, self._target)
        return self.as_tiles(painted)

    def _typical_matrix(self) -> np.ndarray | None:
        import numpy as np

        from esad.preprocessing.stain.dpa import typical_matrix

        fitted = ~np.isnan(self._matrices[:, 0, 0])
        if self._typical is None and fitted.any():
            self._typical = typical_matrix(self._matrices[fitted])
        return self._typical

    def recorded(self) -> dict[str, Any]:
        """The median stain matrix and the guard for the sources table, after the last tile."""
        typical, ill = self._typical_matrix(), int(self._ill.sum())
        others = "took the median fit of the slide's others (no two stains of their own)"
        kept = "keep their stains, at standardised brightness (no tile has two stains to fit)"
        return {
            "stain_matrix": None if typical is None else json.dumps(typical.round(6).tolist()),
            "stain_concentration": None,
            "stain_guard": f"{ill} tiles {kept if typical is None else others}" if ill else None,
        }
