"""Grey levels of one site brought to those of others: a rising map from landmarks of their histograms. Pure.

Nyúl and Udupa, On standardizing the MR image intensity scale, 1999: percentiles of a histogram are landmarks, and what lies between two
of them is mapped in proportion. It takes part in the whole curve, so that it undoes another gamma or window, where a scale and an offset
would undo only these; eleven numbers follow from few pictures, where the matching of whole histograms would follow each of their peaks.
"""

from __future__ import annotations

import numpy as np

LEVELS = 256
PERCENTILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)


def histogram(pictures: np.ndarray) -> np.ndarray:
    """How many pixels of `pictures` (any shape, uint8) have each level: int64 (256,)."""
    return np.bincount(pictures.reshape(-1), minlength=LEVELS)


def landmarks(counts: np.ndarray) -> np.ndarray:
    """The levels at PERCENTILES of a histogram (256,) that is not empty: float64 (11,), never falling.

    A level stands for all values that are rounded to it, so that landmarks are no whole numbers.
    """
    there = np.flatnonzero(counts)
    below = np.cumsum(counts)[there] / counts.sum()
    # both ends of each level that there is, at the shares of pixels below them
    shares = np.stack([np.concatenate([[0.0], below[:-1]]), below], axis=1).reshape(-1)
    values = np.stack([there - 0.5, there + 0.5], axis=1).reshape(-1)
    return np.interp(np.array(PERCENTILES) / 100, shares, values).clip(0, LEVELS - 1)


def level_map(own: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """What becomes of each level where landmarks `own` (11,) are to lie at `reference` (11,): uint8 (256,), never falling.

    Black stays black and white white: what collimation or padding painted is no tissue. Landmarks at one level take their mean.
    """
    own, wanted = np.asarray(own, dtype=float), np.asarray(reference, dtype=float)
    inside = (own > 0) & (own < LEVELS - 1)
    places, which = np.unique(own[inside], return_inverse=True)
    targets = np.bincount(which, wanted[inside], len(places)) / np.maximum(
        np.bincount(which, minlength=len(places)), 1
    )
    ends = np.array([0.0, LEVELS - 1.0])
    found = np.interp(
        np.arange(LEVELS),
        np.concatenate([ends[:1], places, ends[1:]]),
        np.concatenate([ends[:1], targets, ends[1:]]),
    )
    return np.rint(found).astype(np.uint8)
