"""Figures from scores and labels: rank AUC, average precision, the ROC curve, the pointing game. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ranked:
    """Items in ascending order of score; `starts` are the first positions of runs of equal scores."""

    order: np.ndarray
    anomaly: np.ndarray
    starts: np.ndarray


def ranked_items(scores: np.ndarray, labels: np.ndarray) -> Ranked:
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
    return Ranked(order, labels[order].astype(bool), starts)


def class_weights(ranked: Ranked, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def weighted_average_precision(anomaly: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Average precision of each row: precision at each distinct threshold, weighted by the recall gained there."""
    found = np.cumsum(anomaly[:, ::-1], axis=1)
    taken = found + np.cumsum(normal[:, ::-1], axis=1)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (anomaly[:, ::-1] * precision).sum(1) / anomaly.sum(1)


def _one(function: Any, scores: np.ndarray, labels: np.ndarray) -> float | None:
    ranked = ranked_items(scores, labels)
    if ranked.anomaly.all() or not ranked.anomaly.any():
        return None
    return float(function(*class_weights(ranked, np.ones((1, len(ranked.order)))))[0])


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Area under the ROC curve of `scores` (N,) for `labels` (N,) of 0 and 1, in [0, 1]; higher scores are anomalies.

    The Mann-Whitney form: ties count one half. None where one class is missing. ValueError for scores that are not
    finite.
    """
    return _one(_weighted_auc, scores, labels)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Average precision (step-wise area under precision over recall), in [0, 1]; None where one class is missing."""
    return _one(weighted_average_precision, scores, labels)


def roc_points(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates, each (T,) rising from 0 to 1, one point per distinct threshold.

    Raises ValueError where one class is missing.
    """
    ranked = ranked_items(scores, labels)
    if ranked.anomaly.all() or not ranked.anomaly.any():
        raise ValueError("an ROC curve needs both classes")
    anomaly, normal = class_weights(ranked, np.ones((1, len(ranked.order))))
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
