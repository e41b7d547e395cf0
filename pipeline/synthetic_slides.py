"""Made-up H&E slides: tissue, glands and nuclei by Beer-Lambert, on some a planted abnormal region with its outline.

They look like a cartoon of H&E and mean nothing medically.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np
import tifffile
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.signal import fftconvolve

STAINS = np.array([[0.60, 0.68, 0.42], [0.28, 0.92, 0.26]])
"""Optical density of haematoxylin and eosin in R, G, B; each slide's own are these, jittered."""
WHITE = 243
LEVELS = 5
DRAW_MPP = 0.5


def _noise(
    numbers: np.random.Generator, shape: tuple[int, int], sigma: float | tuple[float, float]
) -> np.ndarray:
    """Smooth noise of mean 0 and spread 1, drawn coarse and enlarged so that large sigmas stay cheap."""
    coarse = max(1, int(np.min(sigma) // 2))
    small = tuple(-(-side // coarse) for side in shape)
    field = ndimage.gaussian_filter(
        numbers.normal(size=small).astype(np.float32), np.array(sigma) / coarse, mode="wrap"
    )
    field = ndimage.zoom(field, coarse, order=1)[: shape[0], : shape[1]]
    return (field - field.mean()) / field.std()


def _disc(radius: float) -> np.ndarray:
    """A soft-edged disc whose middle is 1."""
    side = int(np.ceil(radius)) + 2
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    return (1 / (1 + np.exp((np.hypot(x, y) - radius) * 2))).astype(np.float32)


def _stamp(centres: np.ndarray, radius: float, shape: tuple[int, int]) -> np.ndarray:
    """Discs at `centres` (N, 2) x, y."""
    field = np.zeros(shape, dtype=np.float32)
    inside = centres[(centres >= 0).all(1) & (centres[:, 0] < shape[1]) & (centres[:, 1] < shape[0])].astype(
        int
    )
    field[inside[:, 1], inside[:, 0]] = 1
    return fftconvolve(field, _disc(radius), mode="same").clip(0, 1.3)


def _blob(
    numbers: np.random.Generator, centre: tuple[float, float], radius: float, points: int = 40
) -> np.ndarray:
    """An irregular closed outline (points, 2) x, y."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    waves = sum(
        numbers.uniform(0.03, 0.1) * np.cos(k * angle + numbers.uniform(0, 2 * np.pi)) for k in (2, 3, 5)
    )  # fmt: skip
    distance = radius * (1 + np.asarray(waves))
    return np.column_stack([centre[0] + distance * np.cos(angle), centre[1] + distance * np.sin(angle)])


def _inside(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    canvas = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in outline], fill=1)
    return np.asarray(canvas, dtype=bool)


def _glands(numbers: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(nuclei centres, lumen centres, lumen radii) of rings of nuclei around lumens."""
    count = side * side // 30_000
    centres = numbers.uniform(0, side, (count, 2))
    radii = numbers.uniform(22, 42, count)
    rings = []
    for centre, radius in zip(centres, radii, strict=True):
        angle = np.arange(0, 2 * np.pi, 11 / radius) + numbers.uniform(0, 1)
        spread = radius + numbers.normal(0, 1.2, len(angle))
        rings.append(
            np.column_stack([centre[0] + spread * np.cos(angle), centre[1] + spread * np.sin(angle)])
        )
    return np.concatenate(rings), centres, radii * 0.6


def draw_slide(
    numbers: np.random.Generator, side: int, abnormal: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB uint8 (side, side, 3) at DRAW_MPP, and the outline (N, 2) x, y of the planted region or None."""
    shape = (side, side)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    tissue = (0.40 - np.hypot(x * numbers.uniform(0.95, 1.1), y)) * 20 + _noise(numbers, shape, side / 22) > 0
    ring, lumens, lumen_radii = _glands(numbers, side)
    scattered = numbers.uniform(0, side, (side * side // 900, 2))
    haematoxylin = np.maximum(_stamp(ring, 4.5, shape), 0.85 * _stamp(scattered, 3.5, shape))
    lumen = np.max([_stamp(lumens[i::3], float(lumen_radii[i::3].mean()), shape) for i in range(3)], axis=0)
    fibres = _noise(numbers, shape, (1.5, 9))
    eosin = 0.55 + 0.12 * fibres + 0.12 * _noise(numbers, shape, side / 60)
    eosin *= 1 - 0.9 * lumen.clip(0, 1)
    outline = None
    if abnormal:
        middle = side / 2 + numbers.uniform(-0.08, 0.08, 2) * side
        outline = _blob(numbers, (float(middle[0]), float(middle[1])), side * numbers.uniform(0.17, 0.21))
        region = _inside(outline, shape)
        crowd = numbers.uniform(0, side, (side * side // 260, 2))
        sizes = np.array_split(crowd, 3)
        dense = np.max(
            [_stamp(part, radius, shape) for part, radius in zip(sizes, (5.0, 6.5, 8.0), strict=True)], axis=0
        )
        haematoxylin = np.where(region, dense * (0.85 + 0.15 * _noise(numbers, shape, 3)), haematoxylin)
        eosin = np.where(region, 0.38 + 0.05 * fibres, eosin)
    matrix = (STAINS + numbers.normal(0, 0.03, STAINS.shape)).clip(0.02)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    amounts = np.stack([1.15 * haematoxylin.clip(0), eosin.clip(0)], -1) * numbers.uniform(0.8, 1.25, 2)
    density = np.where(tissue[..., None], (amounts * [1.0, 0.75]) @ matrix, 0)
    picture = WHITE * np.exp(-density) + numbers.normal(0, 1.5, (*shape, 1))
    return picture.clip(0, 255).astype(np.uint8), outline


def write_pyramid(path: Path, level0: np.ndarray, mpp: float) -> None:
    """A tiled JPEG TIFF of LEVELS levels, each half the one before, that OpenSlide reads as a generic slide."""
    with tifffile.TiffWriter(path) as file:
        picture = level0
        for level in range(LEVELS):
            size = mpp * 2**level
            file.write(
                np.asarray(Image.fromarray(picture).convert("YCbCr")),  # tifffile takes the values as they are
                tile=(256, 256), photometric="ycbcr", subsampling=(2, 2), compression="jpeg",
                compressionargs={"level": 88}, subfiletype=int(level > 0), metadata=None, software="esad synthetic",
                resolution=(1e4 / size, 1e4 / size), resolutionunit="CENTIMETER",
            )  # fmt: skip
            height, width = (side // 2 * 2 for side in picture.shape[:2])
            blocks = picture[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
            picture = blocks.mean((1, 3), dtype=np.float32).round().astype(np.uint8)


def write_outline(path: Path, outline: np.ndarray) -> None:
    """An ASAP XML file with one outline of group Tumor, level-0 pixels."""
    root = Element("ASAP_Annotations")
    polygon = SubElement(
        SubElement(root, "Annotations"), "Annotation", Name="planted", Type="Polygon", PartOfGroup="Tumor"
    )
    points = SubElement(polygon, "Coordinates")
    for order, (x, y) in enumerate(outline):
        SubElement(points, "Coordinate", Order=str(order), X=f"{x:.1f}", Y=f"{y:.1f}")
    indent(root)
    ElementTree(root).write(path, encoding="unicode")


def make_slides(
    folder: Path, annotations: Path, slides: int = 6, size: int = 6144, mpp: float = 0.25, seed: int = 0
) -> None:
    """`slides` slides of `size` level-0 pixels, every second one abnormal, and the outlines of those."""
    folder.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(parents=True, exist_ok=True)
    enlarge = round(DRAW_MPP / mpp)
    for number in range(slides):
        abnormal = number % 2 == 1
        stem = f"{'tumor' if abnormal else 'normal'}_{number // 2 + 1:03d}"
        picture, outline = draw_slide(np.random.default_rng([seed, number]), size // enlarge, abnormal)
        write_pyramid(folder / f"{stem}.tif", picture.repeat(enlarge, 0).repeat(enlarge, 1), mpp)
        if outline is not None:
            write_outline(annotations / f"{stem}.xml", outline * enlarge)
