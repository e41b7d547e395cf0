"""What a DICOM file says of a radiograph: is it one, which view, whose, how large its pixels are. No identifying text.

Every value that may reach an output is of a closed set or a number: a file's own words never do, since any text element
may hold a name. What pydicom says of a fault is not passed on for the same reason.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import STANDARD_VR

from esad.preprocessing.errors import InputError
from esad.preprocessing.pictures import MOST_PIXELS
from esad.preprocessing.radiographs.dicom_faults import FAULTS, in_words, pixels_in_words
from esad.preprocessing.radiographs.dicom_pixels import GreyPicture, grey_picture
from esad.preprocessing.radiographs.dicom_views import doubts_of, stated_view

MARK = b"DICM"
"""At byte 128 of every DICOM file (PS3.10 7.1); exports of old archives begin with their file meta or data set instead."""
LAST_BEGINNINGS = {0x0002: 0x0010, 0x0008: 0x0016}
"""Group -> the last element with which a radiograph without MARK can begin: TransferSyntaxUID, SOPClassUID; elements ascend (PS3.5 7.1)."""
NEEDED = ("SOPClassUID", "Rows", "Columns", "PixelData")
"""What a data set without MARK has, or the file is none."""
OTHER_MODALITIES = {
    "AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CD", "CF", "CP", "CS", "CT", "DD", "DF", "DG", "DM", "DOC", "DS", "EC", "ECG",
    "EEG", "EMG", "EOG", "EPS", "ES", "FA", "FID", "FS", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "KO", "LEN",
    "LP", "LS", "MA", "MG", "MR", "MS", "NM", "OAM", "OCT", "OP", "OPM", "OPR", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS",
    "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG",
    "SM", "SMR", "SR", "SRF", "ST", "STAIN", "TG", "US", "VA", "VF", "XA", "XC",
}  # fmt: skip
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1) that are no radiographs of the trunk; CR, DX, DR, RG, RF, OT are left."""
MOST_BYTES = 1 << 30
"""Of a deflated file, inflated: a bomb ends here."""


@dataclass(frozen=True)
class DicomFile:
    r"""A DICOM file whose header is read and whose pixels are not yet decoded.

    `view` as `dicom_views.stated_view`; `patient` the identifier, never stored; `spacing` mm per pixel; `orientation`
    PatientOrientation as `L\F`; `burned_in` whether the file states burnt-in text; `unfit` why it is no radiograph
    for this use, or None; `doubts` as `dicom_views.doubts_of`.
    """

    name: str
    view: str | None
    patient: str | None
    spacing: float | None
    orientation: str | None
    burned_in: bool
    unfit: str | None
    doubts: tuple[str, ...]
    _dataset: pydicom.Dataset = field(repr=False)

    def pixels(self) -> np.ndarray:
        """uint8 (H, W): `picture` without its notes."""
        return self.picture().pixels

    def picture(self) -> GreyPicture:
        """See `dicom_pixels`; InputError for several frames, palette colours, no or damaged pixels."""
        dataset = self._dataset
        try:
            with quiet():
                _check_picture(dataset, self.name)
                return grey_picture(dataset)
        except FAULTS as error:
            told = pixels_in_words(dataset, error)
            raise InputError(f"{self.name}: its pixels cannot be decoded ({told}).") from error


def read_dicom(content: bytes, name: str) -> DicomFile:
    """Read the header of a DICOM file's bytes; InputError, naming `name`, where it is none or damaged.

    A file without MARK is one where it begins as a data set does, and holds what a radiograph needs.
    """
    if not is_dicom(content):
        raise _no_mark(name)
    try:
        _check_inflated(content, name)
        with quiet():
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            if not _is_marked(content):
                _check_unmarked(dataset, name)
            return _described(dataset, name)
    except FAULTS as error:
        raise InputError(f"{name}: not readable as DICOM ({in_words(error)}).") from error


def is_dicom(content: bytes) -> bool:
    """Whether a file's bytes have MARK, or begin with an element as an export without it does, in little endian (PS3.5 7.1)."""
    if _is_marked(content):
        return True
    group, element, length = (
        int.from_bytes(content[at:end], "little") for at, end in ((0, 2), (2, 4), (4, 8))
    )
    explicit = content[4:6] in {representation.encode() for representation in STANDARD_VR}
    return element <= LAST_BEGINNINGS.get(group, -1) and (explicit or 8 + length < len(content))


def _is_marked(content: bytes) -> bool:
    return content[128:132] == MARK


