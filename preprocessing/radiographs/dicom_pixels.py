"""The stored values of a DICOM radiograph as one grey picture, bright where dense.

From stored bits to grey, each step where the file has it:

    unused bits    BitsStored up to HighBit count, signed ones with their sign (PS3.5 8.1.1); set ones above are noted. A
                   compressed stream has samples of BitsStored, or of all bits up to HighBit, by what it says itself
    modality       ModalityLUTSequence, or slope and intercept (PS3.3 C.11.1); of these a missing one is 1 or 0, and noted
    VOI            its first usable VOI LUT, else its first usable window, of any VOILUTFunction (PS3.3 C.11.2), in
                   which the picture has three grey levels, or as many as it has values
    8 bit          the ends of the VOI LUT's table, or of the range that a window maps onto (C.11.2.1.2), become 0 and
                   255; without either, the ends of 8 stored bits, and for wider ones those of `grey_range`
    sense          MONOCHROME1 is turned round (PS3.3 C.7.6.3.1.2)
    padding        what PixelPaddingValue (and PixelPaddingRangeLimit) names is black and counts in no range (C.7.5.1.1.2)

Up to 16 bits all of this is one table over the possible bit patterns, so that a large picture costs one look-up a pixel.
Colour (secondary captures: RGB, and YBR, which pydicom turns into RGB) becomes grey by BT.601; windows are for one
sample a pixel and do not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.uid import RLELossless

from esad.preprocessing.dicom_codecs import plug_in, stream_bits
from esad.preprocessing.radiographs.dicom_display import (
    OTHER_WINDOW,
    Window,
    padding_range,
    read_table,
    rescaling,
    usable_table,
    usable_window,
)
from esad.preprocessing.radiographs.dicom_faults import UnusablePixels
from esad.preprocessing.radiographs.grey_range import centre_of, grey_range

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's convert("L")
BITS_ABOVE = "bits above the stored ones ignored"
FROM_PERCENTILES = "no window, grey range from percentiles"


@dataclass(frozen=True)
class GreyPicture:
    """uint8 (H, W), and notes on what was assumed or taken as absent, none of which quotes the file."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counts:
    """Of each value: whether the picture has it (bool), and how often its centre has; counted when asked for."""

    occurs: Callable[[], np.ndarray]
    central: Callable[[], np.ndarray]


def grey_picture(dataset: pydicom.Dataset) -> GreyPicture:
    """The grey picture of a dataset with one frame; UnusablePixels where it is none, and what pydicom raises."""
    plug_in_name = plug_in(dataset.file_meta.TransferSyntaxUID)
    dataset.pixel_array_options(correct_unused_bits=False, decoding_plugin=plug_in_name)
    stored = dataset.pixel_array
    if stored.ndim == 3 and stored.shape[0] == 1:
        stored = stored[0]
    if stored.ndim == 3 and stored.shape[-1] == 3:
        return GreyPicture(_luma(stored, int(dataset.BitsStored)))
    if stored.ndim != 2:
        raise UnusablePixels(f"pixels of shape {stored.shape}")
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        return _by_table(dataset, stored)
    if not np.isfinite(stored).all():
        raise UnusablePixels("values that are not finite")

    def central() -> np.ndarray:
        inside = np.zeros(stored.shape, dtype=np.int64)
        centre_of(inside)[:] = 1
        return inside

    return _grey(dataset, stored, stored, Counts(lambda: np.ones(stored.shape, dtype=bool), central))


def _luma(stored: np.ndarray, bits: int) -> np.ndarray:
    return np.floor(stored @ LUMA * (255 / (2**bits - 1)) + 0.5).clip(0, 255).astype(np.uint8)


def _by_table(dataset: pydicom.Dataset, stored: np.ndarray) -> GreyPicture:
    """The grey of every bit pattern, looked up."""
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    patterns = stored.view(f"u{stored.dtype.itemsize}")
    every = np.arange(int(patterns.max()) + 1, dtype=patterns.dtype)
    shift = _unused_below(dataset, stored)
    values, beyond = _meaning(dataset, every.astype(np.int32), shift, signed=stored.dtype.kind == "i")
    found = np.zeros(len(every), dtype=bool)
    found[patterns.reshape(-1)] = True
    counts = Counts(lambda: found, lambda: np.bincount(centre_of(patterns).reshape(-1), minlength=len(every)))
    table = _grey(dataset, values, every.view(stored.dtype), counts)
    wrapped = found & beyond & ~_padding(dataset, every.view(stored.dtype))[0]
    return GreyPicture(table.pixels.take(patterns), (*table.notes, *([BITS_ABOVE] if wrapped.any() else [])))


