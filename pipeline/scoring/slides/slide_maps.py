"""Scores back on their slides: an array and a picture per slide, both by place in level-0 pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.scoring.slides.slide_scores import suspicious
from esad.preprocessing.store.opening import REMEDY
from esad.preprocessing.store.reading import damaged

if TYPE_CHECKING:
    from esad.preprocessing.store.store import Store

PLACE = ("map", "map_x", "map_y", "map_step", "map_tile")
"""Columns of slides.parquet that lead from an array's cell to the slide, see `SlideMap`."""
SLIDE = ("width", "height", "slide_mpp")
"""Columns of sources.parquet that slides.parquet repeats, so that it can be read alone."""
LONGEST_NAME = 120


@dataclass(frozen=True)
class SlideMap:
    """Values of a slide's tiles on their grid: `values` float32 (rows, columns), NaN where there is no tile.

    Cell (row, column) is the tile whose top left corner is (x + column * step, y + row * step) in level-0 pixels, and
    which covers `tile` of them from there: overlapping tiles (step < tile) have a cell each. On a grid the place is
    right within a pixel (corners are whole pixels, the step need not be); off a grid, of listed tiles, within half
    a step, and of several tiles in one cell the highest value stands there.
    """

    values: np.ndarray
    x: float
    y: float
    step: float
    tile: float

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """(x, y, width, height) in level-0 pixels of all cells with a value, float64 (N, 4), and the values (N,)."""
        row, column = np.nonzero(~np.isnan(self.values))
        corners = np.column_stack([self.x + column * self.step, self.y + row * self.step])
        boxes = np.column_stack([corners, np.full((len(row), 2), self.tile)])
        return boxes, self.values[row, column]


def slide_map(corners: np.ndarray, values: np.ndarray, step: float, tile: float) -> SlideMap:
    """The map of tiles with top left `corners` (N, 2) x, y and `values` (N,), N > 0; all lengths in level-0 pixels.

    A tile of value -inf is on the grid and has no value.
    """
    corners = np.asarray(corners, dtype=float)
    x, y = corners.min(0)
    column, row = np.rint((corners - (x, y)) / step).astype(int).T
    grid = np.full((row.max() + 1, column.max() + 1), -np.inf, dtype=np.float32)
    np.maximum.at(grid, (row, column), np.asarray(values, dtype=np.float32))
    grid[np.isneginf(grid)] = np.nan
    return SlideMap(grid, float(x), float(y), float(step), float(tile))


def _slides_of(store: Store, of_items: pd.Series) -> pd.DataFrame:
    """The store's sources by name; EsadError where the slide of an item is not there, or one is there twice."""
    slides = store.sources.set_index("source")
    lost = sorted(set(of_items.astype(str)) - set(slides.index))
    if lost or not slides.index.is_unique:
        told = (
            f"{lost[0]} of its items is missing"
            if lost
            else f"{slides.index[slides.index.duplicated()][0]} is there twice"
        )
        raise damaged(store.root / "sources.parquet", f"is damaged ({told})", REMEDY)
    return slides


def write_slide_maps(
    store: Store, table: pd.DataFrame, folder: Path, ends: tuple[float, float]
) -> pd.DataFrame:
    """Write NAME.npy (the map of the scores) and NAME.png (that of the p-values, on the thumbnail) of each slide.

    Painted is each tile above its own threshold; `ends` are the p-values at which colours begin and end (`colour_ends`).

    Returns a row a slide: source, PLACE (`map` is NAME), SLIDE, the frame's COLUMNS, and `whole`: all its tissue was tiled, not tiles of a
    list or a protocol. A slide without thumbnail has the array only.
    """
    from PIL import Image

    from esad.preprocessing.slides.outlines.frame import COLUMNS
    from esad.preprocessing.store.durable import make_folder
    from esad.preprocessing.store.store import write_array, write_atomically

    make_folder(folder)
    names = slide_names(store.sources["source"].astype(str))
    slides = _slides_of(store, table["source"])
    whole = not (store.settings.get("tile_list") or store.settings.get("protocol"))
    rows = []
    needed = ["source", "x", "y", "score", "p_value", "threshold"]
    for source, tiles in table[needed].groupby("source", sort=True):
        slide, name = slides.loc[source], names[str(source)]
        corners = tiles[["x", "y"]].to_numpy()
        step, tile = _grid(slide, store.settings)
        painted = np.where(suspicious(tiles), -tiles["p_value"].to_numpy(dtype=float), -np.inf)
        scores, rare = (
            slide_map(corners, values, step, tile) for values in (tiles["score"].to_numpy(), painted)
        )
        write_array(folder / f"{name}.npy", scores.values)
        rows.append(
            [
                source,
                name,
                scores.x,
                scores.y,
                step,
                tile,
                *slide[list(SLIDE)],
                *slide.reindex(COLUMNS),
                whole,
            ]
        )
        thumbnail = _thumbnail(store, slide)
        if thumbnail is not None:
            picture = _picture(thumbnail, rare, float(slide["width"]), ends)
            write_atomically(folder / f"{name}.png", Image.fromarray(picture).save)
    columns = ["source", *PLACE, *SLIDE, *COLUMNS, "whole"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"source": "string", "map": "string", **dict.fromkeys(COLUMNS, "float64")}
    )


def _grid(slide: pd.Series, settings: dict[str, Any]) -> tuple[float, float]:
    """Distance between a slide's tiles and side of a tile, in level-0 pixels, not rounded; embeddings' sources state both."""
    if "tile_side" in slide and not pd.isna(slide["tile_side"]):
        return float(slide["tile_step"]), float(slide["tile_side"])
    downsample = slide["mpp"] / slide["slide_mpp"]
    size = settings["tile_size"]
    return float((settings["step"] or size) * downsample), float(size * downsample)


def _thumbnail(store: Store, slide: pd.Series) -> np.ndarray | None:
    """The slide's overview, uint8 (h, w, 3); None where there is none inside the store."""
    from PIL import Image

    path = (store.root / str(slide["thumbnail"])).resolve()
    if not path.is_relative_to(store.root.resolve()) or not path.is_file():
        return None
    return np.asarray(Image.open(path).convert("RGB"))


def _picture(
    thumbnail: np.ndarray, rare: SlideMap, slide_width: float, ends: tuple[float, float]
) -> np.ndarray:
    """`rare` has p-values of painted tiles with a minus, so that of several in one cell the rarest is kept."""
    from esad.pipeline.scoring.overlays import slide_heat_map

    boxes, values = rare.boxes()
    return slide_heat_map(thumbnail, boxes, -values, slide_width / thumbnail.shape[1], ends)


def slide_names(sources: Iterable[str]) -> dict[str, str]:
    """Source -> name of its files: the path with __ for /; with a hash where two would have one name, or it is long."""
    from esad.preprocessing.store.store import item_id

    bare = {source: source.replace("/", "__").rsplit(".", 1)[0] for source in sources}
    count = Counter(bare.values())
    plain = {name for name in bare.values() if count[name] == 1 and len(name) <= LONGEST_NAME}
    return {source: name if name in plain else item_id(source, "map") for source, name in bare.items()}
