"""What a DICOM file says of how its values are shown: VOI look-up tables and windows (PS3.3 C.11.2), rescaling, padding.

An element that cannot be used counts as absent, and is noted: archives are full of windows of width 0. So does a
window in which nothing of the picture is seen. Nothing that a file
says reaches a note.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pydicom

from esad.preprocessing.radiographs.dicom_faults import FAULTS, UnusablePixels

BAD_WINDOW = "unusable window taken as absent"
OTHER_WINDOW = "first usable of several windows"
BAD_TABLE = "unusable VOI look-up table taken as absent"
BAD_PADDING = "unusable padding value taken as absent"
HALF_RESCALE = "rescale slope or intercept missing, taken as 1 or 0"

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Window:
    """A usable window: finite, of a width that its function takes."""

    centre: float
    width: float
    function: Function = "LINEAR"

    def apply(self, values: np.ndarray, low: float, high: float) -> np.ndarray:
        """float64 in [low, high] (C.11.2.1.2.1, C.11.2.1.3)."""
        values, centre, width = values.astype(np.float64), self.centre, self.width
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return (high - low) / (1 + np.exp(-4 * (values - centre) / width)) + low
        if self.function == "LINEAR":
            centre, width = centre - 0.5, width - 1
        with np.errstate(divide="ignore", invalid="ignore"):  # LINEAR of width 1 is a step
            shown = ((values - centre) / width + 0.5) * (high - low) + low
        shown[values <= centre - width / 2] = low
        shown[values > centre + width / 2] = high
        return shown


@dataclass(frozen=True)
class Table:
    """A look-up table: its entries, of which the first stands for `first` and all below it."""

    entries: np.ndarray
    first: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float64; values beyond the ends take the first or last entry.

        Not pydicom's: its own fails for a modality LUT of other than 8 or 16 bits, and wraps round in a VOI LUT of 8.
        """
        places = (np.rint(values) - self.first).clip(0, len(self.entries) - 1).astype(np.int64)
        return self.entries[places].astype(np.float64)


def numbers(dataset: pydicom.Dataset, keyword: str) -> list[float] | None:
    """The finite numbers that an element holds, [] where it is absent or empty, None where it is unusable."""
    found = _parts(dataset, keyword)
    return found if all(math.isfinite(each) for each in found) else None


def stated_windows(dataset: pydicom.Dataset) -> list[Window | None] | None:
    """The file's windows in their order, None for one that cannot be used; None where they are no windows at all."""
    centres, widths = _parts(dataset, "WindowCenter"), _parts(dataset, "WindowWidth")
    if not centres and not widths:
        return []
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if len(centres) != len(widths) or function not in FUNCTIONS:
        return None
    least = 1 if function == "LINEAR" else math.ulp(0)
    return [
        Window(centre, width, cast(Function, function))
        if math.isfinite(centre) and math.isfinite(width) and width >= least
        else None
        for centre, width in zip(centres, widths, strict=True)
    ]


def usable_window(
    dataset: pydicom.Dataset, shows: Callable[[Window], bool]
) -> tuple[Window | None, list[str]]:
    """The first of the file's windows that can be used and `shows` the picture, and the note of those before it."""
    stated = stated_windows(dataset)
    if stated == []:
        return None, []
    for place, window in enumerate(stated or []):
        if window is not None and shows(window):
            return window, [OTHER_WINDOW] if place else []
    return None, [BAD_WINDOW]


def _parts(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """The numbers of an element of windows, NaN for what is none."""
    try:
        stated = dataset.get(keyword)
    except FAULTS:  # text that is no number
        return [math.nan]
    if stated is None or (isinstance(stated, str) and not stated.strip()):
        return []
    several = stated if np.iterable(stated) and not isinstance(stated, (str, bytes)) else [stated]
    return [_number(each) for each in several]


def _number(stated: object) -> float:
    try:
        return float(stated)  # type: ignore[arg-type]
    except FAULTS:
        return math.nan


def usable_table(dataset: pydicom.Dataset) -> tuple[Table | None, list[str]]:
    """The first of the file's VOI look-up tables that can be used, and the note of those that cannot."""
    try:
        items = list(dataset.get("VOILUTSequence") or [])
    except FAULTS:
        return None, [BAD_TABLE]
    for place, item in enumerate(items):
        try:
            table = read_table(dataset, item, exact=True)
        except FAULTS:
            continue
        if table.entries.min() < table.entries.max():
            return table, [BAD_TABLE] if place else []
    return None, [BAD_TABLE] if items else []


def read_table(dataset: pydicom.Dataset, item: pydicom.Dataset, exact: bool) -> Table:
    """The LUT in `item`: entries of 16 bits each, or of 8 where the data is only that long (PS3.3 C.11.1.1.1).

    UnusablePixels where it has no entries or, if `exact`, another number than it states; what pydicom raises where an
    element is missing.
    """
    count, first, _ = (int(each) for each in item.LUTDescriptor)
    count, data = count or 2**16, item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        if len(data) >= 2 * count:
            data = np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{order}u2")
        else:
            odd = len(data) == count + 1  # padded to an even length
            data = np.frombuffer(data, dtype="u1")[: count if odd else None]
    entries = np.atleast_1d(np.asarray(data))
    if exact and len(entries) != count:
        raise UnusablePixels("a look-up table of another length than it states")
    if not len(entries):
        raise UnusablePixels("a look-up table without entries")
    if first > 2**15 - 1 and bool(dataset.get("PixelRepresentation", 0)):
        first -= 2**16  # written as unsigned beside signed pixels
    return Table(entries[:count], first)


def rescaling(dataset: pydicom.Dataset) -> tuple[float, float, list[str]]:
    """(slope, intercept, the note of one that is absent), 1 and 0 where the file has neither (PS3.3 C.11.1, which requires both or none).

    UnusablePixels where they are no numbers, or the slope is 0.
    """
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if slope is None or intercept is None or len(slope) > 1 or len(intercept) > 1 or slope == [0.0]:
        raise UnusablePixels("its rescale slope or intercept is no number, or the slope is 0")
    notes = [HALF_RESCALE] if bool(slope) != bool(intercept) else []
    return (slope or [1.0])[0], (intercept or [0.0])[0], notes


def padding_range(dataset: pydicom.Dataset, samples: np.dtype) -> tuple[tuple[int, int] | None, list[str]]:
    """The least and greatest stored value of type `samples` that is padding (C.7.5.1.1.2), and the note of one that cannot be used.

    One that would make padding of every value there may be cannot be used.
    """
    value, limit = numbers(dataset, "PixelPaddingValue"), numbers(dataset, "PixelPaddingRangeLimit")
    if value == []:
        return None, []
    if value is None or limit is None or len(value) > 1 or len(limit) > 1:
        return None, [BAD_PADDING]
    low, high = sorted(_as_sample(int(end[0]), samples) for end in (value, limit or value))
    if samples.kind in "iu" and (low, high) == (np.iinfo(samples).min, np.iinfo(samples).max):
        return None, [BAD_PADDING]
    return (low, high), []


def _as_sample(value: int, samples: np.dtype) -> int:
    """`value` as stored samples hold it: -32768 for 32768 written as unsigned beside signed pixels, 65535 for -1 beside unsigned ones."""
    if samples.kind not in "iu":
        return value
    ends, turns = np.iinfo(samples), (2 ** (8 * samples.itemsize), 2**16)
    meant = [value, *(value + sign * turn for turn in turns for sign in (1, -1))]
    return next((each for each in meant if ends.min <= each <= ends.max), value)
