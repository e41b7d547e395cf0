"""What a person should know of the slides of a finished store, and of the outlines that label them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.store import read_sources

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
    classes: Sequence[str] = ()
    """Names that a person said something of (`--outline-class`)."""


def with_slide_notes(outcome: Outcome, outlined: Outlined | None = None) -> Outcome:
    """Say which slides gave no tile, lost tiles, are blurred or kept their stains, and what was understood of their outlines.

    The counts are put into the summary.
    """
    sources = read_sources(outcome.out)
    bare = sources[(sources["state"] == "done") & (sources["items"] == 0)]
    lost = sources[sources["unreadable_tiles"].fillna(0) > 0]
    blurred = sources[sources["focus_note"].notna()]
    assumed = sources[sources["reader_note"].notna()] if "reader_note" in sources else sources[:0]
    guarded = sources[sources["stain_guard"].notna()]
    for source, reason in bare[["source", "reason"]].head(5).itertuples(index=False):
        say(f"{source}: {reason}")
    for source, count in lost[["source", "unreadable_tiles"]].head(5).itertuples(index=False):
        say(f"{source}: {int(count)} tiles could not be read and are left out.")
    for source, note in blurred[["source", "focus_note"]].head(5).itertuples(index=False):
        say(f"{source}: {note}")
    for source, note in assumed.reindex(columns=["source", "reader_note"]).head(5).itertuples(index=False):
        say(f"{source}: {note}")
    for source, reason in guarded[["source", "stain_guard"]].head(5).itertuples(index=False):
        say(f"{source}: stain: {reason}")
    line, understood = outline_notes(sources, outlined) if outlined and "outlines" in sources else ("", None)
    if line:
        say(line)
    counts = {
        "outlines": understood,
        "left_out": len(bare),
        "unreadable_tiles": int(lost["unreadable_tiles"].sum()),
        "blurred_tiles": int(sources["blurred_tiles"].fillna(0).sum()),
        "blurred": len(blurred),
        "stain_guarded": len(guarded),
    }
    message = outcome.message
    if len(bare):
        message += f" {len(bare)} slides gave no tile (their reason is in sources.parquet)."
    if len(lost):
        message += f" {counts['unreadable_tiles']} tiles of {len(lost)} damaged slides are missing."
    return replace(outcome, message=message, summary={**outcome.summary, **counts})


def about_outlines(folder: Path, matched: int, slides: int, without_are: str) -> list[str]:
    """What to say of the outlines that were found, and of slides without one."""
    if not matched:
        return [
            f"{folder}: no outline file has the stem of any of the {slides} slides, so all labels stay unknown. "
            "Outlines are STEM.xml, .ndpa, .geojson or .json for a slide STEM.tif, or a COCO file that names the slides."
        ]
    without = "count as normal (label 0)" if without_are == "normal" else "have no label"
    return [f"{folder}: outlines for {matched} of {slides} slides; those without one {without}."]


def about_others(files: Mapping[Path, Sequence[str]], may_name: bool) -> list[str]:
    """What to say of outline files that are of no slide, and of slides that they may mean: one that is misnamed would leave its slide's
    lesions unseen."""
    from esad.preprocessing.slides.outlines.finding import MOST_LED

    if not files:
        return []
    names = ", ".join(path.name for path in list(files)[:MOST_NAMED])
    told = [
        f"{len(files)} outline files match no slide and are not used{f' (first: {names})' if may_name else ''}; the outlines "
        "of a slide are named as the slide."
    ]
    many = {path: slides for path, slides in files.items() if len(slides) > MOST_LED}
    few = {path: slides for path, slides in files.items() if slides and path not in many}
    if few:
        told[0] += (
            f" {len(few)} of them may be of a slide by their names{_perhaps(few, may_name)}: rename these as their slides, which count as "
            "slides without outlines until then."
        )
    if many:
        told.append(
            f"{len(many)} outline files match no slide, and may mean many by their names{_perhaps(many, may_name)}. If they outline these, "
            "no lesion of theirs is read: give each slide a file of its name. All count as slides without outlines."
        )
    return told


def _perhaps(files: Mapping[Path, Sequence[str]], may_name: bool) -> str:
    """The first of the files with the slides that each may mean, in brackets."""
    told = [
        f"{path.name}: {', '.join(slides[:MOST_NAMED])}{f', ... {len(slides)} in all' if len(slides) > MOST_NAMED else ''}"
        for path, slides in list(files.items())[:MOST_NAMED]
    ]
    return f" ({'; '.join(told)})" if may_name else ""


def about_unread(files: Mapping[str, Path], may_name: bool) -> list[str]:
    """What to say of files (by slide) that are called as slides without outlines: of endings that are not read, or of nearly their name."""
    from esad.preprocessing.slides.outlines.finding import is_outline

    misnamed = {slide: path for slide, path in files.items() if is_outline(path)}
    names = sorted({path.name for slide, path in files.items() if slide not in misnamed})
    told = []
    if misnamed:
        slide, path = min(misnamed.items())
        first = f" (first: {path.name}; of {slide}?)" if may_name else ""
        told.append(
            f"{len(misnamed)} slides have no outline file, but one of nearly their name{first}: rename it as its slide "
            f"({f'{Path(slide).stem}{path.suffix}' if may_name else 'STEM.xml'}), or put it elsewhere. These slides have no label."
        )
    if names:
        first = f" (first: {', '.join(names[:MOST_NAMED])})" if may_name else ""
        told.append(
            f"{len(names)} files are named as slides that have no outline file, and are not read{first}: if they are outlines, "
            "export them as XML, NDPA, GeoJSON or JSON, else put them elsewhere. These slides have no label."
        )
    return told


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
    absent = _absent(outlined.classes, counts)
    if absent:
        line += f" No outline that was read is of {', '.join(map(repr, absent))} (--outline-class): is it spelt as in the files?"
    figures = {
        **{kind: dict(names) for kind, names in counts.items() if names},
        "slides": len(stated),
        "without_lesion": len(without_lesion),
        "without_file": outlined.without,
        "without_file_are": outlined.without_are,
    }
    return line, figures


def _absent(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Of the names that a person gave those that no outline has, in any case."""
    there = {name.strip().lower() for names in counts.values() for name in names}
    return [name for name in classes if name.strip().lower() not in there]


def _named(names: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(names.items()))
