"""Thumbnails drawn by Beer-Lambert with the truth beside them: a slide's tissue and what else lies on real slides."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.10, 0.95, 0.45])
INKS = {
    "blue": (1.6, 1.2, 0.3), "green": (1.7, 0.6, 1.1), "black": (2.2, 2.2, 2.2), "red": (0.15, 1.5, 1.45)
}  # fmt: skip
"""Optical densities of felt pens in R, G, B."""
SIZE = (300, 400)


def smooth(numbers, size, sigma):
    """Noise (h, w) of mean 0 and spread 1."""
    field = ndimage.gaussian_filter(numbers.standard_normal(size, dtype=np.float32), sigma)
    return (field - field.mean()) / field.std()


def piece(seed=0, size=SIZE, share=0.25):
    """Bool (h, w): one irregular piece of tissue over `share` of the thumbnail, in its middle."""
    y, x = np.mgrid[-0.5 : 0.5 : size[0] * 1j, -0.5 : 0.5 : size[1] * 1j]
    distance = np.hypot(x, y * size[0] / size[1]) - 0.02 * smooth(np.random.default_rng(seed), size, 12)
    return distance <= np.quantile(distance, share)


def stained(mask, seed=0, haematoxylin=0.35, eosin=0.45):
    """Optical density (h, w, 3) of tissue where `mask`: the mean amounts of its two stains, with structure."""
    numbers, density = np.random.default_rng(seed), np.zeros((*mask.shape, 3))
    for mean, stain in ((haematoxylin, HAEMATOXYLIN), (eosin, EOSIN)):
        structure = 1 + 0.25 * smooth(numbers, mask.shape, 1) + 0.2 * smooth(numbers, mask.shape, 8)
        density += (mask * mean * structure.clip(0.3, 2))[..., None] * stain
    return density


def lines(*points, width=14, size=SIZE):
    """Bool (h, w): thick lines, each through a list of (x, y)."""
    canvas = Image.new("1", size[::-1])
    for line in points:
        ImageDraw.Draw(canvas).line(line, fill=1, width=width, joint="curve")
    return np.asarray(canvas)


def pen_marks(size=SIZE):
    """Bool (h, w): two strokes that begin on the glass and cross the tissue in the middle."""
    return lines([(20, 40), (150, 100), (380, 60)], [(210, 10), (220, 290)], size=size)


def bubble_and_edges(size=SIZE):
    """Density (h, w, 3): the dark rim of an air bubble, and two thin edges of a cover slip."""
    y, x = np.mgrid[: size[0], : size[1]]
    rim = 1.5 * np.exp(-(((np.hypot(x - 330, y - 70) - 35) / 3) ** 2))
    edges = lines([(0, 260), (399, 275)], [(40, 0), (34, 299)], width=2, size=size)
    return rim[..., None] * np.array([1, 1.05, 1.1]) + edges[..., None] * np.array([0.5, 0.45, 0.4])


def fat(seed=0, diameter=12, size=SIZE):
    """(density (h, w, 3), bool (h, w)): a network of thin walls round empty cells, and the area that it covers."""
    numbers, area = np.random.default_rng(seed), piece(seed, size, 0.3)
    centres = np.argwhere(numbers.random(size) < 1.3 / diameter**2)
    places = np.indices(size).reshape(2, -1).T
    nearest, next_nearest = cKDTree(centres).query(places, 2)[0].T
    walls = ((next_nearest - nearest).reshape(size) < 1.5) & area
    return walls[..., None] * 0.35 * EOSIN, area


def photograph(density, glass=(243, 243, 243), shade=0.0, noise=1.5, quality=None):
    """uint8 (h, w, 3): light through `density` before `glass`, darker by up to `shade` in the corners, with noise.

    `quality` passes it through JPEG.
    """
    height, width = density.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - shade * (x**2 + y**2)[..., None] / 2
    picture = np.array(glass) * light * np.exp(-density)
    picture += np.random.default_rng(0).normal(0, noise, picture.shape)
    picture = picture.round().clip(0, 255).astype(np.uint8)
    if quality is None:
        return picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
