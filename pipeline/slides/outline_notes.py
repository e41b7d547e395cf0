"""What `esad tile` says of outlines: what was understood of them, and what became of slides and files without the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

MOST_NAMED = 3
MEANING = {
    "anomaly": "{} anomaly",
    "hole": "{} not a lesion",
    "ignore": "{} without label",
    "region": "{} region (outside of it without label)",
    "mark": "{} passed over, without area (on a lesion: no label under them)",
    "detection": "{} passed over, no annotations",
}
"""Kinds of what was understood (`preprocessing/slides/outlines/areas.py`), in the order in which they are said."""


@dataclass(frozen=True)
class Outlined:
    """Of a call with outlines: slides that have no file, and what their tiles are (`labels.without_outlines`)."""

    without: int
    without_are: str


def about_outlines(folder: Path, matched: int, slides: int, without_are: str) -> list[str]:
    """What to say of the outlines that were found, and of slides without one."""
    if not matched:
        return [
            f"{folder}: no outline file has the stem of any of the {slides} slides, so all labels stay unknown. "
            "Outlines are STEM.xml, .ndpa, .geojson or .json for a slide STEM.tif, or a COCO file that names the slides."
        ]
    without = "count as normal (label 0)" if without_are == "normal" else "have no label"
    return [f"{folder}: outlines for {matched} of {slides} slides; those without one {without}."]


def about_others(files: Sequence[Path], may_name: bool) -> list[str]:
    """What to say of outline files that are of no slide: one that is misnamed would leave its slide's lesions unseen."""
    if not files:
        return []
    names = ", ".join(path.name for path in files[:MOST_NAMED])
    return [
        f"{len(files)} outline files match no slide and are not used{f' (first: {names})' if may_name else ''}; the outlines "
        "of a slide are named as the slide."
    ]


def outline_notes(sources: pd.DataFrame, outlined: Outlined) -> tuple[str, dict[str, Any]]:
    """A line on what was understood of the outlines of a store's slides, and the same as figures for `--json`.

    `sources` is sources.parquet, whose column `outlines` has each slide's counts.
    """
    stated = sources[sources["state"] == "done"].dropna(subset=["outlines"])
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in MEANING}
    without_lesion = []
    for source, text in stated[["source", "outlines"]].itertuples(index=False):
        understood = json.loads(text)
        if "anomaly" not in understood:
            without_lesion.append(str(source))
        for kind, names in understood.items():
            counts[kind].update(names)
    said = [MEANING[kind].format(_named(names)) for kind, names in counts.items() if names]
    line = f"Outlines of {len(stated)} slides: {'; '.join(said) or 'nothing is outlined'}."
    if without_lesion:
        line += (
            f" {len(without_lesion)} of them outline no lesion (first: {without_lesion[0]}): their tiles are normal where "
            "nothing else is outlined."
        )
    if outlined.without:
        normal = outlined.without_are == "normal"
        line += f" {outlined.without} slides have no outline file: their tiles {'are normal' if normal else 'have no label'}."
    figures = {
        **{kind: dict(names) for kind, names in counts.items() if names},
        "slides": len(stated),
        "without_lesion": len(without_lesion),
        "without_file": outlined.without,
        "without_file_are": outlined.without_are,
    }
    return line, figures


def _named(names: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(names.items()))
