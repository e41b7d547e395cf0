"""Thumbnails drawn by Beer-Lambert with the truth beside them: a slide's tissue and what else lies on real slides."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.10, 0.95, 0.45])
INKS = {
    "blue": (1.6, 1.2, 0.3), "green": (1.7, 0.6, 1.1), "black": (2.2, 2.2, 2.2), "red": (0.15, 1.5, 1.45)
}  # fmt: skip
"""Optical densities of felt pens in R, G, B."""
SIZE = (384, 512)


def smooth(numbers, size, sigma):
    """Noise (h, w) of mean 0 and spread 1."""
    field = ndimage.gaussian_filter(numbers.standard_normal(size), sigma)
    return (field - field.mean()) / field.std()


def piece(seed=0, size=SIZE, share=0.25):
    """Bool (h, w): one irregular piece of tissue over about `share` of the thumbnail, in its middle."""
    y, x = (np.mgrid[: size[0], : size[1]].T / np.array(size) - 0.5).T
    distance = np.hypot(x, y * size[0] / size[1]) - 0.02 * smooth(np.random.default_rng(seed), size, 12)
    return distance <= np.quantile(distance, share)


def stained(mask, seed=0, haematoxylin=0.35, eosin=0.45):
    """Optical density (h, w, 3) of tissue where `mask`: the mean amounts of its two stains, with structure."""
    numbers, size = np.random.default_rng(seed), mask.shape
    amounts = [
        mean * (1 + 0.25 * smooth(numbers, size, 1) + 0.2 * smooth(numbers, size, 8)).clip(0.3, 2)
        for mean in (haematoxylin, eosin)
    ]
    return mask[..., None] * (amounts[0][..., None] * HAEMATOXYLIN + amounts[1][..., None] * EOSIN)


def strokes(size, *lines, width=14):
    """Bool (h, w): thick lines, each a list of (x, y)."""
    canvas = Image.new("1", size[::-1])
    for line in lines:
        ImageDraw.Draw(canvas).line(line, fill=1, width=width, joint="curve")
    return np.asarray(canvas)


def fat(size=SIZE, seed=0, diameter=12, share=0.3):
    """(density (h, w, 3), bool (h, w)): a network of thin walls round empty cells, and the area that it covers."""
    numbers, area = np.random.default_rng(seed), piece(seed, size, share)
    centres = np.argwhere(numbers.random(size) < 1.3 / diameter**2)
    y, x = np.mgrid[: size[0], : size[1]]
    from scipy.spatial import cKDTree

    near = cKDTree(centres).query(np.column_stack([y.ravel(), x.ravel()]), 2)[0]
    walls = ((near[:, 1] - near[:, 0]).reshape(size) < 1.5) & area
    return walls[..., None] * 0.35 * EOSIN, area


def photograph(density, glass=(243, 243, 243), shade=0.0, noise=1.5, seed=0, quality=None):
    """uint8 (h, w, 3): light through `density` before `glass`, darker by up to `shade` in the corners, with noise.

    `quality` passes it through JPEG.
    """
    height, width = density.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - shade * (x**2 + y**2)[..., None] / 2
    picture = np.array(glass) * light * np.exp(-density)
    picture += np.random.default_rng(seed).normal(0, noise, picture.shape)
    picture = picture.round().clip(0, 255).astype(np.uint8)
    if quality is None:
        return picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
