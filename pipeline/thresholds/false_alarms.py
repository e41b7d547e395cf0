"""Whether thresholds keep what they promise: false alarms among normals that the run has not seen, and over splits of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from esad.pipeline.thresholds.conformal import (
    CONFIDENCE,
    alarms_expected,
    alarms_expected_of,
    discoveries,
    level_reached,
    p_values,
)
from esad.pipeline.thresholds.shares import share_limits

SPLITS = 100
DISCOVERY_RATE = 0.1
"""Share of false ones among the items that Benjamini-Hochberg names."""
AGREEING = 1e-12
"""A standard error below this is rounding."""
FEWEST_GROUPS = 5
FEWEST = 20
"""Fewer normals than these on a side of a split measure nothing."""
_ROUNDING = 1e-12


def share_interval(chosen: np.ndarray, groups: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the share of `chosen` items (N,) bool, items of a group (codes (N,)) hanging together; None below 5 groups.

    By the spread of the groups' totals (Cochran, Sampling Techniques, 1977, 9A: a ratio of cluster totals) and `share_limits`. Where
    none or all are chosen, the bound is that of as many groups: 1 - 0.05^(1/groups). Where all groups agree, the spread is that of items
    drawn one by one: an agreement by chance does not make the share certain.
    """
    _, codes = np.unique(groups, return_inverse=True)
    count = codes.max(initial=-1) + 1
    if count < FEWEST_GROUPS:
        return None
    share = float(chosen.mean())
    if share in {0.0, 1.0}:
        room = 1 - 0.05 ** (1 / count)
        return (0.0, room) if share == 0 else (1 - room, 1.0)
    apart = np.bincount(codes, chosen - share)
    error = math.sqrt(np.square(apart).sum() * count / (count - 1)) / len(chosen)
    if error < AGREEING:
        error = math.sqrt(share * (1 - share) / len(chosen))
    return share_limits(share, error, count - 1)


def achieved(
    p: np.ndarray,
    alarm: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    references: Mapping[str, int],
    level: float,
    own: np.ndarray | None = None,
) -> dict[str, Any] | None:
    """Promised and achieved rates of labelled items (N,): `p` with NaN where there is none, `alarm` bool, `labels` 0 or 1, `groups` codes.

    `references` are how many reference scores each set has, by name, and `level` is what was asked for; `own` (N,) names the set of each
    item, of which one that `references` lacks does not count. Without `own` all are of the only set. None where no normal item counts.

    `promised` is the mean of what the sets of the normals promise. `expected` are the shares of false alarms that a kept promise gives in
    95 of 100 cases, if items were drawn one by one; `interval` is `share_interval` of the achieved rate. `kept` is False where all of it
    lies above the promise, of all normals or of a set alone; `broken` names such sets.
    """
    names = list(references)
    places = {name: place for place, name in enumerate(names)}
    code = np.zeros(len(p), int) if own is None else np.array([places.get(name, -1) for name in own], int)
    known = ~np.isnan(p) & (code >= 0) & bool(names)
    normal, anomaly = known & (labels == 0), known & (labels == 1)
    if not normal.any():
        return None
    counts = np.bincount(code[normal], minlength=len(names)).tolist()
    sets = [(references[name], count) for name, count in zip(names, counts, strict=True) if count]
    promised = sum(count * level_reached(level, size) for size, count in sets) / sum(counts)
    rate, interval = float(alarm[normal].mean()), share_interval(alarm[normal], groups[normal])
    expected = alarms_expected_of(sets, level)
    broken = [
        name
        for place, name in enumerate(names)
        if own is not None
        and counts[place]
        and _breaks(normal & (code == place), alarm, groups, references[name], level, len(sets))
    ]
    named = discoveries(np.where(known, p, np.nan), DISCOVERY_RATE)
    return {
        "promised": promised, "achieved": rate, "interval": list(interval) if interval else None, "expected": list(expected),
        "normals": int(normal.sum()),
        "kept": not broken and bool(rate <= expected[1] or (interval[0] if interval else rate) <= promised),
        "broken": broken, "anomalies_found": float(alarm[anomaly].mean()) if anomaly.any() else None,
        "discoveries": {
            "rate": DISCOVERY_RATE, "items": int(named.sum()),
            "false": float((labels[named] == 0).mean()) if named.any() else None,
        },
    }  # fmt: skip


def _breaks(
    normal: np.ndarray, alarm: np.ndarray, groups: np.ndarray, references: int, level: float, sets: int
) -> bool:
    """Whether the `normal` items (N,) bool of a set have more alarms than its own `references` promise.

    It is one of so many `sets` that are looked at, hence the wider range (Bonferroni). Too few groups tell nothing: items of one hang
    together, and the sum over all sets counts them.
    """
    interval = share_interval(alarm[normal], groups[normal])
    if interval is None:
        return False
    confidence = 1 - (1 - CONFIDENCE) / sets
    _, most = alarms_expected(references, level, int(normal.sum()), confidence)
    return bool(alarm[normal].mean() > most and interval[0] > level_reached(level, references))


def over_splits(
    scores: np.ndarray,
    groups: np.ndarray,
    level: float,
    seed: int = 0,
    per_group: bool = False,
    fewest: int = FEWEST,
) -> dict[str, Any] | None:
    """Promised and achieved rates over SPLITS random halves of held-out normals (N,), whole groups on a side; None where there are
    too few: `fewest` scores on each side.

    One half gives the threshold, at `level` or the lowest rate that so few references can promise (`level_reached`); alarms are
    counted in the other. With `per_group` a group counts once, by its highest score. `mean` is near `promised` at most where the
    promise holds; `highest` is the 95th percentile of the splits, which the promise does not bound.
    """
    numbers, codes = np.random.default_rng(seed), np.unique(groups)
    if per_group:
        scores = np.array([scores[groups == code].max() for code in codes])
        groups = codes
    if len(codes) < 2 or len(scores) < 2 * fewest:
        return None
    promised, rates = [], []
    for _ in range(SPLITS):
        first = np.isin(groups, numbers.permutation(codes)[: len(codes) // 2])
        if min(first.sum(), (~first).sum()) >= fewest:
            promised.append(level_reached(level, int(first.sum())))
            rates.append(float((p_values(scores[~first], scores[first]) <= promised[-1] + _ROUNDING).mean()))
    if not rates:
        return None
    return {
        "splits": len(rates), "promised": float(np.mean(promised)), "mean": float(np.mean(rates)),
        "highest": float(np.quantile(rates, 0.95)),
    }  # fmt: skip
