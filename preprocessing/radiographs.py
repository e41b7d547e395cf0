"""Radiographs from PNG and DICOM: one grey picture each.

Nothing is rotated or mirrored; collimation borders and burnt-in text outside the central square fall away, inside
it they stay.
"""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID_dictionary

from preprocessing.errors import InputError

SUFFIXES = (".png", ".dcm", ".dicom", ".jpg", ".jpeg")
VIEWS = {"PA": "PA", "AP": "AP", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral", "LAT": "lateral"}
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's convert("L")
DECODER_FAULTS = (
    AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OSError, RuntimeError, struct.error,
    TypeError, ValueError, InvalidDicomError,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged files. Their texts may quote elements, so they are not passed on."""


@dataclass(frozen=True)
class Radiograph:
    """`pixels` uint8 (H, W), bright where dense; `view` PA, AP, lateral or None; `patient` the identifier, never stored."""

    pixels: np.ndarray
    view: str | None = None
    patient: str | None = None


def is_radiograph(path: Path) -> bool:
    """Whether a folder's file is read: by its ending, or DICOM's mark at byte 128 (PS3.10 7.1) under any name.

    Archives name files by their UID, so that an ending such as `.850819` says nothing.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.name.upper() == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_radiograph(path: Path) -> Radiograph:
    """Read PNG, JPEG or DICOM; InputError names the file and the fault.

    Colour becomes grey by BT.601; 16-bit PNG becomes 8 bit by the full range of 16 bits. DICOM: modality LUT,
    then the file's own VOI LUT or window (its first), then `_to_eight_bit`; MONOCHROME1 is turned round
    (PS3.3 C.7.6.3.1.2).
    """
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        return Radiograph(_read_picture(path))
    with warnings.catch_warnings():  # pydicom's warnings quote the element's value, which may be a name
        warnings.simplefilter("ignore")
        return _read_dicom(path)


def _read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode.startswith("I"):
                wide = np.asarray(image, dtype=np.float64)
                return (wide * (255 / 65535)).clip(0, 255).round().astype(np.uint8)
            return np.asarray(image.convert("L"))
    except UnidentifiedImageError as error:  # its text holds the whole path
        raise InputError(f"{path.name}: not a readable picture (no known format).") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name}: not a readable picture ({error}).") from error


def dicom_view(dataset: pydicom.Dataset) -> str | None:
    """PA, AP or lateral from ViewPosition, else from SeriesDescription and ProtocolName, else None.

    The texts are split into words; they tell the view where exactly one view is among the words
    ("AP SUPINE" is AP, "PA and LAT" is unknown).
    """
    stated = _views_in(str(dataset.get("ViewPosition", "") or ""))
    if not stated:
        stated = _views_in(f"{dataset.get('SeriesDescription', '')} {dataset.get('ProtocolName', '')}")
    return stated.pop() if len(stated) == 1 else None


def _views_in(text: str) -> set[str]:
    return {VIEWS[word] for word in re.split(r"[^A-Z0-9]+", text.upper()) if word in VIEWS}


def _read_dicom(path: Path) -> Radiograph:
    try:
        dataset = pydicom.dcmread(path)
        has_pixels = any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        photometric = str(dataset.get("PhotometricInterpretation", ""))
        view, patient = dicom_view(dataset), str(dataset.get("PatientID", "") or "").strip() or None
    except DECODER_FAULTS as error:
        raise InputError(f"{path.name}: not readable as DICOM ({type(error).__name__}).") from error
    if not has_pixels:
        raise InputError(f"{path.name}: a DICOM file without pixels (no PixelData).")
    if frames > 1:
        raise InputError(f"{path.name}: {frames} frames; a radiograph has one.")
    if photometric == "PALETTE COLOR":
        raise InputError(f"{path.name}: palette colours; expected a grey radiograph.")
    try:
        grey = _grey(dataset)
    except DECODER_FAULTS as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        known = syntax.name if syntax in UID_dictionary else "unknown transfer syntax"
        fault = type(error).__name__
        raise InputError(f"{path.name}: its pixels cannot be decoded ({known}, {fault}).") from error
    if grey.ndim != 2:
        raise InputError(f"{path.name}: pixels of shape {grey.shape}; expected rows x columns.")
    return Radiograph(255 - grey if photometric == "MONOCHROME1" else grey, view, patient)


def _grey(dataset: pydicom.Dataset) -> np.ndarray:
    """uint8 (H, W) by the stored photometric sense."""
    stored = dataset.pixel_array
    if stored.ndim == 3 and stored.shape[0] == 1:
        stored = stored[0]
    if stored.ndim == 3 and stored.shape[-1] == 3:  # a secondary capture: windows are for one sample a pixel
        top = 2 ** int(dataset.BitsStored) - 1
        return np.floor(stored @ LUMA * (255 / top) + 0.5).astype(np.uint8)
    values = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset), dtype=np.float64)
    return _to_eight_bit(values, *_output_range(dataset, values))


def _output_range(dataset: pydicom.Dataset, values: np.ndarray) -> tuple[float, float]:
    """The values that become 0 and 255.

    VOI LUT: the ends of its own table. Window: the range that the window maps onto (PS3.3 C.11.2.1.2), which
    is that of the stored bits after the modality LUT. Neither: the full range of 8 stored bits, and for wider
    ones what occurs, since files with 12 real bits that state 16 are common.
    """
    slope, shift = float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    bits, signed = int(dataset.get("BitsStored", 16)), bool(dataset.get("PixelRepresentation", 0))
    if dataset.get("VOILUTSequence"):
        descriptor = dataset.VOILUTSequence[0].LUTDescriptor
        table = dataset.VOILUTSequence[0].LUTData
        if isinstance(table, bytes):
            order = "<" if dataset.original_encoding[1] else ">"
            table = np.frombuffer(table, dtype=f"{order}u2" if descriptor[2] > 8 else "u1")
        return float(np.min(table)), float(np.max(table))
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        if dataset.get("ModalityLUTSequence"):
            return 0.0, float(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        low, high = sorted(slope * end + shift for end in ends)
        return low, high
    low, high = float(values.min()), float(values.max())
    return (0.0, 255.0) if bits == 8 and low >= 0 and high <= 255 else (low, high)


def _to_eight_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8, `low` to 0 and `high` to 255, halves rounded up; zeros where the range is empty."""
    if not high > low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.floor((values - low) * (255 / (high - low)) + 0.5).clip(0, 255).astype(np.uint8)
