"""Pictures of where a model looks: heat strips of items, heat maps of slides. One colour scale a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PANEL = 256
GAP = 8
HEAT_SIGMA = 2.0


def smooth(error: np.ndarray) -> np.ndarray:
    """Gaussian-smoothed error map (H, W), sigma HEAT_SIGMA pixels: single noisy pixels do not make a peak."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(error, HEAT_SIGMA, mode="nearest")


def hot_point(error: np.ndarray) -> tuple[float, float]:
    """(x, y) in pixels of the peak of the smoothed error map (H, W)."""
    row, column = np.unravel_index(int(smooth(error).argmax()), error.shape)
    return float(column), float(row)


def heat_colours(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """uint8 (H, W, 3) colours (inferno) of `values` clipped to `scale` = (low, high)."""
    from matplotlib import colormaps

    low, high = scale
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return (colormaps["inferno"](share)[..., :3] * 255).round().astype(np.uint8)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    factor = max(1, PANEL // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


def _rgb(picture: np.ndarray) -> np.ndarray:
    return picture if picture.shape[-1] == 3 else picture[..., :1].repeat(3, -1)


def heat_strip(
    image: np.ndarray, reconstruction: np.ndarray, error: np.ndarray, scale: tuple[float, float]
) -> np.ndarray:
    """Input, reconstruction and heat side by side: uint8 (h, 3w + gaps, 3).

    `image` uint8 (H, W, C), `reconstruction` float (H, W, C) in [0, 1], `error` (H, W) squared; `scale` is shared
    by the whole run and never stretched to one image. The heat is laid over the grey image, half and half.
    """
    output = (np.clip(_rgb(reconstruction), 0, 1) * 255).round().astype(np.uint8)
    grey = _rgb(image).mean(-1, keepdims=True).repeat(3, -1)
    heat = (0.5 * grey + 0.5 * heat_colours(smooth(error), scale)).round().astype(np.uint8)
    panels = [_enlarged(picture) for picture in (_rgb(image), output, heat)]
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def write_strip(
    path: Path, image: np.ndarray, reconstruction: np.ndarray, error: np.ndarray, scale: tuple[float, float]
) -> None:
    """Write `heat_strip` as PNG, atomically."""
    from PIL import Image

    from preprocessing.store import write_atomically

    write_atomically(path, Image.fromarray(heat_strip(image, reconstruction, error, scale)).save)


def slide_heat_map(
    thumbnail: np.ndarray, boxes: np.ndarray, percentile: np.ndarray, downsample: float
) -> np.ndarray:
    """The thumbnail (h, w, 3) with each tile tinted by its score's percentile among normals, and a colour bar.

    `boxes` (N, 4) x, y, width, height in level-0 pixels; `percentile` (N,) in [0, 1]: 0.5 is an ordinary tile, 1 is
    above every reference normal; `downsample` level-0 pixels a thumbnail pixel. Overlapping tiles show the highest.
    """
    heat = np.full(thumbnail.shape[:2], -1.0)
    corners = np.round(np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]) / downsample).astype(int)
    for (left, top, right, bottom), value in zip(corners, percentile, strict=True):
        area = heat[top : max(bottom, top + 1), left : max(right, left + 1)]
        np.maximum(area, value, out=area)
    colours = heat_colours(heat, (0.5, 1.0)).astype(float)
    painted = np.where(heat[..., None] >= 0, 0.45 * thumbnail + 0.55 * colours, thumbnail)
    bar_width = max(12, thumbnail.shape[1] // 40)
    ramp = np.linspace(1.0, 0.5, thumbnail.shape[0])[:, None].repeat(bar_width, 1)
    gap = np.full((thumbnail.shape[0], GAP, 3), 255.0)
    return np.concatenate([painted, gap, heat_colours(ramp, (0.5, 1.0))], axis=1).round().astype(np.uint8)
