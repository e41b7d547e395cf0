"""Figures of whole slides: their AUC by each aggregation, where their highest tile lies, and the FROC of their lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from esad.data_manifests.loader import load_manifest
from esad.pipeline.evaluation.measures.froc import (
    FALSE_POSITIVES,
    Froc,
    SlideHits,
    froc,
    froc_interval,
    outlined_lesions,
    sort_detections,
)
from esad.pipeline.ingest.inputs import by_stem
from esad.pipeline.scoring.open_scores import SCORE_AGAIN
from esad.pipeline.scoring.slides.slide_maps import SLIDE
from esad.pipeline.scoring.slides.slide_scores import AGGREGATIONS, slide_scores, suspicious
from esad.pipeline.stage.errors import EsadError, InputError, UsageError
from esad.pipeline.stage.progress import progress
from esad.preprocessing.slides.outlines.frame import stored_frame
from esad.preprocessing.store.reading import read_table

if TYPE_CHECKING:
    from esad.preprocessing.slides.outlines.areas import Areas
    from esad.preprocessing.slides.outlines.frame import SlideFrame
    from esad.preprocessing.slides.outlines.reading import Origin

NO_OUTLINES = "it needs the lesions' outlines: give --annotations FOLDER"
LISTED = "the store holds listed tiles, not all tissue of its slides: tile them without list and protocol"


@dataclass(frozen=True)
class Truth:
    """What is known of the slides beside their tiles' labels, by `source`."""

    tumours: dict[str, bool] | None = None
    """Whether a slide has a tumour, by a reference file; slides that it does not name do not count."""
    outlines: dict[str, Path] | None = None
    """Outline files; where there is one at all, a slide without is normal, or as `without` says."""
    missing: tuple[str, ...] = ()
    """Slides that the reference names and that are not here."""
    classes: Mapping[str, str] | None = None
    """What outlines of a group or class are, as the store of the tiles was told,"""
    origin: Origin | None = None
    """where GeoJSON counts pixels from,"""
    without: str = "normal"
    """and what slides without a file are there: normal or unknown."""
    unscored: tuple[str, ...] = ()
    """Names of outline files that are of no scored slide: one of this archive gave no tile, and its lesions are in no figure."""
    nearly: frozenset[Path] = frozenset()
    """Outline files of nearly a slide's name, which may be of it, and are not read."""


def read_truth(
    sources: Sequence[str],
    annotations: Path | None,
    reference: Path | None,
    labels: Mapping[str, Any] | None = None,
) -> Truth:
    """Outline files and reference labels of the slides `sources`, found by stem in any case.

    `labels` are the settings by which the store of the tiles read its outlines (LabelSettings); older stores lack some.
    Raises UsageError for a missing folder or file, or where two slides share a stem that is outlined or labelled.
    """
    from esad.preprocessing.slides.camelyon16 import read_reference
    from esad.preprocessing.slides.outlines.finding import is_outline, match_outlines

    named = by_stem(sources)
    tumours = outlines = None
    missing: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    nearly: frozenset[Path] = frozenset()
    if reference is not None:
        stated = read_reference(reference)
        tumours = {_only(named[stem], reference): stated[stem] for stem in stated if stem in named}
        missing = tuple(stem for stem in stated if stem not in named)
    if annotations is not None:
        if not annotations.exists():
            raise UsageError(f"--annotations {annotations}: no such folder or zip.")
        found = match_outlines(annotations, named)
        outlines = {_only(named[stem], path): path for stem, path in found.files.items()}
        if outlines:  # what is of a slide's name beside them is refused where it is read
            outlines |= {slide: path for stem, path in found.unread.items() for slide in named[stem]}
        unscored = tuple(sorted(path.name for path in found.others)) if found.files else ()
        nearly = frozenset(path for path in found.unread.values() if is_outline(path))
    told = labels or {}
    return Truth(
        tumours, outlines, missing, told.get("outline_classes"), told.get("geojson_origin"),
        told.get("without_outlines", "normal"), unscored, nearly,
    )  # fmt: skip


