"""Where a slide's level 0 lies: what outline files are checked against, and what nanometres are converted by."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esad.preprocessing.slides.reading import Slide

OFFSETS = ("hamamatsu.XOffsetFromSlideCentre", "hamamatsu.YOffsetFromSlideCentre")
LARGEST_OFFSET = 1e9
"""Nanometres; a glass is 7.6 cm long."""
BOUNDS = ("openslide.bounds-x", "openslide.bounds-y", "openslide.bounds-width", "openslide.bounds-height")
COLUMNS = (
    "slide_mpp_x", "slide_mpp_y", "slide_offset_x", "slide_offset_y",
    "slide_bounds_x", "slide_bounds_y", "slide_bounds_width", "slide_bounds_height",
)  # fmt: skip
"""Of sources.parquet and slides.parquet: microns a pixel, nm from the centre of the glass, and the bounds; NaN where not known."""
Box = tuple[float, float, float, float]
"""Left, top, width and height in level-0 pixels."""


def same_name(stem: str) -> str:
    """The stem of a slide or of its outlines as they are compared: whatever the case, blanks around it, how its accents are
    composed (file systems of macOS take them apart), and whether the slide is an `.ome.tif`."""
    return unicodedata.normalize("NFC", stem).strip().lower().removesuffix(".ome").strip()


@dataclass(frozen=True)
class SlideFrame:
    """What some formats need to know of the slide, and what all are checked against.

    `size` is width, height in level-0 pixels; `mpp` microns a pixel along x, y; `offset` nanometres from the centre of the
    glass to the centre of level 0 along x, y (OpenSlide's hamamatsu.XOffsetFromSlideCentre); `name` the slide's stem; `bounds`
    what was scanned of level 0, where the file says so: QuPath counts pixels from there.
    """

    size: tuple[int, int]
    mpp: tuple[float, float] | None = None
    offset: tuple[float, float] | None = None
    name: str = ""
    bounds: Box | None = None

    @property
    def begins(self) -> tuple[float, float]:
        """The level-0 pixel x, y that QuPath calls (0, 0)."""
        return self.bounds[:2] if self.bounds else (0.0, 0.0)

    def columns(self) -> dict[str, float]:
        """COLUMNS, so that `stored_frame` finds the same frame without the slide."""
        mpp, offset = (pair or (float("nan"),) * 2 for pair in (self.mpp, self.offset))
        bounds = self.bounds or (float("nan"),) * 4
        return dict(zip(COLUMNS, (*mpp, *offset, *bounds), strict=True))


def stored_frame(row: Mapping[str, Any], name: str) -> SlideFrame:
    """The frame of a row with width, height and COLUMNS; older tables lack the latter, and then they are not known."""
    values = [_number(row.get(column)) for column in COLUMNS]
    size = (int(row["width"]), int(row["height"]))
    return SlideFrame(size, _pair(values[:2]), _pair(values[2:4]), name, _box(values[4:], size))


def frame_of(slide: Slide) -> SlideFrame:
    """The open slide as its outlines need it; what it does not state is None."""
    properties = slide.handle.properties
    stated = [_mpp(properties.get(f"openslide.mpp-{axis}"), slide.mpp) for axis in "xy"]
    offsets = [_number(properties.get(name)) for name in OFFSETS]
    size = (slide.width, slide.height)
    return SlideFrame(size, _pair(stated), _pair(offsets), slide.path.stem, bounds_of(properties, size))


def bounds_of(properties: Mapping[str, Any], size: tuple[int, int]) -> Box | None:
    """OpenSlide's bounds of a slide of `size`; None where the file does not state all four, or states what is not within it."""
    return _box([_number(properties.get(name)) for name in BOUNDS], size)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) <= LARGEST_OFFSET else None


def _mpp(text: str | None, taken: float | None) -> float | None:
    """The axis' own microns a pixel where it is near those `taken` for the slide, which may be a person's; else these."""
    value = _number(text)
    near = value is not None and taken is not None and taken / 2 <= value <= taken * 2
    return value if near else taken


def _pair(values: list[float | None]) -> tuple[float, float] | None:
    x, y = values
    return (x, y) if x is not None and y is not None else None


def _box(values: list[float | None], size: tuple[int, int]) -> Box | None:
    left, top, width, height = values
    if left is None or top is None or width is None or height is None or not (width > 0 and height > 0):
        return None
    inside = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
    return (left, top, width, height) if inside else None
