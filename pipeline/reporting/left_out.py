"""What is not in the figures and not on the page, counted, and why: inputs, tiles, items, pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.counted_items import evaluated_items
from esad.pipeline.scoring.open_scores import Scores
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.opening import REMEDY
from esad.preprocessing.store.reading import read_object, read_table

if TYPE_CHECKING:
    import pandas as pd

MOST_REASONS, LONGEST_REASON, LONGEST_READ = 15, 240, 2000
SHORTEST_STEM = 4
"""Characters of a file's stem that is looked for in reasons: a shorter one would be found in words."""
FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^\s:,;()]+[/\\][^\s:,;()]+")
"""Whole paths, which may hold names."""
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
TILES = {"unreadable_tiles": "tiles that could not be read", "blurred_tiles": "tiles left out as blurred"}


def left_out(scores: Scores, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` of the store (`store_counts`), `items`: (what became of scored items, how many), and `also`: further sentences."""
    return {
        "inputs": store_counts(Path(scores.marker["store"]), str(scores.marker.get("inputs", ""))),
        "items": item_counts(scores),
        "scored": len(scores.table),
        "also": [*_of_classes(scores, metrics), *_of_slides(scores, metrics)],
    }


def item_counts(scores: Scores) -> list[tuple[str, int]]:
    """Each scored item once: those that count in figures first, then why others do not; reasons without items are left out."""
    table = scores.table
    counted, which = evaluated_items(scores)
    part, known = table["part"].fillna(""), table["label"].notna()
    unseen = ~part.isin(["train", "validation"])
    reasons = [
        (f"in the figures ({which})", len(counted)),
        (
            "not in the figures: the run was trained on it, or elsewhere on a copy or its group",
            int((part == "train").sum()),
        ),
        ("not in the figures: held out for thresholds and choices", int((part == "validation").sum())),
        ("not in the figures: no label", int((unseen & ~known).sum())),
        (
            "not in the figures: labelled, but not of the test part",
            int((unseen & known).sum()) - len(counted),
        ),
    ]
    return [(reason, count) for number, (reason, count) in enumerate(reasons) if count or not number]


def store_counts(store: Path, inputs: str) -> dict[str, Any]:
    """Of the store's sources.parquet: `total` inputs and `items`, `rows` of (what, reason, how many), and `note` where something
    must be said.

    Rows are refused inputs and those without items by reason, and tiles that were left out. A store that is gone or damaged has
    a `note` and no counts. `inputs` is the fingerprint of the inputs that were scored.
    """
    name = store.name
    if not store.is_dir():
        return _nothing(
            f"The store {name} is not where it was when it was scored, so inputs that were refused cannot be counted."
        )
    try:
        sources = read_table(
            store / "sources.parquet", REMEDY, ("source", "state", "reason", "items"), tuple(TILES)
        )
        now = read_object(store / "store.json", REMEDY, {"inputs": str})["inputs"]
    except EsadError:
        return _nothing(
            f"The store {name} cannot be read, so inputs that were refused cannot be counted; see esad audit."
        )
    note = (
        ""
        if now == inputs or not inputs
        else f"The store {name} has other inputs now than when it was scored; these are those of now."
    )
    refused = sources["state"] == "refused"
    empty = ~refused & (sources["items"].fillna(0) == 0)
    rows = [
        *(("refused", *row) for row in by_reason(sources[refused])),
        *(("without items", *row) for row in by_reason(sources[empty])),
    ]
    more = sum(count for *_, count in rows[MOST_REASONS:])
    rows = rows[:MOST_REASONS] + (
        [("refused or without items", "for further reasons, see sources.parquet", more)] if more else []
    )
    for column, what in TILES.items():
        if column in sources and (lost := int(sources[column].fillna(0).sum())):
            slides = int((sources[column].fillna(0) > 0).sum())
            rows.append((what, f"on {slides} slide{'' if slides == 1 else 's'}", lost))
    return {"total": len(sources), "items": int(sources["items"].fillna(0).sum()), "rows": rows, "note": note}


def _nothing(note: str) -> dict[str, Any]:
    return {"total": None, "items": None, "rows": [], "note": note}


def by_reason(sources: pd.DataFrame) -> list[tuple[str, int]]:
    """(reason, how many inputs), the most frequent first; names of inputs are taken out of reasons.

    Reasons that differ in numbers alone are one, shown as the first of them.
    """
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for source, reason in sources[["source", "reason"]].itertuples(index=False):
        text = _nameless(str(source), reason if isinstance(reason, str) and reason else "no reason is stated")
        key = NUMBER.sub("#", text)
        counts[key] += 1
        shown.setdefault(key, text)
    return [
        (shown[key] + (" (numbers of the first of them)" if count > 1 and "#" in key else ""), count)
        for key, count in counts.most_common()
    ]


def _nameless(source: str, reason: str) -> str:
    """The reason without the input's name, its stem and folders, cut to LONGEST_REASON."""
    name = source.rpartition("/")[2]
    stem = name.rpartition(".")[0]
    text = reason.removeprefix(f"{source}: ")[:LONGEST_READ]
    for known in (source, name, *([stem] if len(stem) >= SHORTEST_STEM else [])):
        if known and known in text:  # seldom, and a pattern of each of 100,000 inputs takes a minute
            ends = r"\S*?(?::\s|(?=[\s,;)]|$))"
            text = re.sub(rf"\S*(?<![\w-]){re.escape(known)}(?![\w-]){ends}", " ", text)
    text = " ".join(FOLDERS.sub("a file", text).split()) or "no reason is stated"
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def _of_classes(scores: Scores, metrics: Mapping[str, Any]) -> list[str]:
    if not metrics["by"].get("class"):
        return []
    items, _ = evaluated_items(scores)
    nameless = int(((items["label"] == 1) & items["class_name"].isna()).sum())
    return (
        [f"{nameless} anomalies have no class and are in none of the figures by class."] if nameless else []
    )


def _of_slides(scores: Scores, metrics: Mapping[str, Any]) -> list[str]:
    """How many slides are in no figure of slides, and why."""
    slides = metrics.get("slides")
    if not slides:
        return []
    table, said = scores.table, []
    seen = table.loc[table["part"].isin(["train", "validation"]).fillna(False), "source"].nunique()
    total = table["source"].nunique()
    if seen:
        said.append(f"{seen} of {total} slides are in no figure of slides: the run has seen tiles of them.")
    unknown = total - seen - int(slides.get("normal") or 0) - int(slides.get("tumour") or 0)
    if slides.get("auc_interval") and unknown > 0:
        said.append(
            f"{unknown} slides are in no figure of slides: their label is not known, or they are not of the test part."
        )
    if slides.get("missing"):
        said.append(f"{len(slides['missing'])} slides of the reference have no scores.")
    if slides.get("unscored_outlines"):
        said.append(
            f"{len(slides['unscored_outlines'])} outline files are of no scored slide, and their lesions in no figure."
        )
    froc = slides.get("froc") or {}
    if froc.get("left_out"):
        said.append(
            f"{len(froc['left_out'])} slides are no part of the FROC; the section on whole slides has their reasons."
        )
    return said
