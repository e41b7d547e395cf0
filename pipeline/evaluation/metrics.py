"""Figures from scores and labels: rank AUC, average precision, intervals by group, the pointing game. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 1000
LEAST_GROUPS = 5
CHUNK = 1_000_000
"""Weights held at once by the bootstrap: 8 MB of float64."""


@dataclass(frozen=True)
class _Ranked:
    """Items in ascending order of score; `starts` are the first positions of runs of equal scores."""

    order: np.ndarray
    anomaly: np.ndarray
    starts: np.ndarray


def _ranked(scores: np.ndarray, labels: np.ndarray) -> _Ranked:
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be vectors of one length")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (anomaly)")
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, int)
    return _Ranked(order, labels[order].astype(bool), starts)


def _class_weights(ranked: _Ranked, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of anomalies and of normals at each distinct score, ascending: two arrays (B, distinct scores)."""
    ordered = weights[:, ranked.order]
    anomaly = np.add.reduceat(ordered * ranked.anomaly, ranked.starts, axis=1)
    return anomaly, np.add.reduceat(ordered * ~ranked.anomaly, ranked.starts, axis=1)


def _weighted_auc(anomaly: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """AUC of each row: the share of (anomaly, normal) pairs in the right order, ties counting one half."""
    below = np.cumsum(normal, axis=1) - normal
    pairs = anomaly.sum(1) * normal.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (anomaly * (below + 0.5 * normal)).sum(1) / pairs


def _weighted_average_precision(anomaly: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Average precision of each row: precision at each distinct threshold, weighted by the recall gained there."""
    found = np.cumsum(anomaly[:, ::-1], axis=1)
    taken = found + np.cumsum(normal[:, ::-1], axis=1)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (anomaly[:, ::-1] * precision).sum(1) / anomaly.sum(1)


def _one(function: Any, scores: np.ndarray, labels: np.ndarray) -> float | None:
    ranked = _ranked(scores, labels)
    if ranked.anomaly.all() or not ranked.anomaly.any():
        return None
    return float(function(*_class_weights(ranked, np.ones((1, len(ranked.order)))))[0])


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Area under the ROC curve of `scores` (N,) for `labels` (N,) of 0 and 1, in [0, 1]; higher scores are anomalies.

    The Mann-Whitney form: ties count one half. None where one class is missing. ValueError for scores that are not
    finite.
    """
    return _one(_weighted_auc, scores, labels)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Average precision (step-wise area under precision over recall), in [0, 1]; None where one class is missing."""
    return _one(_weighted_average_precision, scores, labels)


@dataclass(frozen=True)
class Intervals:
    """Two-sided 95 % percentile intervals (low, high), or None where they cannot be had."""

    auc: tuple[float, float] | None
    average_precision: tuple[float, float] | None
    groups: int


def bootstrap_draws(groups: int, draws: int, seed: int) -> np.ndarray:
    """How often each group is drawn: int64 (draws, groups), rows summing to `groups`."""
    return next(_draws(groups, draws, seed, draws))


def _draws(groups: int, draws: int, seed: int, at_once: int) -> Iterator[np.ndarray]:
    """The rows of `bootstrap_draws`, `at_once` at a time: of a million groups all of them would be 8 GB."""
    numbers, share = np.random.default_rng(seed), np.full(groups, 1 / groups)
    for start in range(0, draws, at_once):
        yield numbers.multinomial(groups, share, size=min(at_once, draws - start))


def bootstrap_intervals(
    scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Intervals:
    """95 % intervals of AUC and average precision by resampling whole groups (patients, slides) with replacement.

    `groups` (N,) names each item's group. A draw that misses a class is left out; None below LEAST_GROUPS groups,
    or where over a tenth of the draws miss a class (then too few groups hold it). Where every draw gives the same
    value, resampling says nothing: None, but for an AUC of 0 or 1 `separated_interval`.
    """
    codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    return intervals_by_code(scores, labels, codes, draws, seed)


def intervals_by_code(
    scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Intervals:
    """`bootstrap_intervals` of groups numbered in the order of their names: `codes` int64 (N,), each of 0 to the highest there.

    A million names as objects of Python would take a hundred megabytes.
    """
    ranked, groups = _ranked(scores, labels), int(codes.max(initial=-1)) + 1
    if groups < LEAST_GROUPS or ranked.anomaly.all() or not ranked.anomaly.any():
        return Intervals(None, None, groups)
    areas, precisions, start = np.empty(draws), np.empty(draws), 0
    for counts in _draws(groups, draws, seed, max(1, CHUNK // len(codes))):
        chunk = slice(start, start + len(counts))
        start += len(counts)
        weights = counts[:, codes].astype(float)
        anomaly, normal = _class_weights(ranked, weights)
        usable = (anomaly.sum(1) > 0) & (normal.sum(1) > 0)
        areas[chunk] = np.where(usable, _weighted_auc(anomaly, normal), np.nan)
        precisions[chunk] = np.where(usable, _weighted_average_precision(anomaly, normal), np.nan)
    if np.isnan(areas).mean() > 0.1:
        return Intervals(None, None, groups)
    area = _area_interval(areas, codes, np.asarray(labels) == 1, np.asarray(labels) == 0)
    return Intervals(area, _unless_a_point(_percentiles(precisions)), groups)


def _area_interval(
    areas: np.ndarray, codes: np.ndarray, anomaly: np.ndarray, normal: np.ndarray
) -> tuple[float, float] | None:
    """The interval of an AUC by its draws (B,), of groups `codes` (N,) of which the items of either kind (bool, (N,)) count."""
    found = _percentiles(areas)
    if found[0] == found[1] and found[0] in {0, 1}:
        return separated_interval(found[0], *(len(np.unique(codes[kind])) for kind in (anomaly, normal)))
    return _unless_a_point(found)


def superiority(
    new: np.ndarray, reference: np.ndarray, new_groups: np.ndarray, reference_groups: np.ndarray
) -> dict[str, Any]:
    """How far values `new` (N,) lie from `reference` (M,): a two-sample test, its effect size and that one's interval.

    `superiority` is the share of pairs in which the new value is the higher one, ties counting one half: 0.5 where both come from one
    place (Vargha and Delaney, 2000; Cliff's delta is 2 superiority - 1). `interval` is its 95 % interval by resampling whole groups
    (codes (N,) and (M,), no group being in both), None where `intervals_by_code` has none; `p` is that of the Mann-Whitney test,
    which takes items for independent: where items of a group hang together the interval counts.
    """
    from scipy.stats import mannwhitneyu

    values, labels = np.concatenate([new, reference]), np.repeat([1, 0], [len(new), len(reference)])
    apart = np.concatenate([new_groups, reference_groups + new_groups.max(initial=-1) + 1])
    codes = np.unique(apart, return_inverse=True)[1]
    interval = intervals_by_code(values, labels, codes).auc
    return {
        "superiority": auc(values, labels), "interval": list(interval) if interval else None,
        "p": float(mannwhitneyu(new, reference).pvalue),
    }  # fmt: skip


def areas_by_class(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    classes: np.ndarray,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[int, tuple[float, tuple[float, float] | None]]:
    """Class -> (AUC, 95 % interval) of its anomalies against all normal items; {} where one kind is missing.

    `classes` int64 (N,) are the items' classes, read of anomalies alone. Groups `codes`, their draws and when there is no
    interval are as in `intervals_by_code`. One pass serves all classes: an anomaly's share of normals below it is the same in
    whichever class it is.
    """
    ranked, groups = _ranked(scores, labels), int(codes.max(initial=-1)) + 1
    if ranked.anomaly.all() or not ranked.anomaly.any():
        return {}
    at = np.flatnonzero(ranked.anomaly)
    at = at[np.argsort(classes[ranked.order][at], kind="stable")]
    names, firsts = np.unique(classes[ranked.order][at], return_index=True)
    score_of = np.searchsorted(ranked.starts, at, side="right") - 1

    def areas(weights: np.ndarray) -> np.ndarray:
        """(B, classes) of weights (B, N)."""
        ordered = weights[:, ranked.order]
        normal = np.add.reduceat(ordered * ~ranked.anomaly, ranked.starts, axis=1)
        below, own = np.cumsum(normal, axis=1) - 0.5 * normal, ordered[:, at]
        pairs = np.add.reduceat(own, firsts, axis=1) * normal.sum(1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.add.reduceat(own * below[:, score_of], firsts, axis=1) / pairs

    found = areas(np.ones((1, len(codes))))[0]
    if groups < LEAST_GROUPS:
        return {int(name): (float(area), None) for name, area in zip(names, found, strict=True)}
    at_once = max(1, CHUNK // len(codes))
    drawn = np.concatenate(
        [areas(counts[:, codes].astype(float)) for counts in _draws(groups, draws, seed, at_once)]
    )
    normal = np.asarray(labels) == 0
    return {
        int(name): (
            float(area),
            None
            if np.isnan(own).mean() > 0.1
            else _area_interval(own, codes, ~normal & (classes == name), normal),
        )
        for name, area, own in zip(names, found, drawn.T, strict=True)
    }


def _unless_a_point(interval: tuple[float, float]) -> tuple[float, float] | None:
    return interval if interval[0] < interval[1] else None


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


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def roc_points(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates, each (T,) rising from 0 to 1, one point per distinct threshold.

    Raises ValueError where one class is missing.
    """
    ranked = _ranked(scores, labels)
    if ranked.anomaly.all() or not ranked.anomaly.any():
        raise ValueError("an ROC curve needs both classes")
    anomaly, normal = _class_weights(ranked, np.ones((1, len(ranked.order))))
    true = np.r_[0.0, np.cumsum(anomaly[0, ::-1])]
    false = np.r_[0.0, np.cumsum(normal[0, ::-1])]
    return false / false[-1], true / true[-1]


@dataclass(frozen=True)
class Pointing:
    """`hits` (N,) bool and `chance` (N,) in [0, 1]: a uniformly random point's chance to hit."""

    hits: np.ndarray
    chance: np.ndarray


def pointing_game(points: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> Pointing:
    """Whether each item's hottest point lies in its region (Zhang et al. 2018, the pointing game, no tolerance).

    `points` (N, 2) x, y and `boxes` (N, 4) x, y, width, height, in item pixels; `size` (height, width) of an item.
    A pixel belongs to a box where its centre (x + 0.5, y + 0.5) does. Boxes are clipped to the item.
    """
    height, width = size
    points, boxes = np.asarray(points, dtype=float), np.asarray(boxes, dtype=float)
    limit = np.array([width, height], dtype=float)
    low = np.clip(boxes[:, :2], 0, limit)
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, limit)
    centres = points + 0.5
    hits = ((centres >= low) & (centres < high)).all(1)
    pixels = (np.ceil(high - 0.5) - np.ceil(low - 0.5)).clip(min=0).prod(1)
    return Pointing(hits, pixels / (width * height))
