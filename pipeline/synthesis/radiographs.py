"""Made-up chest radiographs as DICOM: thorax, lungs, heart, ribs, on some planted opacities. No patient exists.

Drawn in body coordinates: x from -0.5 (the image's left, the patient's right) to 0.5, y from 0 at the top to 1.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

CROP_MARGIN = 0.125
"""The planted opacities lie inside the central 3/4 of the image."""
ALL_WHITE = 4095
MOST_IMAGES = 3


@dataclass(frozen=True)
class Anatomy:
    """One made-up patient: lengths in widths of the image."""

    breadth: float
    apex: float
    base: float
    dome: float
    heart: float
    tilt: float
    rib_gap: float
    clavicle: float


@dataclass(frozen=True)
class Opacity:
    """A planted blob: middle in image shares (x, y), half axes in shares, brightness added."""

    x: float
    y: float
    half_width: float
    half_height: float
    brightness: float


def draw_anatomy(numbers: np.random.Generator) -> Anatomy:
    """A patient at random."""
    low = np.array([0.92, 0.10, 0.73, 0.05, 0.85, -0.03, 0.068, 0.165])
    high = np.array([1.08, 0.14, 0.81, 0.08, 1.20, 0.03, 0.082, 0.195])
    return Anatomy(*(float(value) for value in numbers.uniform(low, high)))


def _step(distance: np.ndarray, softness: float) -> np.ndarray:
    """0 far below zero, 1 far above, 1/2 at zero."""
    return 0.5 + 0.5 * np.tanh(distance * (0.5 / softness))


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((distance / width) ** 2))


def lung_field(x: np.ndarray, y: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Share of lung, 0 to 1, at body coordinates: two fields with a round apex, a domed base and a sharp angle."""
    share = ((y - anatomy.base) / (anatomy.base - anatomy.apex)).clip(-1, 0.5)
    outer = 0.36 * anatomy.breadth * np.sqrt((1 - share**2).clip(0)) ** 0.75
    inner = 0.075 + 0.02 * _step(y - 0.5, 0.05)
    middle = 0.20 * anatomy.breadth
    lift = np.where(x < 0, np.float32(0.025), np.float32(0))  # the liver lifts the right dome
    bottom = anatomy.base - lift - anatomy.dome * (1 - ((np.abs(x) - middle) / 0.17) ** 2)
    sides = _step(outer - np.abs(x), 0.006) * _step(np.abs(x) - inner, 0.008)
    return sides * _step(bottom - y, 0.006) * _step(y - anatomy.apex, 0.008)


