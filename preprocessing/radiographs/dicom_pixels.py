"""The stored values of a DICOM radiograph as one grey picture, bright where dense.

From stored bits to grey, each step where the file has it:

    unused bits    BitsStored up to HighBit count, signed ones with their sign (PS3.5 8.1.1)
    modality       ModalityLUTSequence, or slope and intercept (PS3.3 C.11.1)
    VOI            its first VOI LUT, else its first window, of any VOILUTFunction (PS3.3 C.11.2)
    8 bit          the ends of the VOI LUT's table, or of the range that a window maps onto (C.11.2.1.2), become 0 and
                   255; without either, the ends of 8 stored bits, and for wider ones the least and the greatest value
                   that occurs, since files with 12 real bits that state 16 are common
    sense          MONOCHROME1 is turned round (PS3.3 C.7.6.3.1.2)
    padding        what PixelPaddingValue (and PixelPaddingRangeLimit) names is black and counts in no range (C.7.5.1.1.2)

Up to 16 bits all of this is one table over the possible bit patterns, so that a large picture costs one look-up a pixel.
Colour (secondary captures: RGB, and YBR, which pydicom turns into RGB) becomes grey by BT.601; windows are for one
sample a pixel and do not apply.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.pixels import apply_rescale, apply_windowing
from pydicom.uid import RLELossless

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's convert("L")


def grey_picture(dataset: pydicom.Dataset) -> np.ndarray:
    """uint8 (H, W) of a dataset with one frame; what pydicom raises, and ValueError for pixels that are no picture."""
    dataset.pixel_array_options(correct_unused_bits=False)
    stored = dataset.pixel_array
    if stored.ndim == 3 and stored.shape[0] == 1:
        stored = stored[0]
    if stored.ndim == 3 and stored.shape[-1] == 3:
        return _luma(stored, int(dataset.BitsStored))
    if stored.ndim != 2:
        raise ValueError(f"pixels of shape {stored.shape}")
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        return _by_table(dataset, stored)
    if not np.isfinite(stored).all():
        raise ValueError("values that are not finite")
    return _grey(dataset, stored, _padding(dataset, stored), lambda: np.ones(stored.shape, dtype=bool))


def _luma(stored: np.ndarray, bits: int) -> np.ndarray:
    return np.floor(stored @ LUMA * (255 / (2**bits - 1)) + 0.5).clip(0, 255).astype(np.uint8)


def _by_table(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """The grey of every bit pattern, looked up."""
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    patterns = stored.view(f"u{stored.dtype.itemsize}")
    every = np.arange(int(patterns.max()) + 1, dtype=patterns.dtype)
    values = _meaning(dataset, every.astype(np.int32), signed=stored.dtype.kind == "i")
    padding = _padding(dataset, every.view(stored.dtype))
    table = _grey(dataset, values, padding, lambda: np.bincount(patterns.reshape(-1)) > 0)
    return table.take(patterns)


def _meaning(dataset: pydicom.Dataset, patterns: np.ndarray, signed: bool) -> np.ndarray:
    """int32: the number that each pattern stands for, by BitsStored, HighBit and sign."""
    bits, syntax = int(dataset.BitsStored), dataset.file_meta.TransferSyntaxUID
    as_stored = not syntax.is_encapsulated or syntax == RLELossless  # others' decoders bring the bits down
    shift = max(int(dataset.get("HighBit", bits - 1)) + 1 - bits, 0) if as_stored else 0
    values = (patterns >> shift) & (2**bits - 1)
    return np.where(values >= 2 ** (bits - 1), values - 2**bits, values) if signed else values


def _padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Where `stored` is padding, bool of its shape."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (stored >= low) & (stored <= high)


def _grey(
    dataset: pydicom.Dataset, values: np.ndarray, padding: np.ndarray, occurring: Callable[[], np.ndarray]
) -> np.ndarray:
    """uint8 of the shape of `values`; `padding` becomes 0; `occurring` tells which values the picture has."""
    bits, signed = int(dataset.get("BitsStored", 16)), bool(dataset.get("PixelRepresentation", 0))
    if dataset.get("ModalityLUTSequence"):
        values = _look_up(dataset, dataset.ModalityLUTSequence[0], values)
        low, high = 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    else:
        whole = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
        values = apply_rescale(values, dataset)
        low, high = _ends(apply_rescale(np.array(whole, dtype=np.float64), dataset))
    if dataset.get("VOILUTSequence"):
        values = _look_up(dataset, dataset.VOILUTSequence[0], values)
        low, high = _ends(_table(dataset, dataset.VOILUTSequence[0]))
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        values = apply_windowing(values, dataset)
    elif bits != 8:
        low, high = _ends(values[occurring() & ~padding])
    grey = to_eight_bit(values, low, high)
    if str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        grey = 255 - grey
    grey[padding] = 0
    return grey


def _ends(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _table(dataset: pydicom.Dataset, item: pydicom.Dataset) -> np.ndarray:
    """The entries of a LUT: of 16 bits each, or of 8 where the data is only that long (PS3.3 C.11.1.1.1)."""
    count, data = int(item.LUTDescriptor[0]) or 2**16, item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, dtype=f"{order}u2" if len(data) >= 2 * count else "u1")
    entries = np.atleast_1d(np.asarray(data))[:count]
    if not len(entries):
        raise ValueError("a look-up table without entries")
    return entries


def _look_up(dataset: pydicom.Dataset, item: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    """`values` through a LUT; those beyond its ends take its first or last entry.

    Not pydicom's: its own fails for a modality LUT of other than 8 or 16 bits, and wraps round in a VOI LUT of 8.
    """
    entries, first = _table(dataset, item), int(item.LUTDescriptor[1])
    if first > 2**15 - 1 and bool(dataset.get("PixelRepresentation", 0)):
        first -= 2**16  # written as unsigned beside signed pixels
    places = (np.rint(values) - first).clip(0, len(entries) - 1).astype(np.int64)
    return entries[places].astype(np.float64)


def to_eight_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8, `low` to 0 and `high` to 255, halves rounded up; zeros where the range is empty."""
    if not high > low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.floor((values - low) * (255 / (high - low)) + 0.5).clip(0, 255).astype(np.uint8)