def _only(sources: Sequence[str], file: Path) -> str:
    if len(sources) > 1:
        raise UsageError(
            f"{file}: {sources[0]} and {sources[1]} have one name, and only one of them can be meant. Tile and score "
            "their folders apart."
        )
    return sources[0]


@dataclass(frozen=True)
class SlideFigures:
    """`summary` goes into metrics.json, `table` has a row a slide, `curve` a row a threshold of the FROC or is None."""

    summary: dict[str, Any]
    table: pd.DataFrame
    curve: pd.DataFrame | None


def slide_figures(tiles: pd.DataFrame, root: Path, truth: Truth) -> SlideFigures:
    """Figures of the slides whose tiles (rows of scores.parquet) are given; `root` is their SCORES folder.

    A slide's label is what the reference says, else the outlines, else its tiles; slides without one do not count.
    `auc` and its interval by group are of each aggregation.
    """
    table = slide_scores(tiles)
    table["group"] = _groups(tiles, table)
    here, outlines = set(table["source"]), truth.outlines or {}
    places = _places(root) if outlines else None
    areas = {
        source: _read(path, truth, stored_frame(places.loc[source].to_dict(), Path(source).stem))
        for source, path in outlines.items()
        if places is not None and source in here
    }
    table["label"] = _labels(table, truth, areas)
    table = table[table["label"].notna()].reset_index(drop=True)
    normal = set(table.loc[table["label"] == 0, "source"])
    summary = {**_slide_auc(table), **_highest_tiles(tiles, normal)}
    summary["missing"], summary["unscored_outlines"] = list(truth.missing), list(truth.unscored)
    by_outlines = "outlines" if outlines else "tiles"
    summary["labels"] = by_outlines if truth.tumours is None else "reference"
    if truth.outlines is None:
        reason = NO_OUTLINES if summary["tumour"] else None
        return SlideFigures({**summary, "froc": None, "no_froc": reason}, table, None)
    if places is None:
        places = _places(root)
    if not places["whole"].all():
        return SlideFigures({**summary, "froc": None, "no_froc": LISTED}, table, None)
    slides, left_out = _hits(table, areas, places, _stored(root, "candidates", ("x", "y", "score")))
    lacking = _lacking(slides, truth.outlines, left_out)
    if lacking:
        return SlideFigures({**summary, "froc": None, "no_froc": lacking}, _with_lesions(table, slides), None)
    curve = froc(list(slides.values()))
    interval = froc_interval(
        list(slides.values()), table.set_index("source").loc[list(slides), "group"].to_numpy()
    )
    summary.update(froc=_froc_summary(curve, interval, slides, left_out), no_froc=None)
    return SlideFigures(summary, _with_lesions(table, slides), _points(curve))


def _places(root: Path) -> pd.DataFrame:
    """slides.parquet by source; EsadError where the size or scale of a slide is not known, as embeddings may leave it."""
    places = _stored(root, "slides", (*SLIDE, "whole")).set_index("source")
    unknown = places[["width", "height", "slide_mpp"]].isna().any(axis=1)
    if unknown.any():
        raise EsadError(
            f"{root}: size or scale of the slide of {places.index[unknown][0]} is not known, and outlines are compared in its pixels. "
            "Make the store again with esad embeddings --archive SLIDES."
        )
    return places


