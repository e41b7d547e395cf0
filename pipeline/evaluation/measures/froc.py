"""Camelyon16's lesion figure, FROC, with the organisers' constants and quirks. Pure.

docs/explanation/protocols.md#froc says how it counts.
Masks are of level 5 (32 level-0 pixels of 0.243 um a mask pixel); detections are points in level-0 pixels.
Scores may be any numbers, since only their order counts: what was not found stands below all of them, where the
organisers, whose scores are probabilities, put 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from esad.pipeline.evaluation.measures.intervals import DRAWS, LEAST_GROUPS, bootstrap_draws
from esad.pipeline.thresholds.shares import share_limits

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

MPP = 0.243
"""Microns a level-0 pixel, for all of Camelyon16: the organisers do not tell its two scanners (0.243, 0.226) apart."""
SAME_MPP = 0.1
"""Slides within this share of MPP are measured with MPP, so that Camelyon16's figure is the official one."""
LEVEL = 5
NEAR_UM = 75.0
"""Tumour pixels nearer to each other than this belong to one lesion; half of it is added to each outline."""
CELL_CLUSTER_UM = 275.0
"""Below this major axis a lesion is a cluster of isolated tumour cells (ITC): neither hit nor miss."""
FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Mean false positives a slide at which sensitivity is read off."""
NOT_FOUND = -np.inf
"""The score of a lesion without a detection."""


@dataclass(frozen=True)
class Lesions:
    """`labels` int (h, w) at LEVEL: 0 outside, else the lesion's number from 1; `clusters` those that are ITC.

    `corner` is the column and row of the first mask pixel in the mask of the whole slide.
    """

    labels: np.ndarray
    clusters: frozenset[int]
    corner: tuple[int, int] = (0, 0)

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


def measured_mpp(slide_mpp: float) -> float:
    """Microns a level-0 pixel that a slide's lesions are measured with: MPP for slides within SAME_MPP, else its own."""
    return MPP if abs(slide_mpp / MPP - 1) <= SAME_MPP else slide_mpp


def outlined_lesions(area: BaseGeometry, width: int, height: int, slide_mpp: float) -> Lesions:
    """Lesions of the outlined `area` (level-0 pixels) of a slide of `width` x `height` level-0 pixels.

    The mask is drawn from the outlines at LEVEL, and only around them. A pixel is tumour where its middle is.
    """
    from esad.preprocessing.slides.rasterise import outline_mask

    mpp, pixel = measured_mpp(slide_mpp), 2**LEVEL
    nothing = Lesions(np.zeros((0, 0), dtype=int), frozenset())
    if area.is_empty:
        return nothing
    margin = int(np.ceil(NEAR_UM / (2 * mpp * pixel))) + 1
    left, top, right, bottom = np.asarray(area.bounds) / pixel
    low = [max(0, int(np.floor(edge)) - margin) for edge in (left, top)]
    limits = zip((right, bottom), (width, height), strict=True)
    high = [min(int(np.ceil(edge)) + margin, -(-length // pixel)) for edge, length in limits]
    size = (high[1] - low[1], high[0] - low[0])
    if min(size) <= 0:  # all outside the slide
        return nothing
    found = find_lesions(outline_mask(area, pixel, (low[0], low[1]), size), mpp)
    return Lesions(found.labels, found.clusters, (low[0], low[1]))


@dataclass(frozen=True)
class SlideHits:
    """One slide's detections sorted out.

    `hits` (lesions that are no ITC,) each one's highest score or NOT_FOUND; `false` the scores outside; `clusters`
    counts ITC.
    """

    hits: np.ndarray
    false: np.ndarray
    clusters: int = 0


def sort_detections(scores: np.ndarray, points: np.ndarray, lesions: Lesions | None) -> SlideHits:
    """Detections of one slide: `scores` (N,), `points` (N, 2) x, y in level-0 pixels; None is a normal slide.

    Of several detections in a lesion the highest counts; those in an ITC count neither way; points beyond the mask
    are outside.
    """
    scores, points = np.asarray(scores, dtype=float), np.asarray(points, dtype=float).reshape(-1, 2)
    if lesions is None:
        return SlideHits(np.empty(0), scores)
    height, width = lesions.labels.shape
    column, row = ((points // 2**LEVEL).astype(int) - lesions.corner).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    hit = np.zeros(len(scores), dtype=int)
    hit[inside] = lesions.labels[row[inside], column[inside]]
    best = np.full(lesions.count + 1, NOT_FOUND)
    np.maximum.at(best, hit, scores)
    counted = [number for number in range(1, lesions.count + 1) if number not in lesions.clusters]
    return SlideHits(best[counted], scores[hit == 0], len(lesions.clusters))


@dataclass(frozen=True)
class Froc:
    """`false_positives` a slide and `sensitivity` (T,), falling together as `thresholds` (T,) rise to infinity.

    `at` (6,) is the sensitivity at FALSE_POSITIVES, between points of the curve by straight lines.
    """

    thresholds: np.ndarray
    false_positives: np.ndarray
    sensitivity: np.ndarray
    at: np.ndarray

    @property
    def score(self) -> float:
        """The official figure, the mean of `at`, in [0, 1]."""
        return float(self.at.mean())


def froc(slides: Sequence[SlideHits]) -> Froc:
    """The curve over all slides, normal ones included, and the sensitivity at FALSE_POSITIVES.

    As the organisers' code does, the lowest of all distinct scores is no threshold: it takes for granted that a
    missed lesion or an ITC stands there. ValueError where no slide has a lesion that counts.
    """
    hits = np.concatenate([slide.hits for slide in slides] or [np.empty(0)])
    false = np.concatenate([slide.false for slide in slides] or [np.empty(0)])
    if not len(hits):
        raise ValueError("no slide has a lesion that is more than isolated tumour cells")
    unscored = np.full(sum(slide.clusters for slide in slides), NOT_FOUND)
    distinct = np.unique(np.concatenate([hits, false, unscored]))
    thresholds = np.append(distinct[1:], np.inf)
    rate, sensitivity = _reaching(false, thresholds) / len(slides), _reaching(hits, thresholds) / len(hits)
    at = np.interp(FALSE_POSITIVES, rate[::-1], sensitivity[::-1])
    return Froc(thresholds, rate, sensitivity, at)


def _reaching(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many scores are at least as high as each threshold."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def froc_interval(
    slides: Sequence[SlideHits], groups: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of the FROC score by the spread of resampled groups (patients, slides); see `share_limits`.

    `groups` (N,) names each slide's group. A draw without a lesion that counts is left out; None below LEAST_GROUPS
    groups, or where over a tenth of the draws have none. Of a score of 0 or 1 the other end is that of a
    binomial share (Clopper and Pearson) among the groups with lesions.
    """
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) < LEAST_GROUPS:
        return None
    scores = []
    for counts in bootstrap_draws(len(names), draws, seed):
        drawn = [slides[place] for place in np.repeat(np.arange(len(slides)), counts[codes]).tolist()]
        if any(len(slide.hits) for slide in drawn):
            scores.append(froc(drawn).score)
    if len(scores) < 0.9 * draws:
        return None
    found, error = froc(slides).score, float(np.std(scores, ddof=1))
    with_lesions = len({code for code, slide in zip(codes, slides, strict=True) if len(slide.hits)})
    if found in {0, 1}:
        edge = 0.025 ** (1 / with_lesions)
        return (edge, 1.0) if found else (0.0, 1 - edge)
    return share_limits(found, error, with_lesions - 1) if error > 0 and with_lesions > 1 else None
