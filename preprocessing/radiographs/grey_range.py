"""Which values of a radiograph without a window become black and white. Pure.

The least and the greatest value that occur, since files with 12 real bits that state 16 are common; but some dead pixels
or a lead marker must not squeeze the patient into a tenth of the grey levels. So values far beyond the bulk are cut:

    bulk    0.5 to 99.5 % of the centre (0.8 of either side), in which collimated borders hardly lie, without plateaus:
            what lies within a hundredth of the whole range from its ends and covers at most 3 % of the centre (a
            marker, saturated pixels)
    range   all values within half the bulk's width of it; and what follows on without a gap of a quarter of its width,
            as a true structure does, if the bulk then still has a third of the grey levels

A ramp keeps its ends (0.5 to 99.5 % of its central 0.8 and half as much again reach beyond them), and so does every
picture without such values. A picture whose bulk is a single value keeps its ends, too.
"""

from __future__ import annotations

import numpy as np

CENTRAL = 0.8
"""Sides of the centre, as a share of the picture's."""
TAIL = 0.005
"""Share of the centre's pixels on either side of the bulk."""
PLATEAU_RANGE, PLATEAU_SHARE = 0.01, 0.03
"""How near to the end a plateau's values lie, and how much of the centre it covers at most."""
REACH = 0.5
"""How far beyond the bulk values count in any case, in its widths."""
GAP = 0.25
"""Widest gap to the next value that counts, in widths of the bulk."""
LEAST_SHARE = 1 / 3
"""Share of the grey levels that the bulk then has at least."""


def centre_of(pixels: np.ndarray) -> np.ndarray:
    """The part of `pixels` (H, W) that is looked at, a view."""
    down, across = (round(side * (1 - CENTRAL) / 2) for side in pixels.shape)
    return pixels[down : pixels.shape[0] - down, across : pixels.shape[1] - across]


def grey_range(values: np.ndarray, occurs: np.ndarray, central: np.ndarray) -> tuple[float, float, bool]:
    """(black, white, whether values lie beyond them) of `values` (N,).

    `occurs` bool (N,): where the picture has the value; `central` int (N,): how often its centre has. Both
    without padding.
    """
    seen = values[occurs]
    if not seen.size:
        return 0.0, 0.0, False
    least, greatest = float(seen.min()), float(seen.max())
    bulk = _bulk(values[central > 0], central[central > 0], least, greatest)
    if bulk is None:
        return least, greatest, False
    levels, width = np.unique(seen), bulk[1] - bulk[0]
    roomy = width >= LEAST_SHARE * (greatest - least)
    high = _end(levels, bulk[1], width, roomy)
    low = -_end(-levels[::-1], -bulk[0], width, roomy)
    return low, high, low > least or high < greatest


def _end(levels: np.ndarray, edge: float, width: float, roomy: bool) -> float:
    """The greatest of `levels` (N,), ascending, that counts above the bulk's upper `edge`; if `roomy`, across small gaps."""
    counted = int(np.searchsorted(levels, edge + REACH * width, side="right"))
    if roomy:
        gaps = np.flatnonzero(np.diff(levels[counted - 1 :]) > GAP * width)
        counted += int(gaps[0]) if gaps.size else len(levels) - counted
    return float(levels[counted - 1])


def _bulk(
    values: np.ndarray, counts: np.ndarray, least: float, greatest: float
) -> tuple[float, float] | None:
    """Between which values the bulk lies; None where it is one value, or there is nothing to look at."""
    near = PLATEAU_RANGE * (greatest - least)
    for at_end in (values <= least + near, values >= greatest - near):
        if counts[at_end].sum() <= PLATEAU_SHARE * counts.sum():
            counts = np.where(at_end, 0, counts)
    order = np.argsort(values, kind="stable")
    values, share = values[order], np.cumsum(counts[order]) / max(int(counts.sum()), 1)
    if not len(values):
        return None
    low = float(values[np.searchsorted(share, TAIL, side="right").clip(0, len(values) - 1)])
    high = float(values[np.searchsorted(share, 1 - TAIL, side="left").clip(0, len(values) - 1)])
    return (low, high) if high > low else None
