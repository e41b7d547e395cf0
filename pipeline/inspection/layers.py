"""What lies over a slide: heat, tile boxes, candidates, marks, tissue, outlines; each as small pictures with holes, at any zoom."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from esad.pipeline.inspection.listing import Listing
from esad.pipeline.inspection.marks import MARKS
from esad.pipeline.inspection.pyramid import Window, png, window
from esad.pipeline.inspection.security import file_inside
from esad.pipeline.inspection.subject import RunScores, Subject
from esad.pipeline.stage.errors import EsadError, UsageError

if TYPE_CHECKING:
    from esad.preprocessing.slides.outlines.areas import Areas

NAMES = ("heat", "boxes", "candidates", "marks", "tissue", "outlines")
MAP, DARKEST = "inferno", 0.35
"""The colours, perceptually uniform and told apart by colour-blind eyes, and where on them a score at the threshold begins."""
FULL = 0.995
"""Of the scores that stand out, so many lie below the last colour: one tile far off does not darken all others."""
BOX, CANDIDATE = (20, 60, 200, 130), (0, 90, 255, 255)
OF_MARK = {"normal": (0, 114, 178, 255), "anomaly": (213, 94, 0, 255), "unsure": (240, 228, 66, 255)}
"""Okabe and Ito's colours, which colour-blind eyes tell apart; the frames differ in their lines, too."""
TISSUE_EDGE, NO_TISSUE, INK = (0, 158, 115, 255), (40, 40, 40, 120), (255, 150, 0, 150)
TUMOUR, IGNORED, REGION = (0, 200, 120, 255), (90, 90, 90, 255), (0, 114, 178, 255)
LEAST_BOX = 5
"""Pixels that a tile must span for its box to be drawn."""