def _groups(tiles: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Each slide's group, which is its first tile's; a slide without one is a group of its own."""
    if "group" not in tiles:
        return table["source"]
    first = tiles.groupby("source", sort=True)["group"].first()
    return table["source"].map(first.astype("string")).astype("string").fillna(table["source"])


def _read(path: Path, truth: Truth, frame: SlideFrame) -> Areas | InputError:
    """The outlined areas, or why they cannot be read or are not the slide's."""
    from esad.preprocessing.slides.outlines.reading import read_areas

    if path in truth.nearly:
        return InputError(
            f"{path.name}: is not named as the slide, and may be of it; rename it, or put it elsewhere."
        )
    try:
        return read_areas(path, truth.classes, frame, truth.origin)
    except InputError as error:
        return error


def _labels(table: pd.DataFrame, truth: Truth, areas: dict[str, Areas | InputError]) -> pd.Series:
    """0, 1 or null a slide (Int8)."""
    if truth.tumours is not None:
        return table["source"].map(truth.tumours).astype("Int8")
    if not truth.outlines:
        return table["label"]
    labels = {source: _said_by(area) for source, area in areas.items()}
    other = 0 if truth.without == "normal" else None
    return pd.Series([labels.get(source, other) for source in table["source"]], dtype="Int8")


def _said_by(area: Areas | InputError) -> int | None:
    """1 for outlined tumour; 0 without any, but null where parts of the slide are said to have no label."""
    if isinstance(area, InputError):
        return None
    if not area.tumour.is_empty:
        return 1
    return 0 if area.ignored.is_empty and area.regions is None else None


def _slide_auc(table: pd.DataFrame) -> dict[str, Any]:
    from esad.pipeline.evaluation.measures.intervals import grouped_intervals
    from esad.pipeline.evaluation.measures.metrics import auc

    labels = table["label"].to_numpy(dtype="int8")
    values = {name: table[name].to_numpy(dtype=float) for name in AGGREGATIONS}
    intervals = {
        name: grouped_intervals(scores, labels, table["group"].to_numpy()).auc
        for name, scores in values.items()
    }
    return {
        "auc": {name: auc(scores, labels) for name, scores in values.items()},
        "auc_interval": {name: list(pair) if pair else None for name, pair in intervals.items()},
        "normal": int((labels == 0).sum()), "tumour": int((labels == 1).sum()),
        "groups": int(table["group"].nunique()),
    }  # fmt: skip


def _highest_tiles(tiles: pd.DataFrame, normal: set[str]) -> dict[str, Any]:
    """Of each slide with tumour tiles: does its highest-scoring tile touch the outline, and how often by chance?

    `suspicious_inside`: share of the suspicious tiles (above their threshold) of these slides that touch an outline;
    `suspicious_on_normal`: share of the tiles of the slides in `normal` that are suspicious. None where there is no such
    tile.
    """
    each: dict[str, Any] = {}
    inside: list[bool] = []
    on_normal: list[bool] = []
    if "tumour_fraction" in tiles:
        needed = ["source", "item_id", "score", "threshold", "tumour_fraction"]
        for source, of_slide in tiles[needed].groupby("source", sort=True):
            tumour = of_slide["tumour_fraction"].fillna(0).to_numpy(dtype=float) > 0
            alarms = suspicious(of_slide)
            if source in normal:
                on_normal += alarms.tolist()
            if tumour.any():
                inside += tumour[alarms].tolist()
                top = int(of_slide["score"].to_numpy(dtype=float).argmax())
                each[str(source)] = {
                    "hit": bool(tumour[top]), "tiles": len(of_slide), "tumour_tiles": int(tumour.sum()),
                    "top_item": str(of_slide["item_id"].iloc[top]),
                }  # fmt: skip
    count = max(len(each), 1)
    return {
        "slides": len(each),
        "hit_rate": sum(one["hit"] for one in each.values()) / count if each else None,
        "chance": sum(one["tumour_tiles"] / one["tiles"] for one in each.values()) / count if each else None,
        "suspicious_inside": float(np.mean(inside)) if inside else None,
        "suspicious_on_normal": float(np.mean(on_normal)) if on_normal else None,
        "by_slide": each,
    }


def _hits(
    table: pd.DataFrame,
    areas: dict[str, Areas | InputError],
    places: pd.DataFrame,
    candidates: pd.DataFrame,
) -> tuple[dict[str, SlideHits], dict[str, str]]:
    """Each slide's detections against its lesions, and of the slides that are no part of the FROC the reason.

    A candidate is one detection, at the middle of its highest tile, with that tile's score.
    """
    slides: dict[str, SlideHits] = {}
    left_out = {source: str(area) for source, area in areas.items() if isinstance(area, InputError)}
    with progress("lesions", len(table)) as bar:
        for source, label in table[["source", "label"]].itertuples(index=False):
            bar.advance()
            area = areas.get(source)
            reason = _unfit(source, label, area)
            if reason or isinstance(area, InputError):
                left_out.setdefault(source, str(reason))
                continue
            found, slide = candidates[candidates["source"] == source], places.loc[source]
            size = int(slide["width"]), int(slide["height"])
            lesions = None
            if label == 1 and area is not None:
                lesions = outlined_lesions(area.tumour, *size, float(slide["slide_mpp"]))
            points = found[["x", "y"]].to_numpy(dtype=float)
            known = _known_places(points, area)
            slides[source] = sort_detections(
                found["score"].to_numpy(dtype=float)[known], points[known], lesions
            )
    return slides, left_out


def _known_places(points: np.ndarray, areas: Areas | None) -> np.ndarray:
    """Which of `points` (N, 2), level-0 pixels, count, bool (N,).

    Not those under ignored outlines, or beyond the regions that were looked at, unless a lesion is outlined there.
    """
    if areas is None:
        return np.ones(len(points), dtype=bool)
    x, y = points.T
    known = ~shapely.contains_xy(areas.ignored, x, y)
    if areas.regions is not None:
        known &= shapely.contains_xy(areas.regions, x, y)
    return known | shapely.contains_xy(areas.tumour, x, y)


def _lacking(slides: dict[str, SlideHits], outlines: dict[str, Path], left_out: dict[str, str]) -> str | None:
    """Why there can be no FROC, or None where a lesion counts."""
    if any(len(slide.hits) for slide in slides.values()):
        return None
    if not outlines:
        return "no outline file has the name of any of the slides"
    told = "".join(f"; {source} is left out: {reason.rstrip('.')}" for source, reason in left_out.items())
    return f"no slide has a lesion that is more than isolated tumour cells{told}"


def _stored(root: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """A table of the SCORES folder; EsadError where it, or a column, is missing."""
    return read_table(root / f"{name}.parquet", SCORE_AGAIN, ("source", *columns))


def _unfit(source: str, label: int, area: Areas | InputError | None) -> str | None:
    """Why a slide is no part of the FROC, or None."""
    rule = load_manifest("camelyon16").protocol
    if rule and Path(source).stem.lower() in rule.not_exhaustive:
        return "its outlines are not exhaustive"
    if isinstance(area, InputError):
        return str(area)
    outlined = area is not None and not area.tumour.is_empty
    if label == 1 and not outlined:
        return "has a tumour but no outlines"
    return "outlined, but normal by the reference" if label == 0 and outlined else None


def _froc_summary(
    curve: Froc,
    interval: tuple[float, float] | None,
    slides: dict[str, SlideHits],
    left_out: dict[str, str],
) -> dict[str, Any]:
    sensitivity = {f"{rate:g}": float(value) for rate, value in zip(FALSE_POSITIVES, curve.at, strict=True)}
    return {
        "score": curve.score, "interval": list(interval) if interval else None, "sensitivity": sensitivity,
        "lesions": sum(len(slide.hits) for slide in slides.values()),
        "itc": sum(slide.clusters for slide in slides.values()),
        "slides": len(slides), "left_out": left_out,
    }  # fmt: skip


def _with_lesions(table: pd.DataFrame, slides: dict[str, SlideHits]) -> pd.DataFrame:
    """`table` with lesions, found (those with a detection), itc and false_positives; null for slides left out."""
    rows = [
        [source, len(slide.hits), int(np.isfinite(slide.hits).sum()), slide.clusters, len(slide.false)]
        for source, slide in slides.items()
    ]
    columns = ["lesions", "found", "itc", "false_positives"]
    counts = pd.DataFrame(rows, columns=["source", *columns]).astype(dict.fromkeys(columns, "Int32"))
    return table.merge(counts.astype({"source": "string"}), on="source", how="left")


def _points(curve: Froc) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "threshold": curve.thresholds,
            "false_positives": curve.false_positives,
            "sensitivity": curve.sensitivity,
        }
    )