def _bones(x: np.ndarray, y: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Ribs, clavicles and spine, to be added."""
    lateral = np.abs(x)
    cage = _step(0.38 * anatomy.breadth - lateral, 0.008)
    bones = np.zeros_like(x)
    for rib in range(9):
        top = anatomy.apex + 0.015 + anatomy.rib_gap * rib
        behind = top + 0.9 * (lateral - 0.17) ** 2 + 0.08 * lateral - 0.05 * _step(0.12 - lateral, 0.02)
        before = top + 0.19 - 0.45 * (lateral - 0.1)
        bones += 0.055 * _line(y - behind, 0.011) + 0.04 * _line(y - behind - 0.016, 0.004)
        bones += 0.022 * _line(y - before, 0.013) * _step(lateral - 0.13, 0.02)
    bones *= cage
    slope = anatomy.clavicle + 0.05 - 0.32 * (lateral - 0.04) + 0.25 * (lateral - 0.04) ** 2
    bones += 0.11 * _line(y - slope, 0.012) * _step(lateral - 0.035, 0.006) * _step(0.36 - lateral, 0.01)
    spine = _step(0.036 - lateral, 0.008)
    return bones + spine * (0.10 + 0.025 * np.cos(2 * np.pi * y / 0.058))


def _soft_tissue(
    x: np.ndarray, y: np.ndarray, lungs: np.ndarray, anatomy: Anatomy, enlarged: float
) -> np.ndarray:
    """Body outline with neck and shoulders, mediastinum, heart and abdomen, lungs cut out."""
    lateral = np.abs(x)
    half = 0.10 + 0.38 * anatomy.breadth * _step(y - 0.115, 0.028)
    body = _step(half - lateral, 0.012)
    picture = body * (0.56 + 0.16 * _step(y - anatomy.base, 0.05)) - 0.40 * lungs
    turned = x - 0.05 + 0.25 * (y - 0.62)
    size = 0.13 * anatomy.heart * enlarged
    heart = _step(1 - np.hypot(turned / size, (y - anatomy.base + 0.14) / 0.155), 0.05)
    knob = _step(1 - np.hypot((x - 0.075) / 0.036, (y - 0.34) / 0.045), 0.10)
    hila = sum(_line(np.hypot((x - 0.105 * side), (y - 0.46) / 1.5), 0.032) for side in (-1, 1))
    for shadow, strength in ((heart, 0.30), (knob, 0.22), (np.asarray(hila), 0.10)):
        picture += strength * shadow * lungs
    return picture


def _vessels(numbers: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Branching-like markings that fade away from the hila."""
    size = len(x)
    grain = ndimage.gaussian_filter(numbers.standard_normal((size, size), dtype=np.float32), size / 190)
    near = np.exp(-np.hypot(np.abs(x) - 0.10, y - 0.47) / 0.14)
    return near * (grain / grain.std()).clip(0, 3)


def _choose_opacities(numbers: np.random.Generator, lungs: np.ndarray) -> list[Opacity]:
    """One or two blobs, 6 to 16 % of the width across, in lung and inside the central 3/4, apart from each other."""
    coarse = lungs[::4, ::4] > 0.9
    depth = ndimage.distance_transform_edt(coarse) / len(coarse)
    chosen: list[Opacity] = []
    for _ in range(int(numbers.integers(1, 3))):
        halves = numbers.uniform(0.035, 0.08, 1) * numbers.uniform(0.85, 1, 2)
        halves = halves.clip(0.03)
        y, x = (np.mgrid[0 : len(coarse), 0 : len(coarse)] + 0.5) / len(coarse)
        margin = CROP_MARGIN + 0.01
        allowed = (depth > 0.5 * halves.max()) & (np.abs(x - 0.5) < 0.5 - margin - halves[0])
        allowed &= np.abs(y - 0.5) < 0.5 - margin - halves[1]
        for other in chosen:
            gap = halves.max() + max(other.half_width, other.half_height) + 0.03
            allowed &= np.hypot(x - other.x, y - other.y) > gap
        places = np.argwhere(allowed)
        if len(places):
            row, column = (places[numbers.integers(len(places))] + 0.5) / len(coarse)
            brightness = float(numbers.uniform(0.15, 0.30))
            chosen.append(Opacity(float(column), float(row), float(halves[0]), float(halves[1]), brightness))
    return chosen


def _add_opacity(picture: np.ndarray, opacity: Opacity, waves: np.ndarray) -> None:
    """Add a blob that is brightest in its middle and fades to nothing at its uneven edge, inside its box."""
    size = len(picture)
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    u, v = (x - opacity.x) / opacity.half_width, (y - opacity.y) / opacity.half_height
    angle = np.arctan2(v, u)
    uneven = 0.92 + 0.05 * np.cos(2 * angle + waves[0]) + 0.03 * np.cos(3 * angle + waves[1])
    picture += opacity.brightness * (1 - (np.hypot(u, v) / uneven) ** 2).clip(0) ** 1.5


def draw_radiograph(
    anatomy: Anatomy, numbers: np.random.Generator, size: int, view: str, abnormal: bool
) -> tuple[np.ndarray, list[tuple[float, float, float, float]]]:
    """Grey float (size, size) in [0, 1], bright where dense, and boxes x, y, width, height of planted opacities.

    The boxes are in pixels of the image. `view` AP has the larger heart and the lower contrast.
    """
    row, column = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
    tilt = anatomy.tilt + float(numbers.normal(0, 0.012))
    shift = numbers.normal(0, 0.01, 2)
    x = (column - 0.5) * np.cos(tilt) + (row - 0.5) * np.sin(tilt) + shift[0]
    y = (row - 0.5) * np.cos(tilt) - (column - 0.5) * np.sin(tilt) + 0.5 + shift[1]
    x, y = x.astype(np.float32), y.astype(np.float32)
    lungs = lung_field(x, y, anatomy)
    picture = _soft_tissue(x, y, lungs, anatomy, 1.15 if view == "AP" else 1.0) + _bones(x, y, anatomy)
    picture += 0.05 * _vessels(numbers, x, y) * lungs
    boxes = []
    for opacity in _choose_opacities(numbers, lungs) if abnormal else []:
        _add_opacity(picture, opacity, numbers.uniform(0, 2 * np.pi, 2))
        left, top = opacity.x - opacity.half_width, opacity.y - opacity.half_height
        box = (left, top, 2 * opacity.half_width, 2 * opacity.half_height)
        boxes.append(tuple(float(value * size) for value in box))
    picture = ndimage.gaussian_filter(picture, size / 512 * (1.4 if view == "AP" else 0.9))
    contrast = float(numbers.uniform(0.88, 1.05)) * (0.94 if view == "AP" else 1.0)
    gamma, fog = float(numbers.uniform(0.9, 1.1)), float(numbers.uniform(0.01, 0.05))
    picture = (picture.clip(0) * contrast) ** gamma + fog
    picture += (0.010 + 0.012 * picture) * numbers.standard_normal((size, size), dtype=np.float32)
    return picture.clip(0, 1), boxes  # type: ignore[return-value]


def write_dicom(path: Path, picture: np.ndarray, view: str, patient: str, inverted: bool, name: str) -> None:
    """A DX image, 12 bits in 16, explicit VR little endian; `name` seeds its identifiers.

    `picture` is (rows, columns) in [0, 1], bright where dense; `inverted` stores it as MONOCHROME1.
    """
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
    spacing = round(358.4 / picture.shape[1], 4)  # a detector 36 cm wide
    image.PixelSpacing = [spacing, spacing]
    image.WindowCenter, image.WindowWidth = 2047.5, 4096
    image.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    values = np.round((1 - picture if inverted else picture) * ALL_WHITE).astype("<u2")
    image.PixelData = values.tobytes()
    image.save_as(path, enforce_file_format=True)


def _patients(numbers: np.random.Generator, count: int) -> list[int]:
    """The patient of each image: one to MOST_IMAGES images each."""
    sizes = numbers.integers(1, MOST_IMAGES + 1, count)
    return [int(patient) for patient in np.repeat(np.arange(count), sizes)[:count]]


def make_radiographs(
    folder: Path, count: int = 240, abnormal: int = 60, size: int = 512, seed: int = 0
) -> None:
    """Write image_0001.dcm, …, `abnormal` of them (spread evenly) with opacities; labels.csv, regions.csv beside.

    labels.csv: source, label (1 = opacities). regions.csv: source, x, y, width, height, a row per opacity, in
    pixels of the image. The same arguments give the same bytes. Raises ValueError for more abnormal than images.
    """
    if not 0 <= abnormal <= count:
        raise ValueError(f"{abnormal} abnormal radiographs of {count}")
    folder.mkdir(parents=True, exist_ok=True)
    labels: list[tuple[str, ...]] = [("source", "label")]
    regions: list[tuple[str, ...]] = [("source", "x", "y", "width", "height")]
    for number, patient in enumerate(_patients(np.random.default_rng([seed, 6]), count)):
        anatomy = draw_anatomy(np.random.default_rng([seed, 7, patient]))
        numbers = np.random.default_rng([seed, 8, number])
        planted = (number + 1) * abnormal // count > number * abnormal // count
        view, inverted = "AP" if numbers.random() < 0.35 else "PA", bool(numbers.random() < 0.1)
        picture, boxes = draw_radiograph(anatomy, numbers, size, view, planted)
        name = f"image_{number + 1:04d}.dcm"
        write_dicom(folder / name, picture, view, f"SYN-{patient + 1:04d}", inverted, f"{seed} {size} {name}")
        labels.append((name, str(int(planted))))
        regions += [(name, *(f"{value:.1f}" for value in box)) for box in boxes]
    for path, rows in ((folder / "labels.csv", labels), (folder / "regions.csv", regions)):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
