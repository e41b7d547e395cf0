"""The heat map of a table: rows by columns, red where a column raises a row's score, blue where it lowers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.scoring.heat import HEAT_QUANTILE
from esad.pipeline.scoring.overlays import HEADROOM, ORDINARY_COLOURS, with_headroom

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

MOST_DRAWN = 300
"""Columns of the picture; of more, those with the largest contributions, and the sum of the others."""
GRID_WIDTH, NARROWEST, WIDEST = 960, 12, 84
"""Pixels of all cells together where they may be so wide, and of one cell."""
WRITTEN = 52
"""A cell so wide has its number written in it."""
ROW, FONT, MARGIN, SCORE, WIDE = 18, 12, 12, 80, 1200
"""Pixels: the height of a row and of letters, a margin, the column of scores, and a grid beyond which names stand on both sides."""
LEGEND = 360
"""Pixels of the legend's ramp."""
LONGEST = 28
"""Letters of a name."""
INK, QUIET, RED = (28, 35, 48), (91, 101, 118), (165, 20, 35)


def colour_end(normal: Mapping[str, float] | None, shares: np.ndarray) -> float:
    """The contribution at which colours go over to decades: what one in a thousand cells of normal rows reaches.

    Where the run does not say (it is older), so much that the last colour is the largest contribution shown.
    """
    told = (normal or {}).get(HEAT_QUANTILE, 0.0)
    return told if told > 0 else max(float(np.abs(shares).max(initial=0)) / HEADROOM, 1e-12)


@dataclass(frozen=True)
class HeatMap:
    """What the picture shows: `shares` (R, D) of `rows` (item_id, score, label) and of columns by `names`; `how` in words."""

    title: str
    names: Sequence[str]
    rows: pd.DataFrame
    shares: np.ndarray
    end: float
    of_normals: bool
    """`end` was measured on normal rows."""
    how: str

    def chosen(self) -> np.ndarray:
        """Places of the columns that are drawn, ascending."""
        if len(self.names) <= MOST_DRAWN:
            return np.arange(len(self.names))
        sizes = np.abs(self.shares).sum(0, dtype=np.float64)
        return np.sort(np.argsort(-sizes, kind="stable")[:MOST_DRAWN])

    def drawn(self) -> tuple[list[str], np.ndarray]:
        """Names and contributions (R, C) of the drawn columns; the sum of those left out is the last one."""
        chosen = self.chosen()
        names, shares = [self.names[place] for place in chosen], self.shares[:, chosen]
        left = len(self.names) - len(chosen)
        if left:
            others = self.shares.sum(1, dtype=np.float64) - shares.sum(1, dtype=np.float64)
            shares = np.column_stack([shares, others])
            names.append(f"{left} other columns")
        return names, shares


def diverging(shares: np.ndarray, end: float) -> np.ndarray:
    """uint8 (..., 3): white at 0, red above, blue below; linear up to `end`, from there by decades (`with_headroom`)."""
    from matplotlib import colormaps

    size = with_headroom(np.abs(shares), (0.0, end)).clip(0, 1)
    colours = colormaps["RdBu_r"](0.5 + 0.5 * np.sign(shares) * size)[..., :3]
    return (colours * 255).round().astype(np.uint8)


