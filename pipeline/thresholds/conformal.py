"""Conformal p-values and thresholds from the scores of held-out normals. Pure.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Bates, Candès, Lei, Romano and Sesia, Testing for
outliers with conformal p-values, Annals of Statistics 2023. All of it asks that a new normal item and the held-out ones are
exchangeable: from the same place, in no order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
"""How sure the bounds on a threshold's false-alarm rate are."""
_ROUNDING = 1e-9
"""0.1 (n + 1) of 9 normals is 0.9999…: a level that is a whole number of ranks counts as one."""


def p_values(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(1 + reference scores at least as high) / (1 + n) of each score: float64, in (0, 1], of the shape of `scores`.

    `reference` (n,) are scores of held-out normals. Of a new normal item P(p <= a) <= a for every a.
    """
    ordered = np.sort(np.asarray(reference, dtype=float))
    lower = np.searchsorted(ordered, np.asarray(scores, dtype=float), side="left")
    return (1 + len(ordered) - lower) / (1 + len(ordered))


def rank_of(level: float, normals: int) -> int:
    """floor(level (n + 1)), from 1 to n: a score is an alarm where fewer than so many of n > 0 normals are at least as high.

    Below 1 it would be no rank; so few normals promise no more than `level_reached`.
    """
    return min(max(math.floor(level * (normals + 1) + _ROUNDING), 1), normals)


def level_reached(level: float, normals: int) -> float:
    """The false-alarm rate that a threshold at `level` from n > 0 normals promises: at most `level`, or 1 / (n + 1) of too few."""
    return rank_of(level, normals) / (normals + 1)


def threshold(reference: np.ndarray, level: float) -> float:
    """The score above which (not at which) a p-value is at most `level_reached`, of `reference` (n,), n > 0."""
    return float(np.sort(np.asarray(reference, dtype=float))[-rank_of(level, len(reference))])


def fewest_normals(level: float) -> int:
    """How many held-out normals a threshold at `level` needs: 1 / level - 1, rounded up (99 for 0.01)."""
    return math.ceil(1 / level - 1 - _ROUNDING)


def rate_bounds(normals: int, level: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided bounds on the false-alarm rate of the threshold at `level` from n > 0 normals.

    Given the reference scores, without ties, the rate of new normals has a Beta(l, n + 1 - l) law, l = `rank_of`.
    """
    from scipy.stats import beta

    rank, tail = rank_of(level, normals), (1 - confidence) / 2
    low, high = beta.ppf([tail, 1 - tail], rank, normals + 1 - rank)
    return float(low), float(high)


def alarms_expected(
    normals: int, level: float, new: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Between which shares of `new` > 0 normals the alarms lie, two-sided, before any of the scores is known.

    The number of alarms has a beta-binomial law, with the parameters of `rate_bounds`.
    """
    return alarms_expected_of([(normals, new)], level, confidence)


def alarms_expected_of(
    sets: Sequence[tuple[int, int]], level: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """`alarms_expected` among the new normals of several sets together, each (reference normals > 0, new normals > 0).

    Sets share no references, so the numbers of alarms are independent, and the law of their sum is the convolution of their laws.
    """
    from scipy.signal import fftconvolve
    from scipy.stats import betabinom

    laws = []
    for normals, new in sets:
        rank = rank_of(level, normals)
        laws.append(betabinom.pmf(np.arange(new + 1), new, rank, normals + 1 - rank))
    while len(laws) > 1:  # in pairs: short with short, long with long
        pairs = [fftconvolve(*laws[at : at + 2]) for at in range(0, len(laws) - 1, 2)]
        laws = pairs + laws[2 * len(pairs) :]
    total, tail = sum(new for _, new in sets), (1 - confidence) / 2
    low, high = np.searchsorted(np.cumsum(laws[0]), np.array([tail, 1 - tail]) - _ROUNDING)
    return float(low / total), float(high / total)


def colour_ends(level: float, *normals: int) -> tuple[float, float]:
    """The p-values at which a slide's colours begin and end: at the threshold for `level`, and above all of so many `normals` > 0.

    Of several sets, that of the thresholds which is crossed most often, and the rarest score that any set can tell: one scale for all.
    """
    return max(level_reached(level, each) for each in normals), 1 / (max(normals) + 1)


def discoveries(p: np.ndarray, rate: float) -> np.ndarray:
    """Which items an archive's p-values (N,) name as anomalies with a false discovery rate of at most `rate`: bool (N,).

    Benjamini-Hochberg; conformal p-values from one reference set are positively dependent, under which it holds. NaN: no item.
    """
    from scipy.stats import false_discovery_control

    found, known = np.zeros(len(p), bool), ~np.isnan(p)
    if known.any():
        found[known] = false_discovery_control(p[known]) <= rate + _ROUNDING
    return found
