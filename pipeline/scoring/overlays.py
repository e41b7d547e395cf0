"""Pictures of where a model looks: heat strips of items, heat maps of slides. One colour scale a run."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

PANEL = 256
GAP = 8
FOOT = 44
"""Pixels of what stands under the panels: their names, and the colours of the heat."""
HEAT_SIGMA = 2.0
ORDINARY_COLOURS, HEADROOM = 0.6, 30.0
"""Share of an overlay's colours for what normal items reach, and how many times that the last colour is."""
FIRST_COLOUR = 0.25
"""Share of the colours that heat begins with, so that its edge is seen; below, nothing is painted."""
OUTLINE = (0, 200, 120)


def smooth(maps: np.ndarray) -> np.ndarray:
    """Gaussian-smoothed maps (..., H, W), sigma HEAT_SIGMA pixels: single noisy pixels do not make a peak."""
    from scipy.ndimage import gaussian_filter

    sigmas = (*[0.0] * (maps.ndim - 2), HEAT_SIGMA, HEAT_SIGMA)
    return gaussian_filter(maps, sigmas, mode="nearest")


def hot_point(heat: np.ndarray) -> tuple[float, float]:
    """(x, y) in pixels of the peak of a map (H, W)."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return float(column), float(row)


def heat_colours(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """uint8 (H, W, 3) colours (inferno) of `values` clipped to `scale` = (low, high)."""
    from matplotlib import colormaps

    low, high = scale
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return (colormaps["inferno"](share)[..., :3] * 255).round().astype(np.uint8)


def with_headroom(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Values as shares of a panel's colours: linear within `scale` to ORDINARY_COLOURS, then by decades to 1.

    So what lies far above all normal items still shows where it is highest: 1 is HEADROOM times the end of the scale.
    """
    low, high = scale
    share = (values - low) / max(high - low, 1e-12)
    beyond = np.log10(np.maximum(share, 1)) / math.log10(HEADROOM)
    return np.where(share <= 1, ORDINARY_COLOURS * share, ORDINARY_COLOURS + (1 - ORDINARY_COLOURS) * beyond)


def heat_share(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Values as shares of a heat's colours, NaN where nothing is painted: at most at the lower end of `scale`.

    From FIRST_COLOUR there to ORDINARY_COLOURS at its upper end, then by decades to 1 at HEADROOM times that distance.
    """
    share = with_headroom(values, scale)
    ordinary = FIRST_COLOUR + (1 - FIRST_COLOUR / ORDINARY_COLOURS) * share
    coloured = np.where(share <= ORDINARY_COLOURS, ordinary, share).clip(0, 1)
    return np.where(values > scale[0], coloured, np.nan)


def painted(picture: np.ndarray, share: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """`picture` (H, W, 3) with the colours of `share` (H, W) laid over it where that is no NaN: uint8 (H, W, 3)."""
    colours = heat_colours(np.nan_to_num(share), (0, 1)).astype(float)
    mixed = (1 - strength) * picture + strength * colours
    return np.where(np.isnan(share)[..., None], picture, mixed).round().astype(np.uint8)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    factor = max(1, PANEL // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


def _rgb(picture: np.ndarray) -> np.ndarray:
    return picture if picture.shape[-1] == 3 else picture[..., :1].repeat(3, -1)


@dataclass(frozen=True)
class Heat:
    """A smoothed map (H, W) and the (low, high) of the run's one colour scale for maps of its kind (`heat_share`)."""

    values: np.ndarray
    scale: tuple[float, float]
    title: str = ""


def heat_strip(image: np.ndarray, reconstruction: np.ndarray | None, heats: Sequence[Heat]) -> np.ndarray:
    """Input, reconstruction (if any) and each heat map side by side: uint8 (h, (2 + n) w + gaps, 3).

    `image` uint8 (H, W, C), `reconstruction` float (H, W, C) in [0, 1]. A scale is shared by the whole run and never
    stretched to one image. Heat is laid over the grey image, which alone is seen where normal items reach as much.
    """
    grey = _rgb(image).mean(-1, keepdims=True).repeat(3, -1)
    panels = [_enlarged(_rgb(image))]
    if reconstruction is not None:
        output = (np.clip(_rgb(reconstruction), 0, 1) * 255).round().astype(np.uint8)
        panels.append(_enlarged(output))
    for heat in heats:
        panels.append(_enlarged(painted(grey, heat_share(heat.values, heat.scale))))
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (panel, gap)]
    return np.concatenate(parts[:-1], axis=1)


