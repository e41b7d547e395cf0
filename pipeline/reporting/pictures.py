"""Overlays and slide maps of the page, as data addresses."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.scoring.scores import above_normals

SHOWN = 6
SLIDES_SHOWN = 12
SLIDE_MAP_SIDE = 700


def galleries(folder: Path, items: pd.DataFrame) -> list[dict[str, Any]]:
    """Strips of the clearest and the worst judged items that have overlays."""
    overlays = folder / "overlays"
    shown = items[items["item_id"].isin({path.stem for path in overlays.glob("*.png")})]
    if shown.empty:
        return []
    anomalies, normals = shown[shown["label"] == 1], shown[shown["label"] == 0]
    chosen = [
        ("Anomalies with the highest scores", anomalies.nlargest(SHOWN, "score")),
        ("Anomalies with the lowest scores (missed first)", anomalies.nsmallest(SHOWN, "score")),
        ("Normal items with the highest scores (false alarms first)", normals.nlargest(SHOWN, "score")),
        ("Normal items with the lowest scores", normals.nsmallest(SHOWN // 2, "score")),
    ]
    if anomalies.empty and normals.empty:
        chosen = [("Highest scores", shown.nlargest(2 * SHOWN, "score"))]
    galleries = []
    for title, rows in chosen:
        pictures = [
            {"title": f"{row.source} ({row.item_id}){_class_of(row)}: score {row.score:.4g}, {above_normals(row.percentile)}",
             "data": png_address((overlays / f"{row.item_id}.png").read_bytes())}
            for row in rows.itertuples()
        ]  # fmt: skip
        if pictures:
            galleries.append({"title": title, "pictures": pictures})
    return galleries


def _class_of(row: Any) -> str:
    """`, class Sandal`, where an item has a class."""
    name = getattr(row, "class_name", None)
    return f", class {name}" if isinstance(name, str) else ""


def png_address(content: bytes) -> str:
    """A PNG file's content as a data address."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def slide_maps(folder: Path) -> list[dict[str, str]]:
    """Heat maps of the first slides, made small enough for the page."""
    from PIL import Image

    found = []
    for path in sorted((folder / "slides").glob("*.png"))[:SLIDES_SHOWN]:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((SLIDE_MAP_SIDE, SLIDE_MAP_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        found.append(
            {
                "title": path.stem,
                "data": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(),
            }
        )
    return found