class Layers:
    """The layers of a subject's slides; `annotations` is a folder or zip of outline files."""

    def __init__(self, subject: Subject, listing: Listing, annotations: Path | None = None) -> None:
        """UsageError where `annotations` are not there, or hold no outlines of these slides."""
        self._subject, self._listing = subject, listing
        self._outlines = _outline_files(annotations, subject) if annotations is not None else {}
        self._areas = lru_cache(16)(self._read_areas)
        self._tissue = lru_cache(16)(self._read_tissue)
        self.scale = lru_cache(None)(self._scale)

    def there(self, slide: int) -> dict[str, str]:
        """The layers of a slide: name -> empty, or why there is none."""
        told = dict.fromkeys(NAMES, "")
        if thumbnail_path(self._subject, slide) is None:
            told["tissue"] = "the store has no overview of this slide"
        source = str(self._subject.slides["source"].iloc[slide])
        if source not in self._outlines:
            told["outlines"] = "no outline file of this slide (give them with --annotations FOLDER)"
        elif isinstance(areas := self._areas(slide), str):
            told["outlines"] = areas
        return told

    def tile(
        self, slide: int, name: str, run: int, least: float | None, level: int, column: int, row: int
    ) -> bytes | None:
        """PNG with holes of a layer's tile; None where there is no such tile. Heat begins at the percentile `least`."""
        place = window(self._subject.size(slide), level, column, row)
        if place is None:
            return None
        layers: dict[str, Callable[[], np.ndarray | Image.Image]] = {
            "heat": lambda: self.heat(slide, run, least, place), "boxes": lambda: self._boxes(slide, place),
            "candidates": lambda: self._candidates(slide, run, place), "marks": lambda: self._marks(slide, place),
            "tissue": lambda: self._tissue_tile(slide, place), "outlines": lambda: self._outline_tile(slide, place),
        }  # fmt: skip
        return png(layers[name]())

    def heat(self, slide: int, run: int, least: float | None, place: Window) -> np.ndarray:
        """uint8 (h, w, 4): where tiles overlap the highest score shows; off the tiles and below the threshold nothing.

        `least` is a percentile that takes the place of the threshold.
        """
        boxes, rows = self._subject.boxes(slide), self._subject.rows_of_slide(slide)
        scores = self._subject.runs[run]
        above = scores.stands_out if least is None else scores.figures["percentile"].to_numpy() >= least
        shown = above[rows] & place.meets(boxes)
        low, high = self.scale(run)
        share = np.clip((scores.figures["score"].to_numpy()[rows] - low) / max(high - low, 1e-12), 0, 1)
        return coloured(highest(place, boxes[shown], share[shown]))

    def _scale(self, run: int) -> tuple[float, float]:
        """The scores at the first and at the last colour: one scale for the whole run, whatever a slide holds."""
        return score_scale(self._subject.runs[run])

    def _boxes(self, slide: int, place: Window) -> Image.Image:
        return _framed(place, self._subject.boxes(slide), BOX, 1)

    def _candidates(self, slide: int, run: int, place: Window) -> Image.Image:
        table = self.candidates(slide, run)
        boxes = table[["left", "top", "right", "bottom"]].to_numpy(dtype=float, copy=True)
        boxes[:, 2:] -= boxes[:, :2]
        return _framed(place, boxes, CANDIDATE, 3, least=0)

    def candidates(self, slide: int, run: int) -> pd.DataFrame:
        """candidates.parquet of a slide, the highest first."""
        table = self._subject.runs[run].candidates
        if table is None:
            return pd.DataFrame(columns=["left", "top", "right", "bottom", "score", "percentile", "tiles"])
        return table[table["source"] == self._subject.slides["source"].iloc[slide]].reset_index(drop=True)

    def _marks(self, slide: int, place: Window) -> Image.Image:
        rows, boxes = self._subject.rows_of_slide(slide), self._subject.boxes(slide)
        said = self._listing.said("item")[rows]
        picture = Image.new("RGBA", (place.width, place.height))
        for number, mark in enumerate(MARKS):
            frames = _framed(place, boxes[said == number], OF_MARK[mark], 3, least=0)
            picture.alpha_composite(frames)
        return picture

    def _tissue_tile(self, slide: int, place: Window) -> np.ndarray:
        found = self._tissue(slide)
        out = np.zeros((place.height, place.width, 4), np.uint8)
        if found is None:
            return out
        width, height = self._subject.size(slide)
        across = (place.left + (np.arange(place.width) + 0.5) * place.step) * found.shape[1] / width
        down = (place.top + (np.arange(place.height) + 0.5) * place.step) * found.shape[0] / height
        columns, rows = (
            np.clip(values.astype(int), 0, side - 1)
            for values, side in ((across, found.shape[1]), (down, found.shape[0]))
        )
        return found[rows[:, None], columns]

    def _read_tissue(self, slide: int) -> np.ndarray | None:
        """uint8 (h, w, 4) over the slide's thumbnail: its tissue rimmed, the rest darkened."""
        from esad.preprocessing.tissue.mask import Kind, tissue_kinds
        from esad.preprocessing.tissue.morphology import shrunk

        picture = thumbnail(self._subject, slide)
        if picture is None:
            return None
        mpp = self._subject.slides.get("slide_mpp")
        scale = float(mpp.iloc[slide]) if mpp is not None else math.nan
        small = np.asarray(picture)
        downsample = self._subject.size(slide)[0] / small.shape[1]
        kinds = tissue_kinds(small, scale * downsample if math.isfinite(scale) else None)
        out = np.empty((*kinds.shape, 4), np.uint8)
        out[:] = NO_TISSUE
        out[kinds == Kind.INK] = INK
        tissue = kinds == Kind.TISSUE
        out[tissue] = 0
        out[tissue & ~shrunk(tissue)] = TISSUE_EDGE
        return out

    def _outline_tile(self, slide: int, place: Window) -> Image.Image:
        picture = Image.new("RGBA", (place.width, place.height))
        areas = self._areas(slide)
        if areas is None or isinstance(areas, str):
            return picture
        pen = ImageDraw.Draw(picture)
        shapes = ((areas.regions, REGION, 2), (areas.ignored, IGNORED, 2), (areas.tumour, TUMOUR, 3))
        for shape, colour, width in shapes:
            for ring in _rings(shape):
                points = (ring - (place.left, place.top)) / place.step
                pen.line([tuple(point) for point in points.tolist()], fill=colour, width=width, joint="curve")
        return picture

    def _read_areas(self, slide: int) -> Areas | str | None:
        """The outlined areas of a slide, or why they cannot be read; None without a file."""
        from esad.preprocessing.slides.outlines.frame import stored_frame
        from esad.preprocessing.slides.outlines.reading import read_areas

        source = str(self._subject.slides["source"].iloc[slide])
        path = self._outlines.get(source)
        if path is None:
            return None
        try:
            width, height = self._subject.size(slide)
            stated = {**self._subject.slides.iloc[slide].to_dict(), "width": width, "height": height}
            frame, labels = stored_frame(stated, Path(source).stem), self._subject.label_settings
            return read_areas(path, labels.get("outline_classes"), frame, labels.get("geojson_origin"))
        except EsadError as error:
            return str(error)


