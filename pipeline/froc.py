"""Camelyon16's lesion figure, FROC, with the organisers' constants and quirks (METHOD 7.1). Pure.

Masks are of level 5 (32 level-0 pixels of 0.243 um a mask pixel); detections are points in level-0 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MPP = 0.243
LEVEL = 5
NEAR_UM = 75.0
"""Tumour pixels nearer to each other than this belong to one lesion; half of it is added to each outline."""
CELL_CLUSTER_UM = 275.0
"""Below this major axis a lesion is a cluster of isolated tumour cells (ITC): neither hit nor miss."""
FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Mean false positives a slide at which sensitivity is read off."""


@dataclass(frozen=True)
class Lesions:
    """`labels` int (h, w) at LEVEL: 0 outside, else the lesion's number from 1; `clusters` those that are ITC."""

    labels: np.ndarray
    clusters: frozenset[int]

    @property
    def count(self) -> int:
        """All lesions, ITC included."""
        return int(self.labels.max(initial=0))


def find_lesions(tumour: np.ndarray, mpp: float = MPP) -> Lesions:
    """Lesions of a mask bool (h, w) at LEVEL of a slide of `mpp` um a level-0 pixel.

    The mask grows to all pixels nearer than NEAR_UM / 2, holes are filled, parts that touch by side or corner are one.
    """
    from scipy import ndimage
    from skimage.measure import label, regionprops

    pixel = mpp * 2**LEVEL
    near = ndimage.distance_transform_edt(~tumour) < NEAR_UM / (pixel * 2) if tumour.any() else tumour
    labels = label(ndimage.binary_fill_holes(near), connectivity=2)
    limit = CELL_CLUSTER_UM / pixel
    clusters = frozenset(int(r.label) for r in regionprops(labels) if r.axis_major_length < limit)
    return Lesions(labels, clusters)


@dataclass(frozen=True)
class SlideHits:
    """One slide's detections sorted out.

    `hits` (lesions that are no ITC,) each one's highest score or 0; `false` the scores outside; `clusters` counts ITC.
    """

    hits: np.ndarray
    false: np.ndarray
    clusters: int = 0


def sort_detections(scores: np.ndarray, points: np.ndarray, lesions: Lesions | None) -> SlideHits:
    """Detections of one slide: `scores` (N,) > 0, `points` (N, 2) x, y in level-0 pixels; None is a normal slide.

    Of several detections in a lesion the highest counts; those in an ITC count neither way; points beyond the mask
    are outside.
    """
    scores, points = np.asarray(scores, dtype=float), np.asarray(points, dtype=float).reshape(-1, 2)
    if lesions is None:
        return SlideHits(np.empty(0), scores)
    height, width = lesions.labels.shape
    column, row = (points // 2**LEVEL).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    hit = np.zeros(len(scores), dtype=int)
    hit[inside] = lesions.labels[row[inside], column[inside]]
    best = np.zeros(lesions.count + 1)
    np.maximum.at(best, hit, scores)
    counted = [number for number in range(1, lesions.count + 1) if number not in lesions.clusters]
    return SlideHits(best[counted], scores[hit == 0], len(lesions.clusters))


@dataclass(frozen=True)
class Froc:
    """`false_positives` a slide and `sensitivity` (T,), falling together as the threshold rises; `score` their mean."""

    false_positives: np.ndarray
    sensitivity: np.ndarray
    score: float


def froc(slides: Sequence[SlideHits]) -> Froc:
    """The curve over all slides, normal ones included, and the mean sensitivity at FALSE_POSITIVES.

    As the organisers' code does, the lowest of all distinct scores is no threshold: it takes for granted that a
    missed lesion or an ITC stands there with 0. ValueError where no slide has a lesion that counts.
    """
    hits = np.concatenate([slide.hits for slide in slides] or [np.empty(0)])
    false = np.concatenate([slide.false for slide in slides] or [np.empty(0)])
    if not len(hits):
        raise ValueError("no slide has a lesion that is more than isolated tumour cells")
    unscored = np.zeros(sum(slide.clusters for slide in slides))
    thresholds = np.unique(np.concatenate([hits, false, unscored]))[1:]
    rate = np.array([(false >= threshold).sum() for threshold in thresholds] + [0]) / len(slides)
    sensitivity = np.array([(hits >= threshold).sum() for threshold in thresholds] + [0]) / len(hits)
    score = float(np.interp(FALSE_POSITIVES, rate[::-1], sensitivity[::-1]).mean())
    return Froc(rate, sensitivity, score)