def _no_mark(name: str) -> InputError:
    return InputError(f"{name}: not readable as DICOM (no mark DICM at byte 128).")


def _check_unmarked(dataset: pydicom.Dataset, name: str) -> None:
    """State the transfer syntax of a data set without MARK, as it was read; InputError where it is none, or its compression unknown."""
    implicit, little = dataset.original_encoding
    if not little or any(keyword not in dataset for keyword in NEEDED):
        raise _no_mark(name)
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    if dataset["PixelData"].is_undefined_length:
        raise InputError(
            f"{name}: compressed pixels, and no file meta that says how; export it again as a DICOM file, or convert it to PNG."
        )
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of pydicom's, nor lines of its log: they quote the element's value, which may be a name."""
    log = logging.getLogger("pydicom")
    before, log.propagate = log.propagate, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.propagate = before


def _described(dataset: pydicom.Dataset, name: str) -> DicomFile:
    return DicomFile(
        name=name,
        view=stated_view(dataset),
        patient=str(dataset.get("PatientID", "") or "").strip() or None,
        spacing=_pixel_spacing(dataset, name),
        orientation=_orientation(dataset),
        burned_in=str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES",
        unfit=_unfit(dataset),
        doubts=doubts_of(dataset),
        _dataset=dataset,
    )


def _check_inflated(content: bytes, name: str) -> None:
    """InputError for a deflated file that grows beyond MOST_BYTES; pydicom would inflate it whole."""
    begin = start = len(MARK) + 128 if _is_marked(content) else 0
    while content[start : start + 2] == b"\x02\0":  # the file meta: explicit VR, little endian (PS3.10 7.1)
        long = content[start + 4 : start + 6] in (b"OB", b"UN")
        size = content[start + 8 : start + 12] if long else content[start + 6 : start + 8]
        start += (12 if long else 8) + int.from_bytes(size, "little")
    if DeflatedExplicitVRLittleEndian.encode() not in content[begin : max(start, begin + 1024)]:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(content[start:], MOST_BYTES)
    if inflater.unconsumed_tail:
        raise InputError(f"{name}: inflates to more than {MOST_BYTES >> 20} MiB.")


def _unfit(dataset: pydicom.Dataset) -> str | None:
    """Why a file is not what this stage is for, in words of our own."""
    modality = str(dataset.get("Modality", "")).strip().upper()
    if modality in OTHER_MODALITIES:
        return f"modality {modality} is no radiograph"
    processing = str(dataset.get("PresentationIntentType", "")).strip().upper() == "FOR PROCESSING"
    if processing or dataset.get("SOPClassUID") == DigitalXRayImageStorageForProcessing:
        return "raw detector values (for processing, not for presentation)"
    if str(dataset.get("Manufacturer", "")) == "esad":
        return "an overlay that esad dicom wrote"
    return None


def _pixel_spacing(dataset: pydicom.Dataset, name: str) -> float | None:
    """mm per pixel, or None: calibrated where the file has PixelSpacing, else at the detector, which the patient's shadow
    exceeds by the magnification (PS3.3 10.7.1.3), else of the digitised film. InputError for pixels that are not square.
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        try:
            down, across = (float(value) for value in dataset.get(keyword) or ())
        except (TypeError, ValueError):  # no two numbers
            continue
        if not (math.isfinite(down * across) and down > 0 and across > 0):
            continue
        if abs(down / across - 1) > 0.01:
            raise InputError(f"{name}: its pixels are not square ({down:g} : {across:g}).")
        return None if keyword == "PixelAspectRatio" else down
    return None


def _orientation(dataset: pydicom.Dataset) -> str | None:
    r"""PatientOrientation as `L\F`: to what the rows run, and the columns; None where it is not stated."""
    stated = dataset.get("PatientOrientation") or ""
    text = stated if isinstance(stated, str) else "\\".join(str(part) for part in stated)
    return text if re.fullmatch(r"[APRLHF]{1,3}\\[APRLHF]{1,3}", text) else None


def _check_picture(dataset: pydicom.Dataset, name: str) -> None:
    """InputError for what is no single grey or colour picture, before anything is decoded."""
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise InputError(f"{name}: a DICOM file without pixels (no PixelData).")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise InputError(f"{name}: {frames} frames; a radiograph has one.")
    if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        raise InputError(f"{name}: palette colours; expected a grey radiograph.")
    height, width = int(dataset.Rows), int(dataset.Columns)
    if height * width > MOST_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels; at most {MOST_PIXELS} are read.")
