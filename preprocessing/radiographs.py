"""Radiographs from PNG and DICOM: one grey picture, a central square of it, a small square of that.

Nothing is rotated or mirrored; collimation borders and burnt-in text outside the central square fall away, inside
it they stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from preprocessing.errors import InputError

SUFFIXES = (".png", ".dcm", ".dicom", ".jpg", ".jpeg")
VIEWS = {"PA": "PA", "AP": "AP", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral", "LAT": "lateral"}


@dataclass(frozen=True)
class Radiograph:
    """`pixels` uint8 (H, W), bright where dense; `view` PA, AP, lateral or None; `patient` the identifier, never stored."""

    pixels: np.ndarray
    view: str | None = None
    patient: str | None = None


def is_radiograph(path: Path) -> bool:
    """Whether a folder's file is read: by its ending, or DICOM's mark in a file without one."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_radiograph(path: Path) -> Radiograph:
    """Read PNG, JPEG or DICOM; InputError names the file and the fault."""
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        return Radiograph(_read_picture(path))
    return _read_dicom(path)


def _read_picture(path: Path) -> np.ndarray:
    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name}: not a readable picture ({error}).") from error
    if image.mode.startswith("I"):
        return (np.asarray(image, dtype=np.float64) * (255 / 65535)).clip(0, 255).round().astype(np.uint8)
    return np.asarray(image.convert("L"))


def dicom_view(dataset: pydicom.Dataset) -> str | None:
    """PA, AP or lateral from ViewPosition, else from a word of SeriesDescription or ProtocolName, else None."""
    stated = str(dataset.get("ViewPosition", "") or "").strip().upper()
    if stated in VIEWS:
        return VIEWS[stated]
    words = f"{dataset.get('SeriesDescription', '')} {dataset.get('ProtocolName', '')}".upper()
    found = {
        VIEWS[word] for word in "".join(c if c.isalnum() else " " for c in words).split() if word in VIEWS
    }
    return found.pop() if len(found) == 1 else None


def _read_dicom(path: Path) -> Radiograph:
    try:
        dataset = pydicom.dcmread(path)
    except (
        InvalidDicomError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        NotImplementedError,
    ) as error:
        raise InputError(f"{path.name}: not readable as DICOM ({type(error).__name__}).") from error
    if "PixelData" not in dataset:
        raise InputError(f"{path.name}: a DICOM file without pixels (no PixelData).")
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise InputError(f"{path.name}: {dataset.NumberOfFrames} frames; a radiograph has one.")
    try:
        stored = dataset.pixel_array
        values = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset), dtype=np.float64)
    except (
        ValueError,
        RuntimeError,
        AttributeError,
        NotImplementedError,
        KeyError,
        TypeError,
        OSError,
    ) as error:
        raise InputError(
            f"{path.name}: its pixels cannot be decoded ({type(error).__name__}: {error})."
        ) from error
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        values = values[..., :3] @ np.array([0.299, 0.587, 0.114])
    if values.ndim != 2:
        raise InputError(f"{path.name}: pixels of shape {values.shape}; expected rows x columns.")
    grey = _to_eight_bit(values, dataset)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = 255 - grey
    patient = str(dataset.get("PatientID", "") or "") or None
    return Radiograph(grey, dicom_view(dataset), patient)


def _to_eight_bit(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """uint8 by the file's own window, else by the full range of 8 stored bits, else by the values that occur."""
    low, high = float(values.min()), float(values.max())
    windowed = "WindowCenter" in dataset or "VOILUTSequence" in dataset
    if not windowed and int(dataset.get("BitsStored", 16)) == 8 and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif windowed and "VOILUTSequence" not in dataset:
        slope, shift = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0))
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        low, high = sorted(
            slope * end + shift for end in ends
        )  # the output range of the window (PS3.3 C.11.2.1.2)
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.floor((values - low) * (255 / (high - low)) + 0.5).clip(0, 255).astype(np.uint8)


def central_square(shape: tuple[int, ...], crop: float) -> tuple[int, int, int]:
    """(left, top, side) of the central square whose side is `crop` times the shorter side of (H, W)."""
    side = int(min(shape[:2]) * crop + 1e-6)
    return (shape[1] - side) // 2, (shape[0] - side) // 2, side


def small_square(pixels: np.ndarray, crop: float, size: int, name: str) -> np.ndarray:
    """uint8 (size, size): the central square, area-resampled; InputError where it is smaller than `size`."""
    left, top, side = central_square(pixels.shape, crop)
    if side < size:
        height, width = pixels.shape
        raise InputError(
            f"{name}: {width} x {height} pixels; the central square of {side} is smaller than {size}."
        )
    square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return np.asarray(square.resize((size, size), Image.Resampling.BOX))


def region_in_square(
    region: tuple[float, float, float, float], shape: tuple[int, ...], crop: float, size: int
) -> tuple[float, float, float, float] | None:
    """A box x, y, width, height of source pixels in pixels of the small square, cut to it; None if it lies outside."""
    left, top, side = central_square(shape, crop)
    scale = size / side
    x0, y0 = ((region[axis] - start) * scale for axis, start in ((0, left), (1, top)))
    x1, y1 = x0 + region[2] * scale, y0 + region[3] * scale
    x0, y0, x1, y1 = (min(max(value, 0.0), float(size)) for value in (x0, y0, x1, y1))
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None