@lru_cache(8)
def strip_foot(width: int, titles: tuple[str, ...], heats: int) -> np.ndarray:
    """What stands under panels of `width` pixels: uint8 (FOOT, n * width + gaps, 3).

    Their titles, and under the last `heats` of them the colours: over black pixels above, over white ones below.
    """
    from PIL import Image, ImageDraw, ImageFont

    whole = len(titles) * (width + GAP) - GAP
    foot = Image.new("RGB", (whole, FOOT), "white")
    pen, font, small = ImageDraw.Draw(foot), ImageFont.load_default(13), ImageFont.load_default(11)
    shares = np.linspace(FIRST_COLOUR, 1, width)[None].repeat(5, 0)
    ramp = np.concatenate([painted(np.full((5, width, 3), grey), shares) for grey in (0, 255)])
    edge = (ORDINARY_COLOURS - FIRST_COLOUR) / (1 - FIRST_COLOUR)
    for number, title in enumerate(titles):
        left = number * (width + GAP)
        pen.text((left, 1), title, fill="black", font=font)
        if number < len(titles) - heats:
            continue
        foot.paste(Image.fromarray(ramp), (left, 19))
        pen.text((left, 31), "1 in 100", fill="black", font=small)
        pen.text(
            (left + edge * width, 31),
            "1 in 1,000 normal pixels",
            fill="black",
            font=small,
            anchor="ma",
        )
        pen.text((left + width, 31), f"x{HEADROOM:g}", fill="black", font=small, anchor="ra")
    return np.asarray(foot)


def write_strip(
    path: Path, image: np.ndarray, reconstruction: np.ndarray | None, heats: Sequence[Heat]
) -> None:
    """Write `heat_strip` with its `strip_foot` as PNG, atomically."""
    from PIL import Image

    from esad.preprocessing.store.store import write_atomically

    strip = heat_strip(image, reconstruction, heats)
    titles = (
        "input",
        *(() if reconstruction is None else ("reconstruction",)),
        *(heat.title for heat in heats),
    )
    width = (strip.shape[1] + GAP) // len(titles) - GAP
    whole = np.concatenate([strip, strip_foot(width, titles, len(heats))])
    write_atomically(path, Image.fromarray(whole).save)


class StripWriter:
    """Writes heat strips by threads, so that the next batch is computed meanwhile; a context manager.

    The files are those of `write_strip`. An error of a thread is raised by a later `write`, or as the block ends; at most
    WAITING strips wait in memory.
    """

    WAITING = 64
    THREADS = 2

    def __enter__(self) -> StripWriter:
        self._pool = ThreadPoolExecutor(self.THREADS, thread_name_prefix="overlay")
        self._open: deque[Future[None]] = deque()
        return self

    def write(
        self, path: Path, image: np.ndarray, reconstruction: np.ndarray | None, heats: Sequence[Heat]
    ) -> None:
        """`write_strip`, later; the arrays must not change meanwhile."""
        while self._open and (len(self._open) >= self.WAITING or self._open[0].done()):
            self._open.popleft().result()
        self._open.append(self._pool.submit(write_strip, path, image, reconstruction, heats))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for future in self._open if kind is None else ():
                future.result()
        finally:
            self._pool.shutdown(cancel_futures=True)