def score_scale(run: RunScores) -> tuple[float, float]:
    """The scores at the first colour, what stands out just so, and at the last one, FULL of what stands out."""
    figures = run.figures
    shown = figures["score"].to_numpy()[run.stands_out]
    shown = shown[np.isfinite(shown)]
    if not len(shown):
        top = float(np.nanmax(figures["score"].to_numpy(), initial=0.0))
        return top, top + 1.0
    return float(shown.min()), float(max(np.quantile(shown, FULL), shown.min() + 1e-9))


def highest(place: Window, boxes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The highest of `values` (N,) of the boxes (N, 4) that cover a pixel, NaN where none does: float32 (h, w)."""
    out = np.full((place.height, place.width), -np.inf, np.float32)
    corners = place.pixels(boxes)
    if len(corners) and (corners[:, 2:] - corners[:, :2]).max() <= 1:
        inside = (corners[:, :2] >= 0).all(1) & (corners[:, 0] < place.width) & (corners[:, 1] < place.height)
        np.maximum.at(out, (corners[inside, 1], corners[inside, 0]), values[inside].astype(np.float32))
    else:
        for (left, top, right, bottom), value in zip(corners.clip(min=0).tolist(), values, strict=True):
            area = out[top:bottom, left:right]
            np.maximum(area, value, out=area)
    out[np.isneginf(out)] = np.nan
    return out


def coloured(share: np.ndarray) -> np.ndarray:
    """Shares (h, w) of the colours, NaN for none -> uint8 (h, w, 4) with holes."""
    there = ~np.isnan(share)
    table = palette(256)
    out = np.zeros((*share.shape, 4), np.uint8)
    out[there, :3] = table[np.clip(np.rint(share[there] * 255), 0, 255).astype(int)]
    out[there, 3] = 255
    return out


@lru_cache(4)
def palette(count: int) -> np.ndarray:
    """The colours from the threshold on, uint8 (count, 3)."""
    from matplotlib import colormaps

    return (colormaps[MAP](np.linspace(DARKEST, 1, count))[:, :3] * 255).round().astype(np.uint8)


def thumbnail_path(subject: Subject, slide: int) -> Path | None:
    """Where the store has the overview of a slide; None where it has none inside."""
    sources = subject.sources
    source = str(subject.slides["source"].iloc[slide])
    if sources is None or "thumbnail" not in sources or source not in sources.index:
        return None
    name = sources.loc[source, "thumbnail"]
    return file_inside(subject.store_root, name) if isinstance(name, str) else None


def thumbnail(subject: Subject, slide: int) -> Image.Image | None:
    """The overview of a slide, RGB; None where there is none that can be read."""
    path = thumbnail_path(subject, slide)
    try:
        return Image.open(path).convert("RGB") if path is not None else None
    except OSError:
        return None


def _framed(
    place: Window, boxes: np.ndarray, colour: tuple[int, int, int, int], width: int, least: int = LEAST_BOX
) -> Image.Image:
    """Frames of boxes, RGBA; nothing where they are smaller than `least` pixels."""
    picture = Image.new("RGBA", (place.width, place.height))
    pen = ImageDraw.Draw(picture)
    for left, top, right, bottom in place.pixels(boxes[place.meets(boxes)]).tolist():
        if right - left >= least:
            grown = max(0, width + 2 - (right - left))  # a frame of a small tile stays in sight
            pen.rectangle(
                (left - grown, top - grown, right - 1 + grown, bottom - 1 + grown),
                outline=colour,
                width=width,
            )
    return picture


def _rings(shape: Any) -> list[np.ndarray]:
    """Rings of an area's polygons, inner ones, too, as (M, 2) x, y."""
    import shapely

    if shape is None or shape.is_empty:
        return []
    polygons = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return [np.asarray(ring.coords)[:, :2] for part in polygons for ring in (part.exterior, *part.interiors)]


def _outline_files(annotations: Path, subject: Subject) -> dict[str, Path]:
    """Slide -> its outline file, found by stem; of two slides with one stem neither has one."""
    from esad.pipeline.ingest.inputs import by_stem
    from esad.preprocessing.slides.outlines.finding import match_outlines

    if not annotations.exists():
        raise UsageError(f"--annotations {annotations}: no such folder or zip.")
    named = by_stem(subject.slides["source"].astype(str))
    found = match_outlines(annotations, named).files
    return {named[stem][0]: path for stem, path in found.items() if len(named[stem]) == 1}
