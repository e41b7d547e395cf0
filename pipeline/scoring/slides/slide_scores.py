"""From tiles to slides: one score a slide by named aggregations, and lesion candidates. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

AGGREGATIONS = ("max", "top_mean", "p99")
TOP = 10
"""`top_mean` is the mean of so many highest tiles, of all where a slide has fewer."""


def suspicious(table: pd.DataFrame) -> np.ndarray:
    """Which rows of a scores table lie above their threshold: bool (N,); one without a threshold does not."""
    return table["score"].to_numpy(dtype=float) > table["threshold"].to_numpy(dtype=float)


def aggregate(scores: np.ndarray) -> dict[str, float]:
    """A slide's score by each of AGGREGATIONS, from the scores (N,) of its tiles, N > 0."""
    highest = np.sort(scores)[-TOP:]
    return {
        "max": float(scores.max()), "top_mean": float(highest.mean()), "p99": float(np.percentile(scores, 99)),
    }  # fmt: skip


def slide_label(tiles: pd.DataFrame) -> int | None:
    """1 where a tile has tumour or is labelled so, 0 where all tiles are known to have none, else None."""
    tumour = tiles["tumour_fraction"] if "tumour_fraction" in tiles else pd.Series(np.nan, index=tiles.index)
    if (tumour.fillna(0) > 0).any() or (tiles["label"] == 1).fillna(False).any():
        return 1
    return 0 if (tiles["label"] == 0).fillna(False).all() else None


def slide_scores(table: pd.DataFrame) -> pd.DataFrame:
    """One row a slide, sorted by `source`: tiles, label (Int8), AGGREGATIONS, suspicious (share of tiles above their threshold).

    `table` holds tiles with source, score, threshold, label and, where known, tumour_fraction.
    """
    needed = [name for name in ("source", "label", "score", "threshold", "tumour_fraction") if name in table]
    rows = [
        {
            "source": source, "tiles": len(tiles), "label": slide_label(tiles),
            **aggregate(tiles["score"].to_numpy(dtype=float)),
            "suspicious": float(suspicious(tiles).mean()),
        }
        for source, tiles in table[needed].groupby("source", sort=True)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"source": "string", "label": "Int8"})


def candidates(table: pd.DataFrame, slides: pd.DataFrame | None = None) -> pd.DataFrame:
    """Groups of tiles above their threshold that touch by side or corner, highest first in each slide.

    Columns: source, x, y (level-0 pixels, the middle of the group's highest tile), score, percentile and p_value of that tile,
    tiles (how many), left, top, right, bottom (the group's box in level-0 pixels). What of a tile lies beyond its slide does not count,
    where `slides` has its source, width and height.
    """
    columns = [
        "source",
        "x",
        "y",
        "score",
        "percentile",
        "p_value",
        "tiles",
        "left",
        "top",
        "right",
        "bottom",
    ]
    rows = []
    for source, tiles in table[suspicious(table)].groupby("source", sort=True):
        group = _touching(tiles[["x", "y", "width", "height"]].to_numpy(dtype=float))
        inside = _clipped(tiles, slides)
        found = [_candidate(str(source), inside[group == number]) for number in range(group.max() + 1)]
        rows += sorted(found, key=lambda row: row["score"], reverse=True)
    return pd.DataFrame(rows, columns=columns).astype({"source": "string", "tiles": "int32"})


def _touching(boxes: np.ndarray) -> np.ndarray:
    """Number of the connected group of each box (N, 4) x, y, width, height; all boxes are of one size."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    scaled = boxes[:, :2] / boxes[0, 2:]
    pairs = cKDTree(scaled).query_pairs(1.01, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(boxes), len(boxes)))
    return connected_components(links, directed=False)[1]


def _clipped(tiles: pd.DataFrame, slides: pd.DataFrame | None) -> pd.DataFrame:
    """The `tiles` of one slide without what lies beyond its right and lower edge; as they are where its size is not known."""
    known = None if slides is None else slides[slides["source"] == tiles["source"].iloc[0]]
    if known is None or not len(known) or known[["width", "height"]].isna().any(axis=None):
        return tiles
    width, height = known[["width", "height"]].iloc[0]
    return tiles.assign(
        width=np.clip(tiles["width"], 1, np.maximum(width - tiles["x"], 1)).astype(tiles["width"].dtype),
        height=np.clip(tiles["height"], 1, np.maximum(height - tiles["y"], 1)).astype(tiles["height"].dtype),
    )


def _candidate(source: str, tiles: pd.DataFrame) -> dict[str, Any]:
    top = tiles.loc[tiles["score"].idxmax()]
    return {
        "source": source, "x": top["x"] + top["width"] / 2, "y": top["y"] + top["height"] / 2, "score": top["score"],
        "percentile": top["percentile"], "p_value": top["p_value"], "tiles": len(tiles), "left": tiles["x"].min(), "top": tiles["y"].min(),
        "right": (tiles["x"] + tiles["width"]).max(), "bottom": (tiles["y"] + tiles["height"]).max(),
    }  # fmt: skip
