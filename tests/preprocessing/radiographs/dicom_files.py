"""Small DICOM files made in tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from esad.preprocessing.radiographs.reading import read_radiograph

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def make_dicom(pixels: np.ndarray, **elements: object) -> FileDataset:
    """A grey 12-bit dataset; `elements` replace or add."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = pixels.astype("<u2" if pixels.dtype.kind == "u" else "<i2").tobytes()
    for name, value in elements.items():
        setattr(image, name, value)
    return image


def content_of(image: FileDataset) -> bytes:
    """The file of a dataset; big endian, too, which `save_as` does not turn into."""
    buffer, syntax = io.BytesIO(), image.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(
        buffer,
        image,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        force_encoding=True,
    )
    return buffer.getvalue()


def write_dicom(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    """`make_dicom` as a file."""
    path.write_bytes(content_of(make_dicom(pixels, **elements)))
    return path


def grey_of(path: Path) -> np.ndarray:
    """What is read of a file: uint8 (H, W)."""
    return read_radiograph(path.read_bytes(), path.name).pixels()


def read_back(pixels: np.ndarray, **elements: object) -> np.ndarray:
    """What is read of `make_dicom`: uint8 (H, W)."""
    return read_radiograph(content_of(make_dicom(pixels, **elements)), "a.dcm").pixels()