def rarity(p: np.ndarray) -> np.ndarray:
    """log10 of N where one normal item in N is at least as high as an item of p-value `p` in (0, 1]."""
    return -np.log10(np.asarray(p, dtype=float))


def slide_heat_map(
    thumbnail: np.ndarray,
    boxes: np.ndarray,
    p: np.ndarray,
    downsample: float,
    ends: tuple[float, float],
    outlines: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """The thumbnail with each tile above its threshold tinted by how rare its score is among normals, and a colour bar at the right.

    `thumbnail` uint8 (h, w, 3); `boxes` (N, 4) x, y, width, height in level-0 pixels; `p` (N,) p-values, NaN where a tile is not
    painted; `ends` the p-value at the threshold (of several, the highest) and the lowest that there can be; `downsample` level-0 pixels
    a thumbnail pixel; `outlines` polygons (M, 2) x, y in level-0 pixels, drawn as lines. Overlapping tiles show the highest value.
    Returns uint8 (h, w + GAP + bar + text, 3).
    """
    heat, (low, high) = np.full(thumbnail.shape[:2], -1.0), rarity(np.array(ends)).tolist()
    corners = np.round(np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]) / downsample).astype(int)
    alarms = np.flatnonzero(~np.isnan(p))
    for (left, top, right, bottom), value in zip(corners[alarms].clip(min=0), rarity(p[alarms]), strict=True):
        area = heat[top : max(bottom, top + 1), left : max(right, left + 1)]
        np.maximum(area, value, out=area)
    picture = painted(thumbnail, np.where(heat >= 0, _rarity_share(heat, (low, high)), np.nan))
    if outlines:
        picture = _with_outlines(picture, [np.asarray(outline) / downsample for outline in outlines])
    return np.concatenate([picture, _rarity_bar(len(thumbnail), thumbnail.shape[1], (low, high))], axis=1)


def _rarity_share(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Shares of the colours, from FIRST_COLOUR at the threshold to 1 at the rarest; all of them 1 where these are one."""
    low, high = scale
    if high - low < 1e-9:
        return np.ones_like(values)
    return FIRST_COLOUR + (1 - FIRST_COLOUR) * ((values - low) / (high - low)).clip(0, 1)


def _with_outlines(picture: np.ndarray, outlines: Sequence[np.ndarray]) -> np.ndarray:
    from PIL import Image, ImageDraw

    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    for outline in outlines:
        closed = [(float(x), float(y)) for x, y in [*outline, outline[0]]]
        pen.line(closed, fill=OUTLINE, width=max(2, max(picture.shape[:2]) // 400), joint="curve")
    return np.asarray(drawn)


def _rarity_bar(height: int, width: int, scale: tuple[float, float]) -> np.ndarray:
    """The legend, uint8 (height, ., 3): the colours of `scale` from bottom to top, ends and middle named."""
    from PIL import Image, ImageDraw, ImageFont

    low, high = scale
    thick, size = max(12, width // 40), max(11, width // 50)
    shares = _rarity_share(np.linspace(high, low, height)[:, None].repeat(thick, 1), scale)
    gap = np.full((height, GAP, 3), 255, np.uint8)
    text = Image.new("RGB", (9 * size, height), "white")
    pen, font = ImageDraw.Draw(text), ImageFont.load_default(size)
    top = f"1 in {10**high:.0f}\nnormal tiles\nis as high"
    pen.multiline_text((4, 1), top, fill="black", font=font, anchor="la")
    if high - low > 0.3:
        pen.text(
            (4, height // 2), f"1 in {10 ** ((low + high) / 2):.0f}", fill="black", font=font, anchor="lm"
        )
    pen.multiline_text(
        (4, height - 2),
        f"above its\nthreshold,\nfrom 1 in {10**low:.0f}",
        fill="black",
        font=font,
        anchor="ld",
    )
    return np.concatenate([gap, heat_colours(shares, (0, 1)), np.asarray(text)], axis=1)
