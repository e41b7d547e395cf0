"""FROC by hand, and against MONAI's where the definitions agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.froc import LEVEL, NOT_FOUND, Lesions, SlideHits, find_lesions, froc, sort_detections

PIXEL = 2**LEVEL


def square(side, *corners, size=60):
    mask = np.zeros((size, size), dtype=bool)
    for row, column in corners:
        mask[row : row + side, column : column + side] = True
    return mask


def test_lesions_grow_by_half_the_nearness_and_merge():
    alone = find_lesions(square(1, (30, 30)))
    assert alone.count == 1
    assert alone.labels.astype(bool).sum() == sum(
        np.hypot(x, y) < 4.8225 for x in range(-5, 6) for y in range(-5, 6)
    )
    assert find_lesions(square(3, (20, 20), (20, 31))).count == 1  # 8 pixels between: both grow by 4
    assert find_lesions(square(3, (20, 20), (20, 32))).count == 2
    ring = square(20, (20, 20)) & ~square(4, (28, 28))
    assert find_lesions(ring).labels[30, 30] == 1
    assert find_lesions(np.zeros((9, 9), bool)).count == 0


def test_small_lesions_are_isolated_cells():
    """The limit is a major axis of 275 um, 35.4 pixels: 4 standard deviations' worth of the grown region."""
    assert find_lesions(square(2, (30, 30))).clusters == {1}
    assert find_lesions(square(40, (10, 10))).clusters == frozenset()


def lesions():
    labels = np.zeros((20, 20), dtype=int)
    labels[2:6, 2:6], labels[10:14, 10:14], labels[16:18, 2:4] = 1, 2, 3
    return Lesions(labels, frozenset({3}))


def test_detections_are_hits_false_or_nothing():
    points = np.array([[3, 3], [4, 4], [11, 11], [2, 16], [0, 0], [500, 3]]) * PIXEL
    sorted_out = sort_detections(np.array([0.5, 0.9, 0.3, 0.99, 0.2, 0.1]), points, lesions())
    assert sorted_out.hits.tolist() == [0.9, 0.3]
    assert sorted_out.false.tolist() == [0.2, 0.1]
    normal = sort_detections(np.array([0.7]), points[:1], None)
    assert (normal.hits.tolist(), normal.false.tolist()) == ([], [0.7])
    missed = sort_detections(np.empty(0), np.empty((0, 2)), lesions())
    assert missed.hits.tolist() == [NOT_FOUND, NOT_FOUND]


def test_the_curve_by_hand():
    """Two slides, three lesions (one missed), two false alarms: thresholds 0.2, 0.5, 0.8, 0.9; 0 is the lowest."""
    curve = froc(
        [SlideHits(np.array([0.9, 0.5, 0.0]), np.array([0.2])), SlideHits(np.empty(0), np.array([0.8]))]
    )
    assert curve.false_positives.tolist() == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert curve.sensitivity == pytest.approx(np.array([2, 2, 1, 1, 0]) / 3)
    # at 1/4: between (0, 1/3) and (0.5, 1/3); at 1/2: the last of the equal rates; from 1 on 2/3
    assert curve.score == pytest.approx(np.mean([1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3]))


def test_without_a_lesion_there_is_no_curve():
    with pytest.raises(ValueError, match="isolated"):
        froc([SlideHits(np.empty(0), np.array([0.8]))])


@given(seed=st.integers(0, 2**31), slides=st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_monai_agrees(seed, slides):
    from monai.metrics import compute_fp_tp_probs, compute_froc_curve_data, compute_froc_score

    numbers = np.random.default_rng(seed)
    ours, false, hits, targets = [], [], [], 0
    for number in range(slides):
        found = lesions() if number % 2 == 0 else None
        count = int(numbers.integers(1, 12))
        scores = numbers.integers(1, 128, count) / 128  # MONAI rounds hits to float32
        points = numbers.integers(0, 20 * PIXEL, (count, 2))
        ours.append(sort_detections(scores, points, found))
        labels = found.labels if found else np.zeros((20, 20), dtype=int)
        excluded = list(found.clusters) if found else []
        f, t, n = compute_fp_tp_probs(scores, points[:, 1], points[:, 0], labels, excluded, LEVEL)
        false, hits, targets = false + list(f), hits + list(t), targets + n
    curve = froc(ours)
    rate, sensitivity = compute_froc_curve_data(np.array(false), np.array(hits), targets, slides)
    assert curve.false_positives == pytest.approx(rate)
    assert curve.sensitivity == pytest.approx(sensitivity)
    assert curve.score == pytest.approx(compute_froc_score(rate, sensitivity))
