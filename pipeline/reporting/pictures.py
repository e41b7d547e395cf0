"""Overlays and slide maps of the page, as data addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.scoring.scores import above_normals
from esad.pipeline.scoring.slides.slide_maps import slide_names

SHOWN = 6
SLIDES_SHOWN = 12
SLIDE_MAP_SIDE = 700


def galleries(folder: Path, items: pd.DataFrame, panels: Sequence[str]) -> list[dict[str, Any]]:
    """Strips of the clearest and the worst judged items that have overlays; `panels` is what a strip shows from left to right."""
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
             "data": png_address((overlays / f"{row.item_id}.png").read_bytes()), "seen": _seen(row, panels)}
            for row in rows.itertuples()
        ]  # fmt: skip
        if pictures:
            galleries.append({"title": title, "pictures": pictures})
    return galleries


def _seen(row: Any, panels: Sequence[str]) -> str:
    """What a strip shows, for those who do not see it."""
    label = {0: "a normal item", 1: "an anomaly"}.get(-1 if pd.isna(row.label) else int(row.label), "an item")
    alarm = (
        ""
        if pd.isna(row.threshold)
        else f", {'above' if row.score > row.threshold else 'not above'} its threshold"
    )
    place = [getattr(row, name, None) for name in ("hot_x", "hot_y")]
    known = not any(value is None or pd.isna(value) for value in place)
    hot = f"; the largest contribution is at x {place[0]:.0f}, y {place[1]:.0f}" if known else ""
    names = [panel.partition(" (")[0] for panel in panels]
    return f"{'Panels' if len(names) > 1 else 'Picture'} of {label}{alarm}: {', '.join(names)}{hot}."


def _class_of(row: Any) -> str:
    """`, class Sandal`, where an item has a class."""
    name = getattr(row, "class_name", None)
    return f", class {name}" if isinstance(name, str) else ""


def png_address(content: bytes) -> str:
    """A PNG file's content as a data address."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def slide_maps(folder: Path, table: pd.DataFrame) -> list[dict[str, str]]:
    """Heat maps of the first slides, made small enough for the page; `table` are all scores."""
    from PIL import Image

    found, counts = [], _tiles_above(table)
    for path in sorted((folder / "slides").glob("*.png"))[:SLIDES_SHOWN]:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((SLIDE_MAP_SIDE, SLIDE_MAP_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        above, tiles = counts.get(path.stem, (0, 0))
        seen = (
            f"{above} of {tiles} tiles are above their threshold and coloured"
            if tiles
            else "tiles above their threshold are coloured"
        )
        found.append(
            {
                "title": path.stem,
                "data": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(),
                "seen": f"The slide in grey with its heat map: {seen}.",
                "caption": f"{path.stem}: {above} of {tiles} tiles above their threshold"
                if tiles
                else path.stem,
            }
        )
    return found


def slides_with_map(folder: Path) -> int:
    """How many slides have a heat map."""
    return len(list((folder / "slides").glob("*.png")))


def _tiles_above(table: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Name of a slide's map -> how many of its tiles are above their threshold, of how many."""
    names = slide_names(table["source"].astype(str).unique())
    above = (table["score"] > table["threshold"]).groupby(table["source"].astype(str)).agg(["sum", "size"])
    return {names[str(source)]: (int(row["sum"]), int(row["size"])) for source, row in above.iterrows()}
