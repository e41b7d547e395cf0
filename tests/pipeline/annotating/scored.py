"""SCORES of slides whose tiles and scores are chosen by hand, and slides that begin outside (0, 0)."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import tifffile

from esad.pipeline.scoring.scores_folder import write_tables
from esad.pipeline.thresholds.conformal import colour_ends
from esad.preprocessing.slides.tiling import tile_grid

TILE_SIZE = 32
"""Pixels of a tile; a slide's downsample makes level-0 pixels of them."""
NORMALS = 999


def tiles_of(source, size, high=(), downsample=3.1372, step=TILE_SIZE, origin=(0, 0)):
    """All tiles of a slide of `size`, as esad tile lays them from `origin` on; those of `high` {(column, row): score} are suspicious.

    The others have scores below 1, all different.
    """
    width, height = size[0] - origin[0], size[1] - origin[1]
    corners = tile_grid(width, height, downsample, TILE_SIZE, step) + origin
    table = pd.DataFrame({"source": source, "x": corners[:, 0], "y": corners[:, 1]})
    table["width"] = table["height"] = round(TILE_SIZE * downsample)
    columns = table["x"].nunique()
    table["item_id"] = [f"{source.split('.')[0]}-{number:08x}" for number in range(len(table))]
    table["score"] = np.linspace(0, 1, len(table), endpoint=False)
    high = dict(high)
    for (column, row), score in high.items():
        table.loc[row * columns + column, "score"] = score
    table["percentile"] = np.where(
        table["score"] >= 1, 1 - 1 / (NORMALS + 1) - 0.001 / (1 + table["score"]), 0.5
    )
    return table.assign(group=source, tumour_fraction=float("nan"), part="test")


def write_scores_folder(folder, slides, downsample=3.1372, step=None):
    """SCORES at `folder` of `slides`: source -> (size, tiles)."""
    table = pd.concat([tiles for _, tiles in slides.values()], ignore_index=True)
    table["label"] = pd.array([None] * len(table), dtype="Int8")
    table = table.astype({"part": "string", "source": "string"})
    table["p_value"], table["threshold"] = 1 - table["percentile"], 0.999999
    table["reconstruction"], table["norm"] = table["score"] / 4, table["score"] * 3 / 4
    sources = pd.DataFrame({"source": list(slides), "state": "done", "thumbnail": None})
    sources["width"], sources["height"] = zip(*(size for size, _ in slides.values()), strict=True)
    sources = sources.assign(slide_mpp=0.25, mpp=0.25 * downsample)
    settings = {"tile_size": TILE_SIZE, "step": step}
    store = SimpleNamespace(
        kind="tiles", of_slides=True, root=folder / "store", sources=sources, settings=settings
    )
    write_tables(folder, store, [table], colour_ends(0.01, NORMALS))
    marker = {"kind": "tiles", "run": "../run", "store": "store", "normals": NORMALS, "model": "0" * 16}
    (folder / "scores.json").write_text(json.dumps(marker))
    return folder


def write_scn(path, whole, bounds):
    """A Leica slide (SCN) of `whole` pixels whose scan is the box `bounds` = left, top, width, height."""
    left, top, width, height = bounds

    def image(number, size, view, offset, power):
        extent, nm = [side * 500 for side in view], [side * 500 for side in offset]
        return (
            f'<image name="i{number}"><creationDate>2010-01-01T00:00:00Z</creationDate><device model="m" version="1"/>'
            f'<pixels sizeX="{size[0]}" sizeY="{size[1]}">'
            f'<dimension sizeX="{size[0]}" sizeY="{size[1]}" r="0" ifd="{number}"/></pixels>'
            f'<view sizeX="{extent[0]}" sizeY="{extent[1]}" offsetX="{nm[0]}" offsetY="{nm[1]}"/><scanSettings>'
            f"<objectiveSettings><objective>{power}</objective></objectiveSettings><illuminationSettings>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    small = (whole[0] // 8, whole[1] // 8)
    described = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{whole[0] * 500}" sizeY="{whole[1] * 500}"><barcode></barcode>'
        f"{image(0, small, whole, (0, 0), 1)}{image(1, (width, height), (width, height), (left, top), 20)}"
        "</collection></scn>"
    )
    kind = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(np.full((small[1], small[0], 3), 240, np.uint8), description=described, **kind)
        file.write(np.full((height, width, 3), 150, np.uint8), **kind)
    return path