def _unused_below(dataset: pydicom.Dataset, stored: np.ndarray) -> int:
    """How many bits below the stored ones each sample has (PS3.5 8.1.1); UnusablePixels where that cannot be told."""
    bits, syntax = int(dataset.BitsStored), dataset.file_meta.TransferSyntaxUID
    top = int(dataset.get("HighBit", bits - 1)) + 1
    below = max(top - bits, 0)
    if not below or not syntax.is_encapsulated or syntax == RLELossless:
        return below
    own = stream_bits(dataset)
    if own is not None and own <= bits:  # the encoder brought them down
        return 0
    ends = [int(stored.min()), int(stored.max())]
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if stored.dtype.kind == "i" else (0, 2**bits)
    if own != top or (least <= ends[0] and ends[1] < most):  # nothing in the upper bits: HighBit may be wrong
        raise UnusablePixels(
            f"BitsStored {bits} and HighBit {top - 1} do not fit the compressed samples; correct them, or convert it to PNG"
        )
    return below


def _meaning(
    dataset: pydicom.Dataset, patterns: np.ndarray, shift: int, signed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(int32: the number that each pattern stands for, by BitsStored and sign, above `shift` bits; bool: has it bits above these).

    Those of a negative number that go on with its sign are none.
    """
    bits = int(dataset.BitsStored)
    values = (patterns >> shift) & (2**bits - 1)
    above = patterns >> (shift + bits)
    if not signed:
        return values, above != 0
    negative = values >= 2 ** (bits - 1)
    extended = above == (2 ** (int(dataset.BitsAllocated) - shift - bits) - 1)
    return np.where(negative, values - 2**bits, values), (above != 0) & ~(negative & extended)


def _grey(dataset: pydicom.Dataset, values: np.ndarray, stored: np.ndarray, counts: Counts) -> GreyPicture:
    """uint8 of the shape of `values`, which `stored` stand for; padding becomes 0."""
    padding, notes = _padding(dataset, stored)
    values, low, high, half = _by_modality(dataset, values)
    notes += half
    table, bad_tables = usable_table(dataset)

    def shows(window: Window) -> bool:
        seen = values[counts.occurs() & ~padding]
        return _levels(to_eight_bit(window.apply(seen, low, high), low, high)) >= _levels(seen)

    window, bad_windows = usable_window(dataset, shows if table is None else lambda _: True)
    notes += bad_tables + [note for note in bad_windows if table is None or note != OTHER_WINDOW]
    if table is not None:
        values = table.apply(values)
        low, high = _ends(table.entries)
    elif window is not None:
        values = window.apply(values, low, high)
    elif int(dataset.get("BitsStored", 16)) != 8:
        occurs, central = counts.occurs() & ~padding, counts.central()
        low, high, cut = grey_range(
            values.reshape(-1), occurs.reshape(-1), np.where(occurs, central, 0).reshape(-1)
        )
        notes += [FROM_PERCENTILES] if cut else []
    grey = to_eight_bit(values, low, high)
    if str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        grey = 255 - grey
    grey[padding] = 0
    return GreyPicture(grey, tuple(notes))


def _padding(dataset: pydicom.Dataset, stored: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which of the `stored` values are padding (bool), and the note of what names none."""
    named, notes = padding_range(dataset, stored.dtype)
    if named is None:
        return np.zeros(stored.shape, dtype=bool), notes
    return (stored >= named[0]) & (stored <= named[1]), notes


def _levels(values: np.ndarray) -> int:
    """How many different values there are, 3 for more."""
    if not values.size:
        return 0
    least, greatest = values.min(), values.max()
    between = ((values != least) & (values != greatest)).any()
    return 3 if between else 1 + int(greatest > least)


def _by_modality(dataset: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, float, float, list[str]]:
    """`values` by modality LUT or rescaling, the ends of the range in which they then lie, and what was assumed."""
    if dataset.get("ModalityLUTSequence"):
        item = dataset.ModalityLUTSequence[0]
        table = read_table(dataset, item, exact=False)
        return table.apply(values), 0.0, 2.0 ** int(item.LUTDescriptor[2]) - 1, []
    bits, signed = int(dataset.get("BitsStored", 16)), bool(dataset.get("PixelRepresentation", 0))
    whole = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
    slope, intercept, notes = rescaling(dataset)
    low, high = sorted(end * slope + intercept for end in whole)
    if (slope, intercept) != (1, 0):
        values = values.astype(np.float64) * slope + intercept
    return values, low, high, notes


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def to_eight_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8, `low` to 0 and `high` to 255, halves rounded up; zeros where the range is empty."""
    if not high > low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.floor((values - low) * (255 / (high - low)) + 0.5).clip(0, 255).astype(np.uint8)
