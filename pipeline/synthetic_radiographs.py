"""Made-up chest radiographs as DICOM: thorax, lungs, heart, ribs, on some planted opacities. No patient exists."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

IMAGES_PER_PATIENT = 2


def _ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], axes: tuple[float, float], edge: float
) -> np.ndarray:
    """Soft ellipse: 1 inside, 0 outside."""
    distance = np.hypot((x - centre[0]) / axes[0], (y - centre[1]) / axes[1])
    return 1 / (1 + np.exp(((distance - 1) / edge).clip(-50, 50)))


def draw_radiograph(
    numbers: np.random.Generator, size: int, abnormal: bool
) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    """Grey float (size, size) in [0, 1], bright where dense, and boxes x, y, width, height of planted opacities."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    x = x - 0.5 + numbers.normal(0, 0.012)
    lift = numbers.normal(0, 0.015)
    breadth = numbers.uniform(0.95, 1.07)
    picture = 0.62 * _ellipse(x, y, (0, 0.58), (0.46 * breadth, 0.62), 0.03)
    lungs = np.zeros_like(picture)
    for side in (-1, 1):
        lungs = np.maximum(
            lungs, _ellipse(x, y, (0.2 * side * breadth, 0.46 + lift), (0.14 * breadth, 0.29), 0.06)
        )
    picture -= 0.4 * lungs
    for rib in range(8):
        curve = 0.2 + lift + 0.075 * rib + 0.5 * (np.abs(x) - 0.2) ** 2 + 0.12 * np.abs(x)
        picture += 0.045 * np.exp(-(((y - curve) / 0.009) ** 2)) * lungs
    heart = _ellipse(x, y, (0.05, 0.6 + lift), (0.13 * numbers.uniform(0.9, 1.15), 0.14), 0.08)
    spine = np.exp(-((x / 0.05) ** 2)) * (y > 0.1)
    picture = picture * (1 - 0.35 * heart) + 0.3 * heart + 0.12 * spine
    picture += (
        0.28 / (1 + np.exp(-(y - 0.77 - lift - 0.6 * (np.abs(x) - 0.18) ** 2) / 0.012)) * (np.abs(x) < 0.42)
    )
    boxes: list[tuple[float, ...]] = []
    for _ in range(int(numbers.integers(1, 3)) if abnormal else 0):
        radius = numbers.uniform(0.035, 0.065)
        side = numbers.choice([-1, 1])
        middle = (
            float(0.19 * side * breadth + numbers.uniform(-0.04, 0.04)),
            float(0.45 + lift + numbers.uniform(-0.14, 0.14)),
        )
        picture += numbers.uniform(0.26, 0.36) * _ellipse(
            x, y, middle, (radius, radius * numbers.uniform(0.8, 1.2)), 0.15
        )
        left = (middle[0] + 0.5 - float(x[0, size // 2])) * size
        boxes.append(
            (left - radius * size, (middle[1] - radius) * size, 2 * radius * size, 2 * radius * size)
        )
    texture = ndimage.gaussian_filter(numbers.normal(size=(size, size)), 2.5)
    picture = (
        picture * numbers.uniform(0.9, 1.1)
        + 0.02 * texture / texture.std()
        + numbers.normal(0, 0.012, (size, size))
    )
    return picture.clip(0, 1), boxes


def write_dicom(path: Path, picture: np.ndarray, view: str, patient: str, inverted: bool, name: str) -> None:
    """A DX image, 12 bits in 16, explicit VR little endian; `name` seeds its identifiers."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["esad synthetic", name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["esad synthetic"])
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID = generate_uid(entropy_srcs=["esad synthetic study", patient])
    image.SeriesInstanceUID = generate_uid(entropy_srcs=["esad synthetic series", name])
    image.PatientID, image.PatientName = patient, "Synthetic^Nobody"
    image.Modality, image.ViewPosition = "DX", view
    image.Rows, image.Columns = picture.shape
    image.SamplesPerPixel, image.BitsAllocated, image.BitsStored, image.HighBit = 1, 16, 12, 11
    image.PixelRepresentation = 0
    image.PixelSpacing = [0.7, 0.7]
    image.WindowCenter, image.WindowWidth = 2047.5, 4096
    image.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    values = np.round((1 - picture if inverted else picture) * 4095).astype("<u2")
    image.PixelData = values.tobytes()
    image.save_as(path, enforce_file_format=True)


def make_radiographs(folder: Path, count: int = 240, size: int = 512, seed: int = 0) -> None:
    """`count` files, every fourth with opacities; labels.csv and regions.csv beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    labels: list[tuple[str, ...]] = [("source", "label")]
    regions: list[tuple[str, ...]] = [("source", "x", "y", "width", "height")]
    for number in range(count):
        numbers = np.random.default_rng([seed, 7, number])
        abnormal = number % 4 == 3
        picture, boxes = draw_radiograph(numbers, size, abnormal)
        name = f"image_{number + 1:04d}.dcm"
        patient = f"SYN-{number // IMAGES_PER_PATIENT + 1:04d}"
        write_dicom(folder / name, picture, "PA" if number % 3 else "AP", patient, number % 10 == 0, name)
        labels.append((name, str(int(abnormal))))
        regions += [(name, *(f"{value:.1f}" for value in box)) for box in boxes]
    for path, rows in ((folder / "labels.csv", labels), (folder / "regions.csv", regions)):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
