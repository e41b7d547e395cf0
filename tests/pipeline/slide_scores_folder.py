"""SCORES folders of slides whose tiles' scores are chosen by hand, and outlines, for tests of slides' figures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pandas as pd

from esad.pipeline.scoring.scores_folder import write_tables
from esad.pipeline.thresholds.conformal import colour_ends
from tests.pipeline.test_report import complete

TILE = 128
"""Level-0 pixels; slides are SIDE of them each way, at 0.25 um a pixel, and wholly tiled."""
SIDE = 4096
ORDINARY = 0.0
"""The score of tiles that are not stated, and the least: as percentile 0.5, so that they are no candidates."""


def box(left, top, width, height):
    """A closed ring, level-0 pixels."""
    return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]


def write_boxes(folder, stem, *boxes):
    folder.mkdir(exist_ok=True)
    shapes = [{"vertices": box(*sides)} for sides in boxes]
    (folder / f"{stem}.json").write_text(json.dumps({"positive": shapes, "negative": []}))


def tiles_of(source, scores, part="test", shift=0.0):
    """All tiles of a slide; `scores` {(column, row): score} are the suspicious ones."""
    places = [(column, row) for row in range(SIDE // TILE) for column in range(SIDE // TILE)]
    table = pd.DataFrame(
        {"source": source, "x": [TILE * x for x, _ in places], "y": [TILE * y for _, y in places]}
    )
    table["item_id"] = [f"{source}-{n}" for n in range(len(table))]
    table["score"] = [scores.get(place, ORDINARY) + shift for place in places]
    table["percentile"] = [0.999 if place in scores else 0.5 for place in places]
    table["p_value"] = 1 - table["percentile"]
    table["threshold"] = [
        table["score"][n] + (-0.5 if place in scores else 0.5) for n, place in enumerate(places)
    ]
    return table.assign(
        width=TILE, height=TILE, part=part, group=source.split(".")[0], tumour_fraction=float("nan")
    )


def scores_folder(folder, *tables, **settings):
    """A RUN, ready for evaluate and report, with scores of these tiles; their labels are unknown."""
    run = complete(folder, "tiles")
    table = pd.concat(tables, ignore_index=True)
    table["label"] = pd.array([None] * len(table), dtype="Int8")
    table = table.astype({"part": "string", "source": "string"})
    for term in ("reconstruction", "norm"):
        table[term] = table["score"] / 2
    sources = pd.DataFrame({"source": table["source"].unique(), "state": "done", "thumbnail": None})
    sources = sources.assign(width=SIDE, height=SIDE, slide_mpp=0.25, mpp=1.0)
    settings = {"tile_size": 32, "step": None, **settings}
    store = SimpleNamespace(
        kind="tiles", of_slides=True, root=folder / "store", sources=sources, settings=settings
    )
    write_tables(run / "scores" / "store", store, [table], colour_ends(0.01, 999))
    return run
