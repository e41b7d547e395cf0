"""Which values of a radiograph without a window become black and white. Pure.

The least and the greatest value that occur, since files with 12 real bits that state 16 are common; but some dead pixels
or a lead marker must not squeeze the patient into a tenth of the grey levels. So values far beyond the bulk are cut:

    bulk    0.5 to 99.5 % of the central square (0.8 of the shorter side), in which collimated borders hardly lie,
            without plateaus: what lies within a hundredth of the whole range from its ends and covers at most 3 %
            of the square (a marker, saturated pixels)
    range   all values within half the bulk's width of it

A ramp keeps its ends (0.5 to 99.5 % of its central 0.8 and half as much again reach beyond them), and so does every
picture without such values. A picture whose bulk is a single value keeps its ends, too.
"""

from __future__ import annotations

import numpy as np

CENTRAL = 0.8
"""Side of the square that is looked at, as a share of the shorter side."""
TAIL = 0.005
"""Share of the square's pixels on either side of the bulk."""
PLATEAU_RANGE, PLATEAU_SHARE = 0.01, 0.03
"""How near to the end a plateau's values lie, and how much of the square it covers at most."""
REACH = 0.5
"""How far beyond the bulk values still count, in its widths."""


def grey_range(values: np.ndarray, occurs: np.ndarray, central: np.ndarray) -> tuple[float, float, bool]:
    """(black, white, whether values lie beyond them) of `values` (N,).

    `occurs` bool (N,): where the picture has the value; `central` int (N,): how often its central square has. Both
    without padding.
    """
    seen = values[occurs]
    if not seen.size:
        return 0.0, 0.0, False
    least, greatest = float(seen.min()), float(seen.max())
    bulk = _bulk(values[central > 0], central[central > 0], least, greatest)
    if bulk is None:
        return least, greatest, False
    reach = REACH * (bulk[1] - bulk[0])
    within = seen[(seen >= bulk[0] - reach) & (seen <= bulk[1] + reach)]
    low, high = float(within.min()), float(within.max())
    return low, high, low > least or high < greatest


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
