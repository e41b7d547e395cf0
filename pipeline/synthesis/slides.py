"""Made-up H&E slides: tissue, glands and nuclei by Beer-Lambert, on some a planted abnormal region with its outline.

They look like a cartoon of H&E and mean nothing medically. Lengths in the drawing are pixels of DRAW_MPP.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np
import tifffile
from PIL import Image, ImageDraw
from scipy import ndimage

STAINS = np.array([[0.60, 0.68, 0.42], [0.28, 0.92, 0.26]])
"""Optical density of haematoxylin and eosin in R, G, B; each slide's own are these, jittered."""
WHITE = 243
LEVELS = 5
DRAW_MPP = 0.5
OUTLINE_POINTS = 40
NUCLEI_AT_ONCE = 4096


def _noise(numbers: np.random.Generator, side: int, sigma: float) -> np.ndarray:
    """Smooth noise float32 (side, side) of mean 0 and spread 1, drawn coarse and enlarged so that it is cheap."""
    coarse = max(1, int(sigma // 2))
    small = -(-side // coarse)
    field = numbers.standard_normal((small, small), dtype=np.float32)
    field = ndimage.gaussian_filter(field, sigma / coarse, mode="wrap")
    field = ndimage.zoom(field, coarse, order=1)[:side, :side]
    return (field - field.mean()) / field.std()


def _fibres(numbers: np.random.Generator, side: int, direction: float) -> np.ndarray:
    """Wavy fibres along `direction` (radians) as float32 (side, side) of spread 1, made at half the resolution."""
    half = -(-side // 2)
    pattern = numbers.standard_normal((512, 512), dtype=np.float32)
    pattern = ndimage.gaussian_filter(pattern, (0.9, 7), mode="wrap")
    y, x = np.mgrid[0:half, 0:half].astype(np.float32)
    across = y * np.cos(direction) - x * np.sin(direction) + 14 * _noise(numbers, half, 60)
    along = x * np.cos(direction) + y * np.sin(direction)
    field = ndimage.map_coordinates(pattern / pattern.std(), [across, along], order=1, mode="grid-wrap")
    return ndimage.zoom(field, 2, order=1)[:side, :side]


def _paint_nuclei(
    canvas: np.ndarray, centres: np.ndarray, axes: np.ndarray, angles: np.ndarray, amounts: np.ndarray
) -> None:
    """Raise `canvas` to soft ellipses: `centres` (N, 2) x, y, half `axes` (N, 2), `angles` and `amounts` (N,).

    A nucleus is darker at its rim than in its middle, so that crowded ones stay apart to the eye.
    """
    side = canvas.shape[0]
    reach = int(np.ceil(axes.max(initial=1))) + 2
    dy, dx = (grid.ravel() for grid in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    flat = canvas.reshape(-1)
    for start in range(0, len(centres), NUCLEI_AT_ONCE):
        part = slice(start, start + NUCLEI_AT_ONCE)
        corner = np.floor(centres[part]).astype(np.int64)
        column, row = corner[:, :1] + dx, corner[:, 1:] + dy
        x, y = column - centres[part, :1], row - centres[part, 1:]
        cosine, sine = np.cos(angles[part, None]), np.sin(angles[part, None])
        u, v = x * cosine + y * sine, y * cosine - x * sine
        radius = np.hypot(u / axes[part, :1], v / axes[part, 1:])
        edge = (axes[part].mean(1, keepdims=True) * (1 - radius) + 0.5).clip(0, 1)
        value = amounts[part, None] * edge * (0.72 + 0.28 * radius**2)
        seen = (edge > 0) & (column >= 0) & (column < side) & (row >= 0) & (row < side)
        np.maximum.at(flat, (row * side + column)[seen], value[seen].astype(canvas.dtype))


def _outline(numbers: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """An irregular closed outline (OUTLINE_POINTS, 2) x, y around `centre`."""
    angle = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    distance = np.full(OUTLINE_POINTS, radius)
    for wave in (2, 3, 5, 8):
        swing = numbers.uniform(0.02, 0.06) * np.cos(wave * angle + numbers.uniform(0, 2 * np.pi))
        distance += radius * swing
    return centre + distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def _inside(outline: np.ndarray, side: int) -> np.ndarray:
    """Bool (side, side): the pixels inside a polygon."""
    canvas = Image.new("1", (side, side))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.asarray(canvas, dtype=bool)


def _tissue(numbers: np.random.Generator, side: int) -> np.ndarray:
    """Bool (side, side): one irregular piece of tissue that keeps clear of the slide's edges."""
    y, x = (np.mgrid[0:side, 0:side].astype(np.float32) + 0.5) / side - 0.5
    middle = numbers.uniform(-0.015, 0.015, 2).astype(np.float32)
    distance = np.hypot((x - middle[0]) * np.float32(numbers.uniform(0.97, 1.08)), y - middle[1])
    return (0.395 - distance) * 20 + _noise(numbers, side, side / 22).clip(-2.2, 1.3) > 0


def _gland_places(numbers: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 2) x, y and radii (N,) of glands that do not overlap."""
    tries = int(side * side / numbers.uniform(14_000, 30_000))
    candidates = np.column_stack([numbers.uniform(0, side, (tries, 2)), numbers.uniform(24, 44, tries)])
    kept: list[np.ndarray] = []
    for place in candidates:
        others = np.array(kept).reshape(-1, 3)
        gaps = np.hypot(*(others[:, :2] - place[:2]).T) - others[:, 2] - place[2]
        if (gaps > 14).all():
            kept.append(place)
    glands = np.array(kept).reshape(-1, 3)
    return glands[:, :2], glands[:, 2]


def _paint_glands(
    numbers: np.random.Generator, haematoxylin: np.ndarray, eosin: np.ndarray, region: np.ndarray | None
) -> None:
    """Rings of nuclei around a pale lumen; none whose middle or ring touches `region`."""
    side = len(haematoxylin)
    centres, radii = _gland_places(numbers, side)
    if region is not None:
        near = ndimage.binary_dilation(region[::8, ::8], iterations=7)
        column, row = (centres // 8).astype(int).T
        keep = ~near[row, column]
        centres, radii = centres[keep], radii[keep]
    lumen = np.zeros_like(haematoxylin)
    shape = np.column_stack([radii, radii * numbers.uniform(0.75, 1, len(radii))])
    angles = numbers.uniform(0, np.pi, len(radii))
    cells = np.zeros_like(haematoxylin)
    _paint_nuclei(cells, centres, shape + 7, angles, np.ones(len(radii)))
    _paint_nuclei(lumen, centres, shape * 0.55, angles, np.full(len(radii), 1.4))
    eosin[:] = np.where(cells > 0, 0.42, eosin) * (1 - lumen.clip(0, 1))
    haematoxylin[:] = np.where(cells > 0, 0.1, haematoxylin) * (1 - lumen.clip(0, 1))
    for centre, axes, angle in zip(centres, shape, angles, strict=True):
        turn = np.arange(0, 2 * np.pi, 10 / axes.mean()) + numbers.uniform(0, 1)
        spread = 1 + numbers.normal(0, 0.03, (len(turn), 1))
        u, v = (axes * spread * np.column_stack([np.cos(turn), np.sin(turn)])).T
        x, y = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
        size = np.column_stack([numbers.uniform(4.6, 6, len(turn)), numbers.uniform(3.2, 4, len(turn))])
        outward = np.arctan2(y, x)
        _paint_nuclei(
            haematoxylin, centre + np.column_stack([x, y]), size, outward, numbers.uniform(0.75, 1, len(turn))
        )


def _paint_stroma_nuclei(
    numbers: np.random.Generator,
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    region: np.ndarray | None,
    along: float,
) -> None:
    """Spindles along the fibres and small round nuclei, nowhere in lumens and few in `region`."""
    side = len(haematoxylin)
    count = int(side * side / numbers.uniform(420, 680))
    centres = numbers.uniform(0, side, (count, 2))
    column, row = centres.astype(int).T
    free = eosin[row, column] > 0.2
    if region is not None:
        free &= ~region[row, column] | (numbers.random(count) < 0.35)
    spindle = numbers.random(count) < numbers.uniform(0.45, 0.75)
    size = np.where(spindle[:, None], [5.2, 1.9], [3.0, 2.8]) * numbers.uniform(0.85, 1.2, (count, 1))
    angles = along + numbers.normal(0, 0.3, count)
    amounts = numbers.uniform(0.65, 0.95, count)
    _paint_nuclei(haematoxylin, centres[free], size[free], angles[free], amounts[free])


def _paint_tumour(
    numbers: np.random.Generator, haematoxylin: np.ndarray, region: np.ndarray, grade: float
) -> None:
    """Crowded nuclei of different sizes and shapes inside `region`, more so the higher the `grade` in [0, 1]."""
    side = len(haematoxylin)
    count = int(side * side / (500 - 120 * grade))
    centres = numbers.uniform(0, side, (count, 2))
    column, row = centres.astype(int).T
    centres = centres[region[row, column]]
    count = len(centres)
    large = numbers.lognormal(np.log(4.4 + 1.6 * grade), 0.2 + 0.15 * grade, count).clip(2.8, 11)
    size = np.column_stack([large, large * numbers.uniform(0.55, 1, count)])
    angles = numbers.uniform(0, np.pi, count)
    _paint_nuclei(haematoxylin, centres, size, angles, numbers.uniform(0.6, 1.05, count))


def _paint_lymphocytes(numbers: np.random.Generator, haematoxylin: np.ndarray, free: np.ndarray) -> None:
    """A few crowds of small round nuclei where `free`: normal tissue has them, so that crowding alone says nothing."""
    side = len(haematoxylin)
    for _ in range(numbers.integers(2, 6)):
        middle, spread = numbers.uniform(0.2, 0.8, 2) * side, numbers.uniform(35, 80)
        centres = numbers.normal(middle, spread, (int(spread**2 / 9), 2)).clip(0, side - 1)
        column, row = centres.astype(int).T
        centres = centres[free[row, column]]
        size = np.column_stack([numbers.uniform(2.6, 3.3, len(centres))] * 2)
        amounts = numbers.uniform(0.7, 1.0, len(centres))
        _paint_nuclei(haematoxylin, centres, size, np.zeros(len(centres)), amounts)


def draw_slide(
    numbers: np.random.Generator, side: int, abnormal: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB uint8 (side, side, 3) at DRAW_MPP, and the outline (N, 2) x, y of the planted region or None.

    Colours follow Beer-Lambert: WHITE * exp(-(amounts of two stains) @ (the slide's own stain matrix)).
    """
    tissue = _tissue(numbers, side)
    direction = numbers.uniform(0, np.pi)
    fibres = _fibres(numbers, side, direction)
    eosin = (0.55 + 0.11 * fibres + 0.08 * _noise(numbers, side, side / 60)).clip(0.25)
    haematoxylin = np.full((side, side), 0.04, dtype=np.float32)
    outline = region = None
    if abnormal:
        middle = side / 2 + numbers.uniform(-0.07, 0.07, 2) * side
        outline = _outline(numbers, middle, side * numbers.uniform(0.17, 0.195))
        region = _inside(outline, side)
        tissue |= _inside(middle + 1.1 * (outline - middle), side)
    _paint_glands(numbers, haematoxylin, eosin, region)
    _paint_stroma_nuclei(numbers, haematoxylin, eosin, region, direction)
    free = eosin > 0.2
    _paint_lymphocytes(numbers, haematoxylin, free if region is None else free & ~region)
    if region is not None:
        _paint_tumour(numbers, haematoxylin, region, float(numbers.uniform(0.2, 1)))
        # as much of each as elsewhere: only structure tells, not mean colour
        for stain in (haematoxylin, eosin):
            stain[region] *= stain[tissue & ~region].mean() / stain[region].mean()
    haematoxylin *= 1 + 0.1 * _noise(numbers, side, 2)
    matrix = (STAINS + numbers.normal(0, 0.04, STAINS.shape)).clip(0.02)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix *= (numbers.uniform(0.8, 1.25, 2) * [1.15, 0.75])[:, None]
    speckle = numbers.standard_normal((side, side), dtype=np.float32) * np.float32(1.5)
    picture = np.empty((side, side, 3), dtype=np.uint8)
    for channel in range(3):
        of_blue, of_pink = (np.float32(value) for value in matrix[:, channel])
        density = np.where(tissue, of_blue * haematoxylin + of_pink * eosin, 0)
        picture[..., channel] = (WHITE * np.exp(-density) + speckle).clip(0, 255)
    return picture, outline


def write_pyramid(path: Path, level0: Image.Image, mpp: float) -> None:
    """A tiled JPEG TIFF of LEVELS levels, each half the one before, that OpenSlide reads as a generic slide.

    `mpp` is microns per pixel of `level0` (RGB); it goes into the resolution tags, in pixels per centimetre.
    """
    with tifffile.TiffWriter(path) as file:
        picture = level0
        for level in range(LEVELS):
            size = mpp * 2**level
            file.write(
                np.asarray(picture.convert("YCbCr")),  # tifffile takes the values as they are
                tile=(256, 256), photometric="ycbcr", subsampling=(2, 2), compression="jpeg",
                compressionargs={"level": 88}, subfiletype=int(level > 0), metadata=None, software="esad synthetic",
                resolution=(1e4 / size, 1e4 / size), resolutionunit="CENTIMETER", maxworkers=1,
            )  # fmt: skip
            picture = picture.reduce(2)


def write_outline(path: Path, outline: np.ndarray) -> None:
    """An ASAP XML file with one outline (N, 2) x, y of group Tumor, level-0 pixels."""
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
    folder: Path,
    slides: int = 6,
    abnormal: int = 3,
    size: int = 6144,
    mpp: float = 0.25,
    seed: int = 0,
    annotations: Path | None = None,
    advance: Callable[[], None] | None = None,
) -> None:
    """Write `slides` slides of `size` level-0 pixels at `mpp`, `abnormal` of them with a planted region.

    normal_001.tif, …, tumor_001.tif, … and, in `annotations` (default: `folder`/annotations), tumor_001.xml, ….
    `advance` is called after each slide. The same arguments give the same bytes, and a slide does not depend on
    how many others there are. Raises ValueError where more are to be abnormal than there are.
    """
    if not 0 <= abnormal <= slides:
        raise ValueError(f"{abnormal} abnormal slides of {slides}")
    annotations = annotations or folder / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(parents=True, exist_ok=True)
    side = max(64, round(size * mpp / DRAW_MPP))
    for number in range(slides):
        planted = number >= slides - abnormal
        place = number - (slides - abnormal) if planted else number
        stem = f"{'tumor' if planted else 'normal'}_{place + 1:03d}"
        picture, outline = draw_slide(np.random.default_rng([seed, int(planted), place]), side, planted)
        level0 = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
        write_pyramid(folder / f"{stem}.tif", level0, mpp)
        if outline is not None:
            write_outline(annotations / f"{stem}.xml", outline * (size / side))
        if advance is not None:
            advance()
