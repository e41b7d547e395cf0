"""95 % intervals of AUC and average precision where items of a group (patient, slide) hang together. Pure.

AUC: variances of placement values, summed by group (DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997). Average precision: the
spread of resampled groups. Both become intervals on the scale of log odds with Student's t (`share_limits`). Percentiles of resampled
groups, which stood here before, held the true AUC in 79 to 95 of 100 cases; `benchmarks/interval_coverage.py` measures these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from esad.pipeline.evaluation.measures.metrics import (
    auc,
    average_precision,
    class_weights,
    ranked_items,
    weighted_average_precision,
)
from esad.pipeline.thresholds.shares import freedom_of, share_limits

HOW = "placement values by group"
"""What metrics.json says of its intervals; earlier versions, whose were percentiles of resampled groups, said nothing."""
DRAWS = 1000
LEAST_GROUPS = 5
LEAST_OF_A_KIND = 3
"""Groups that hold anomalies, and groups that hold normals: the spread of two says next to nothing. An AUC of 0 or 1 takes two."""
CHUNK = 1_000_000
"""Weights held at once by the bootstrap: 8 MB of float64."""


@dataclass(frozen=True)
class Intervals:
    """Two-sided 95 % intervals (low, high), or None where they cannot be had."""

    auc: tuple[float, float] | None
    average_precision: tuple[float, float] | None
    groups: int


def grouped_intervals(
    scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Intervals:
    """95 % intervals of AUC and average precision of `scores` (N,) for `labels` (N,) of 0 and 1.

    `groups` (N,) names each item's group. None below LEAST_GROUPS groups, and where fewer than LEAST_OF_A_KIND hold either class.
    Where nothing varies from group to group: None, but for an AUC of 0 or 1 `separated_interval`.
    """
    codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    return intervals_by_code(scores, labels, codes, draws, seed)


def intervals_by_code(
    scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Intervals:
    """`grouped_intervals` of groups numbered in the order of their names: `codes` int64 (N,), each of 0 to the highest there.

    A million names as objects of Python would take a hundred megabytes.
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    ranked, groups = ranked_items(scores, labels), int(codes.max(initial=-1)) + 1
    if groups < LEAST_GROUPS or ranked.anomaly.all() or not ranked.anomaly.any():
        return Intervals(None, None, groups)
    anomaly, normal = labels == 1, labels == 0
    spread = _area_spread(scores[anomaly], scores[normal], codes[anomaly], codes[normal])
    precisions, start = np.empty(draws), 0
    for counts in _draws(groups, draws, seed, max(1, CHUNK // len(codes))):
        weights = class_weights(ranked, counts[:, codes].astype(float))
        precisions[start : start + len(counts)] = weighted_average_precision(*weights)
        start += len(counts)
    return Intervals(
        spread.interval(), _precision_interval(average_precision(scores, labels), precisions, spread), groups
    )


def _precision_interval(
    found: float | None, precisions: np.ndarray, spread: AreaSpread
) -> tuple[float, float] | None:
    """By the spread of resampled `precisions` (B,), NaN where a draw had no anomaly."""
    error = float(np.nanstd(precisions, ddof=1))
    if (
        found is None
        or not 0 < found < 1
        or not error > 0
        or min(spread.anomalies, spread.normals) < LEAST_OF_A_KIND
        or spread.interval() is None
    ):
        return None
    return share_limits(found, error, spread.freedom)


def bootstrap_draws(groups: int, draws: int, seed: int) -> np.ndarray:
    """How often each group is drawn: int64 (draws, groups), rows summing to `groups`."""
    return next(_draws(groups, draws, seed, draws))


def _draws(groups: int, draws: int, seed: int, at_once: int) -> Iterator[np.ndarray]:
    """The rows of `bootstrap_draws`, `at_once` at a time: of a million groups all of them would be 8 GB."""
    numbers, share = np.random.default_rng(seed), np.full(groups, 1 / groups)
    for start in range(0, draws, at_once):
        yield numbers.multinomial(groups, share, size=min(at_once, draws - start))


@dataclass(frozen=True)
class AreaSpread:
    """An AUC with its variance over groups, the degrees of freedom of that, and how many groups hold anomalies and normals."""

    area: float
    variance: float
    freedom: float
    anomalies: int
    normals: int

    def interval(self) -> tuple[float, float] | None:
        """The AUC's; None of too few groups, and where they agree on one that is neither 0 nor 1, as where all scores are the same."""
        fewest = min(self.anomalies, self.normals)
        if 0 < self.area < 1:
            varies = fewest >= LEAST_OF_A_KIND and self.variance > 1e-24
            return share_limits(self.area, math.sqrt(self.variance), self.freedom) if varies else None
        if fewest < LEAST_OF_A_KIND - 1:
            return None
        return separated_interval(self.area, self.anomalies, self.normals)


def _area_spread(
    anomalies: np.ndarray, normals: np.ndarray, anomaly_codes: np.ndarray, normal_codes: np.ndarray
) -> AreaSpread:
    """Of scores (A,) and (N,) with their groups.

    Each item's placement value less the AUC, over how many its kind has, is what it adds to the AUC; groups add up what their items
    do. Groups of anomalies, of normals and of both vary each for itself. Where a kind has one group, its square counts for the variance,
    with one degree of freedom, over (1 - the share of its label that it holds) squared: the AUC was drawn to it by that much.
    """
    count = int(max(anomaly_codes.max(), normal_codes.max())) + 1
    above = _placements(anomalies, np.sort(normals))
    area = float(above.mean())
    added = np.bincount(anomaly_codes, (above - area) / len(anomalies), count)
    below = 1 - _placements(normals, np.sort(anomalies))
    added += np.bincount(normal_codes, (below - area) / len(normals), count)
    shares = [np.bincount(codes, minlength=count) / len(codes) for codes in (anomaly_codes, normal_codes)]
    anomalous, normal = (share > 0 for share in shares)
    parts = []
    for kind in (anomalous & ~normal, normal & ~anomalous, anomalous & normal):
        groups, squares = int(kind.sum()), float(np.square(added[kind]).sum())
        if groups > 1:
            parts.append((squares * groups / (groups - 1), groups))
        elif groups and (rest := 1 - max(share[kind][0] for share in shares)) > 0:
            parts.append((squares / rest**2, 2))
    variance = sum(part for part, _ in parts)
    return AreaSpread(area, variance, freedom_of(parts), int(anomalous.sum()), int(normal.sum()))


def _placements(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The share of `ordered` (M,) below each of `values` (N,), ties counting one half: float64 (N,)."""
    low, high = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (low + high) / (2 * len(ordered))


def superiority(
    new: np.ndarray, reference: np.ndarray, new_groups: np.ndarray, reference_groups: np.ndarray
) -> dict[str, Any]:
    """How far values `new` (N,) lie from `reference` (M,): a two-sample test, its effect size and that one's interval.

    `superiority` is the share of pairs in which the new value is the higher one, ties counting one half: 0.5 where both come from one
    place (Vargha and Delaney, 2000; Cliff's delta is 2 superiority - 1). `interval` is its 95 % interval by groups (codes (N,) and
    (M,), no group being in both), None where `intervals_by_code` has none; `p` is that of the Mann-Whitney test, which takes items
    for independent: where items of a group hang together the interval counts.
    """
    from scipy.stats import mannwhitneyu

    values, labels = np.concatenate([new, reference]), np.repeat([1, 0], [len(new), len(reference)])
    apart = np.concatenate([new_groups, reference_groups + new_groups.max(initial=-1) + 1])
    codes = np.unique(apart, return_inverse=True)[1]
    spread = (
        _area_spread(values[labels == 1], values[labels == 0], codes[labels == 1], codes[labels == 0])
        if len(new) and len(reference) and codes.max() + 1 >= LEAST_GROUPS
        else None
    )
    interval = spread.interval() if spread else None
    return {
        "superiority": auc(values, labels), "interval": list(interval) if interval else None,
        "p": float(mannwhitneyu(new, reference).pvalue),
    }  # fmt: skip


def areas_by_class(
    scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, classes: np.ndarray
) -> dict[int, tuple[float, tuple[float, float] | None]]:
    """Class -> (AUC, 95 % interval) of its anomalies against all normal items; {} where one kind is missing.

    `classes` int64 (N,) are the items' classes, read of anomalies alone. Groups `codes` and when there is no interval are as in
    `intervals_by_code`.
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    ranked, groups = ranked_items(scores, labels), int(codes.max(initial=-1)) + 1
    if ranked.anomaly.all() or not ranked.anomaly.any():
        return {}
    normals, normal_codes = scores[labels == 0], codes[labels == 0]
    found = {}
    for name in np.unique(classes[labels == 1]):
        chosen = (labels == 1) & (classes == name)
        spread = _area_spread(scores[chosen], normals, codes[chosen], normal_codes)
        found[int(name)] = (spread.area, spread.interval() if groups >= LEAST_GROUPS else None)
    return found


def separated_interval(area: float, anomalies: int, normals: int) -> tuple[float, float]:
    """95 % interval of an AUC `area` of 0 or 1 among so many independent anomalies and normals: one end is `area`.

    Newcombe (2006), method 5: the bounds t solve |t - area| = 1.96 sqrt(V(t)), V the variance of Hanley and McNeil with
    both counts replaced by their mean where they weigh its terms.
    """
    more = (anomalies + normals) / 2 - 1

    def beyond(t: float) -> bool:
        terms = 1 + more * ((1 - t) / (2 - t) + t / (1 + t))
        return abs(t - area) > 1.96 * math.sqrt(t * (1 - t) * terms / (anomalies * normals))

    inside, outside = area, 1 - area
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
    return (inside, area) if area > 0.5 else (area, inside)