@lru_cache(4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib: it has letters of many alphabets."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _width(text: str) -> int:
    return int(np.ceil(_font(FONT).getlength(text)))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words, each at most `width` pixels wide where its words are."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@dataclass(frozen=True)
class _Layout:
    """Places in pixels: where the grid begins, how large a cell is, how large the picture."""

    left: int
    top: int
    cell: int
    turned: bool
    """Names of columns run upwards."""
    wide: bool
    """Names of rows stand at the right, too."""
    size: tuple[int, int]
    head: tuple[str, ...]


def _layout(shown: HeatMap, names: Sequence[str], labels: Sequence[str]) -> _Layout:
    cell = int(np.clip(GRID_WIDTH // len(names), NARROWEST, WIDEST))
    longest = max(_width(_cut(name)) for name in names)
    turned = longest > cell - 4
    label = max([_width(label) for label in [*labels, "lowers the score"]])
    left = MARGIN + label + SCORE + MARGIN
    right = left + cell * len(names) + MARGIN
    wide = right - left > WIDE
    legend = max(LEGEND + 6 + _width("raises the score"), _width(_legend_words(shown)))
    width = max(right + (label + MARGIN if wide else 0), left + legend + MARGIN)
    head = (
        *_wrapped(shown.title, width - 2 * MARGIN),
        *_wrapped(f"Contributions: {shown.how}.", width - 2 * MARGIN),
    )
    top = MARGIN + ROW * len(head) + 8 + (longest + 6 if turned else ROW)
    return _Layout(left, top, cell, turned, wide, (width, top + ROW * len(labels) + 84), head)


def paint(shown: HeatMap) -> np.ndarray:
    """The picture: uint8 (h, w, 3), a title, columns' names, a line for each row with its name, label and score, the legend."""
    from PIL import Image, ImageDraw

    names, shares = shown.drawn()
    labels = [
        _row_label(item, label)
        for item, label in zip(shown.rows["item_id"], shown.rows["label"], strict=True)
    ]
    place = _layout(shown, names, labels)
    picture = Image.new("RGB", place.size, "white")
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(place.head):
        pen.text((MARGIN, MARGIN + ROW * number), line, fill=INK if number == 0 else QUIET, font=_font(FONT))
    _write_names(picture, pen, place, names)
    _fill(picture, place, shares, shown.end)
    pen.text((place.left - 6, place.top - 4), "score", fill=QUIET, font=_font(FONT), anchor="rs")
    for number, (label, known, score) in enumerate(
        zip(labels, shown.rows["label"], shown.rows["score"], strict=True)
    ):
        middle = place.top + ROW * number + ROW // 2
        ink = RED if not pd.isna(known) and known == 1 else INK
        pen.text((place.left - SCORE - 6, middle), label, fill=ink, font=_font(FONT), anchor="rm")
        pen.text((place.left - 6, middle), f"{score:.4g}", fill=INK, font=_font(FONT), anchor="rm")
        if place.wide:
            right = place.left + place.cell * len(names) + 6
            pen.text((right, middle), label, fill=ink, font=_font(FONT), anchor="lm")
        if place.cell >= WRITTEN:
            _write_numbers(pen, place, shares[number], number, shown.end)
    _legend(picture, pen, place, shown)
    return np.asarray(picture)


def _row_label(item: str, label: object) -> str:
    known = "" if pd.isna(label) else (" anomaly" if label == 1 else " normal")  # type: ignore[call-overload]
    return f"{_cut(str(item))}{known}"


def _write_names(picture: object, pen: ImageDraw.ImageDraw, place: _Layout, names: Sequence[str]) -> None:
    from PIL import Image, ImageDraw

    for number, name in enumerate(map(_cut, names)):
        middle = place.left + place.cell * number + place.cell // 2
        if not place.turned:
            pen.text((middle, place.top - 4), name, fill=INK, font=_font(FONT), anchor="ms")
            continue
        text = Image.new("L", (_width(name) + 2, FONT + 4), 0)
        ImageDraw.Draw(text).text((0, (FONT + 4) // 2), name, fill=255, font=_font(FONT), anchor="lm")
        upright = text.rotate(90, expand=True)
        corner = (middle - upright.width // 2, place.top - 4 - upright.height)
        picture.paste(INK, corner, upright)  # type: ignore[attr-defined]


def _fill(picture: object, place: _Layout, shares: np.ndarray, end: float) -> None:
    """The cells, a white line between them."""
    from PIL import Image

    cells = diverging(shares, end).repeat(ROW, 0).repeat(place.cell, 1)
    cells[ROW - 1 :: ROW] = 255
    cells[:, place.cell - 1 :: place.cell] = 255
    if cells.size:
        picture.paste(Image.fromarray(cells), (place.left, place.top))  # type: ignore[attr-defined]


def _write_numbers(
    pen: ImageDraw.ImageDraw, place: _Layout, shares: np.ndarray, row: int, end: float
) -> None:
    dark = diverging(shares, end).mean(-1) < 128
    for number, share in enumerate(shares):
        at = (place.left + place.cell * number + place.cell // 2, place.top + ROW * row + ROW // 2)
        ink = (255, 255, 255) if dark[number] else INK
        pen.text(at, f"{share:.2g}", fill=ink, font=_font(FONT - 2), anchor="mm")


def _legend(picture: object, pen: ImageDraw.ImageDraw, place: _Layout, shown: HeatMap) -> None:
    from PIL import Image

    left, top, width = place.left, place.size[1] - 66, LEGEND
    ends = np.linspace(-1, 1, width)
    size = np.abs(ends)
    edge = ORDINARY_COLOURS
    share = np.where(
        size <= edge, size / edge, HEADROOM ** ((size - edge) / (1 - edge))
    )  # what has each colour
    ramp = diverging(np.sign(ends) * share * shown.end, shown.end)[None].repeat(14, 0)
    picture.paste(Image.fromarray(ramp), (left, top))  # type: ignore[attr-defined]
    for at, value in ((-1, -HEADROOM), (-edge, -1), (0, 0), (edge, 1), (1, HEADROOM)):
        x = left + int((at + 1) / 2 * (width - 1))
        pen.line([(x, top + 14), (x, top + 18)], fill=INK)
        pen.text((x, top + 20), f"{value * shown.end:.2g}", fill=INK, font=_font(FONT - 2), anchor="ma")
    pen.text((left - 8, top + 7), "lowers the score", fill=INK, font=_font(FONT - 2), anchor="rm")
    pen.text((left + width + 6, top + 7), "raises the score", fill=INK, font=_font(FONT - 2), anchor="lm")
    pen.text((left, top + 36), _legend_words(shown), fill=QUIET, font=_font(FONT - 2))


def _legend_words(shown: HeatMap) -> str:
    if not shown.of_normals:
        return "The last colour is the largest contribution shown."
    return f"{shown.end:.2g} is what 1 in 1,000 cells of normal rows reaches; the last colour is {HEADROOM:g} times that."


def write_heat_map(path: Path, shown: HeatMap) -> None:
    """Write `paint` as PNG, atomically."""
    from PIL import Image

    from esad.preprocessing.store.writing import write_atomically

    write_atomically(path, Image.fromarray(paint(shown)).save)
