"""What the page says of everything, of one item, and of one slide: objects that JSON holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from esad.pipeline.inspection.layers import Layers, palette
from esad.pipeline.inspection.listing import Listing, records
from esad.pipeline.inspection.marks import Marks
from esad.pipeline.inspection.pyramid import LAYER_SIDE, level_count
from esad.pipeline.inspection.security import file_inside
from esad.pipeline.inspection.subject import FIGURES, RunScores, Subject
from esad.pipeline.scoring.open_scores import SCORE_AGAIN
from esad.pipeline.scoring.scores import score_formula
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.reading import read_item_numbers

if TYPE_CHECKING:
    from esad.pipeline.inspection.archive import Archive

CHOICES = 200
"""Of a filter, at most: a thousand groups are found by text."""
BARS = 40
COLOURS = 32
COLUMNS = 12
"""Of a table, that contribute most to a row's score."""


def about(subject: Subject, layers: Layers, marks: Marks) -> dict[str, Any]:
    """Kind, counts, runs with their thresholds and colour scales, columns that there are, choices of the filters."""
    items = subject.items
    choices = {
        name: sorted(items[name].cat.categories.astype(str))[:CHOICES]
        for name in ("part", "view", "group")
        if name in items and 0 < len(items[name].cat.categories) <= CHOICES
    }
    names = subject.slides["source"].astype(str).tolist() if len(subject.slides) <= CHOICES else []
    return {
        "kind": subject.kind, "of_slides": subject.of_slides, "pictures": subject.pictures,
        "items": len(items), "slides": len(subject.slides), "runs": [
            _run(run, layers.scale(number)) for number, run in enumerate(subject.runs)
        ],
        "columns": [name for name in items.columns if not items[name].isna().all()],
        "figures": [name for name in FIGURES if name in subject.runs[0].figures],
        "choices": choices, "names": names, "store": subject.store_told, "shape": list(subject.store.shape) if subject.store else None,
        "palette": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(COLOURS).tolist()],
        "version": marks.version(), "marks": marks.path.name,
    }  # fmt: skip


def _run(run: RunScores, scale: tuple[float, float]) -> dict[str, Any]:
    marker = run.scores.marker
    return {
        "name": run.name, "score": marker.get("score"), "normals": len(run.normals) or marker.get("normals"),
        "standing_out": int(run.stands_out.sum()), "scale": list(scale), "histogram": histogram(run),
        "panels": run.explanation.get("panels"), "contributions": run.explanation.get("contributions"),
        "thresholds": marker.get("thresholds"),
    }  # fmt: skip


def histogram(run: RunScores) -> dict[str, Any] | None:
    """How many held-out normals have which scores: `edges` (n + 1) and `counts` (n); None where they are not known.

    It reaches a quarter beyond 99 % of normals; the last bar counts all from there on, so that a few far ones squeeze no others.
    """
    normals = run.normals
    if not len(normals):
        return None
    low, usual = float(normals[0]), float(np.quantile(normals, 0.99))
    high = usual + 0.25 * (usual - low) if usual > low else low + 1
    counts, edges = np.histogram(normals.clip(max=high), BARS, (low, high))
    return {"counts": counts.tolist(), "edges": edges.tolist()}


def item_details(subject: Subject, listing: Listing, marks: Marks, row: int) -> dict[str, Any]:
    """An item with the figures of all runs, its marks, and the rows of the tiles around it."""
    known = listing.item_rows(np.array([row]), 0)[0]
    name = str(known["item_id"])
    runs = []
    for run in subject.runs:
        figures = records(run.figures.iloc[[row]])[0]
        drawn = file_inside(run.root / "overlays", f"{name}.png") is not None
        runs.append(
            {**figures, "terms": terms(run, figures), "overlay": drawn, "columns": columns_of(run, name)}
        )
    return {
        **known, "runs": runs, "history": [entry.as_json() for entry in marks.history("item", name)],
        "neighbours": neighbours(subject, row) if subject.of_slides else {},
    }  # fmt: skip


def terms(run: RunScores, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What the score is the sum of: each term's value, and its part, (value - centre) / scale; none where the run is gone."""
    if run.references is None:
        return []
    try:
        formula = score_formula(str(run.scores.marker.get("score", "eq9")), run.references)
    except KeyError:
        return []
    return [
        {
            "name": name,
            "value": figures[name],
            "centre": centre,
            "scale": scale,
            "part": (figures[name] - centre) / scale,
        }
        for name, (centre, scale) in formula.items()
        if figures.get(name) is not None
    ]


def columns_of(run: RunScores, item_id: str) -> list[dict[str, Any]]:
    """Of a table's row that was explained the columns that raise its score most, with their values and medians."""
    said = run.explanation
    if "medians" not in said:
        return []
    path = run.root / "overlays" / "contributions.parquet"
    try:
        table = read_item_numbers(path, SCORE_AGAIN, [item_id])
    except EsadError:
        return []
    if table.empty:
        return []
    found = [
        {
            "name": name,
            "contribution": table.get(f"contribution_{name}"),
            "value": table.get(f"value_{name}"),
            "median": median,
        }
        for name, median in zip(said["columns"], said["medians"], strict=True)
    ]
    plain = [
        {
            **each,
            **{key: float(each[key].iloc[0]) for key in ("contribution", "value") if each[key] is not None},
        }
        for each in found
        if each["contribution"] is not None
    ]
    plain.sort(key=lambda each: -each["contribution"])
    return records(pd.DataFrame(plain[:COLUMNS])) if plain else []


def neighbours(subject: Subject, row: int) -> dict[str, int]:
    """The tiles beside a tile, by direction: left, right, up, down; those that there are."""
    slide = int(subject.slide_of_row[row])
    rows, boxes = subject.rows_of_slide(slide), subject.boxes(slide)
    own = boxes[np.flatnonzero(rows == row)[0]]
    away = (boxes[:, :2] - own[:2]) / own[2:]
    found = {}
    for name, (across, down) in {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.items():
        along = away @ (across, down)
        beside = np.abs(away @ (down, across)) < 0.5
        near = np.flatnonzero(beside & (along > 0.25) & (along < 1.5))
        if len(near):
            found[name] = int(rows[near[np.abs(along[near] - 1).argmin()]])
    return found


def slide_details(
    subject: Subject, listing: Listing, layers: Layers, archive: Archive, marks: Marks, slide: int
) -> dict[str, Any]:
    """A slide with its pyramid, its scale, its layers, its candidates by run, and its marks; `away` says why it is not the file itself."""
    pyramid, away = archive.pyramid(slide)
    known = listing.slide_rows(np.array([slide]), 0)[0]
    width, height = subject.size(slide)
    mpp = known.get("slide_mpp")
    same = tuple(pyramid.size) == (width, height)
    return {
        **known, "width": width, "height": height, "mpp": mpp,
        "away": away if same else f"the file has {pyramid.size[0]} x {pyramid.size[1]} pixels, the scores are of {width} x {height}",
        "levels": level_count((width, height)), "side": pyramid.side, "overlap": pyramid.overlap, "layer_side": LAYER_SIDE,
        "bounds": list(pyramid.bounds) if pyramid.bounds else None, "real": not away, "layers": layers.there(slide),
        "candidates": [records(layers.candidates(slide, run).head(CHOICES)) for run in range(len(subject.runs))],
        "history": [entry.as_json() for entry in marks.history("slide", str(known["source"]))],
    }  # fmt: skip
