"""What CLAM and TRIDENT write beside the coordinates of tiles, as facts of the slide in level-0 pixels.

TRIDENT (https://github.com/mahmoodlab/TRIDENT): patch_size_level0, patch_size, overlap, level0_width, level0_height,
level0_magnification, target_magnification. CLAM (https://github.com/mahmoodlab/CLAM): patch_size, patch_level, downsample, level_dim; its
files of features repeat none of them. Names and folders stand there, too, and are left where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

UM_PER_PIXEL_AT_1 = 10.0
"""A magnification of 10 means 1 um a pixel."""
FACTS = ("side", "step", "width", "height", "slide_mpp", "mpp")


def facts_of(attributes: Mapping[str, Any]) -> dict[str, float]:
    """FACTS that the attributes of coordinates state, each a positive number: side and step of tiles, width and height of the
    slide in level-0 pixels, um of a level-0 pixel and of a tile's pixel. What is not stated is left out.
    """
    one = {name: _numbers(value) for name, value in attributes.items()}

    def first(name: str) -> float | None:
        return one[name][0] if one.get(name) else None

    size, overlap = first("patch_size"), (one.get("overlap") or [0.0])[0]
    downsample = one.get("downsample") if first("patch_level") is not None or "downsample" in one else None
    side = first("patch_size_level0")
    if side is None and size is not None:
        if downsample:
            side = size * downsample[0]
        elif first("patch_level") == 0 or _at_level_0(attributes):
            side = size
    found: dict[str, float | None] = {"side": side}
    if side and size and 0 < overlap < size:
        found["step"] = side * (size - overlap) / size
    found |= {"width": first("level0_width"), "height": first("level0_height")}
    dims = one.get("level_dim")
    if dims and len(dims) == 2 and downsample:
        scales = downsample * 2 if len(downsample) == 1 else downsample
        found["width"] = found["width"] or round(dims[0] * scales[0])
        found["height"] = found["height"] or round(dims[1] * scales[1])
    for name, power in (("slide_mpp", "level0_magnification"), ("mpp", "target_magnification")):
        value = first(power)
        found[name] = UM_PER_PIXEL_AT_1 / value if value else None
    return {name: float(value) for name, value in found.items() if value}


def _at_level_0(attributes: Mapping[str, Any]) -> bool:
    """Whether level 0 is said in CLAM's way, where 0 is no positive number."""
    value = attributes.get("patch_level")
    return value is not None and np.size(value) == 1 and not _numbers(value) and _is_zero(value)


def _is_zero(value: Any) -> bool:
    try:
        return float(np.asarray(value).reshape(-1)[0]) == 0
    except (TypeError, ValueError):
        return False


def _numbers(value: Any) -> list[float]:
    """The positive finite numbers of an attribute; none where it holds another one, a text, or more than two."""
    try:
        numbers = np.asarray(value).reshape(-1).astype(float)
    except (TypeError, ValueError):
        return []
    fit = 0 < len(numbers) <= 2 and np.isfinite(numbers).all() and (numbers > 0).all()
    return numbers.tolist() if fit else []
