"""Where tissue is on a thumbnail. Pure."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

DARK = 30
"""Below this mean grey level a pixel is a black border or a scanner's gap, not tissue."""
LEAST_CONTRAST = 12.0
"""Grey levels between tissue and background under which a slide counts as blank."""


def tissue_mask(thumbnail: np.ndarray) -> np.ndarray:
    """Bool (h, w) from an RGB thumbnail uint8 (h, w, 3): pixels that absorb more than the glass.

    The measure is the largest absorption of the three channels, 255 - min(R, G, B): pale eosin counts, grey dust
    less. Otsu's threshold splits it, never above what leaves pale tissue out (a quarter of the span); black pixels
    are no tissue; specks and holes under 3 x 3 pixels are removed. A blank thumbnail gives no tissue.
    """
    absorption = 255.0 - thumbnail.min(-1)
    valid = thumbnail.mean(-1) > DARK
    if valid.sum() < 16:
        return np.zeros(valid.shape, dtype=bool)
    values = absorption[valid]
    if np.percentile(values, 99.9) - np.percentile(values, 0.5) < LEAST_CONTRAST:
        uniform = np.median(values) > 60  # coloured all over: tissue without background
        return valid & uniform
    glass = float(np.percentile(values, 1))
    threshold = min(
        float(threshold_otsu(values)), glass + 0.25 * (float(values.max()) - glass) + LEAST_CONTRAST
    )
    mask = valid & (absorption > threshold)
    padded = np.pad(mask, 2, mode="edge")
    return (
        ndimage.binary_closing(ndimage.binary_opening(padded, np.ones((3, 3))), np.ones((3, 3)))[2:-2, 2:-2]
        & valid
    )


def box_fractions(mask: np.ndarray, boxes: np.ndarray, downsample: float) -> np.ndarray:
    """Share of `mask` inside each box, float (N,); boxes (N, 4) x, y, width, height in level-0 pixels.

    `downsample` are level-0 pixels a mask pixel; a box smaller than a mask pixel takes that pixel.
    """
    integral = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    left, top = (np.floor(boxes[:, axis] / downsample).astype(int) for axis in (0, 1))
    right = np.maximum(np.ceil((boxes[:, 0] + boxes[:, 2]) / downsample).astype(int), left + 1)
    bottom = np.maximum(np.ceil((boxes[:, 1] + boxes[:, 3]) / downsample).astype(int), top + 1)
    height, width = mask.shape
    left, right = left.clip(0, width - 1), right.clip(1, width)
    top, bottom = top.clip(0, height - 1), bottom.clip(1, height)
    sums = integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]
    return sums / ((right - left) * (bottom - top))
