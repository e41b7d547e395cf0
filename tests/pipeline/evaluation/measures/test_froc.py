"""FROC by hand, and against MONAI's where the definitions agree."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.pipeline.evaluation.measures.froc import (
    LEVEL,
    NOT_FOUND,
    Lesions,
    SlideHits,
    find_lesions,
    froc,
    froc_interval,
    measured_mpp,
    outlined_lesions,
    sort_detections,
)
from esad.pipeline.evaluation.measures.intervals import bootstrap_draws
from esad.pipeline.thresholds.shares import share_limits

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


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_lesions_of_outlines_are_those_of_the_whole_mask(seed):
    """Drawn only around the outlines, which may touch or leave the slide; each pixel has the label that it would have."""
    numbers = np.random.default_rng(seed)
    width, height = numbers.integers(40, 90, 2) * PIXEL - numbers.integers(0, PIXEL, 2)
    mask = np.zeros((-(-height // PIXEL), -(-width // PIXEL)), dtype=bool)
    boxes = []
    for _ in range(numbers.integers(0, 5)):
        (left, top), (across, down) = numbers.integers(-5, 85, 2), numbers.integers(1, 40, 2)
        boxes.append(shapely.box(*(PIXEL * np.array([left, top, left + across, top + down]))))
        mask[max(top, 0) : max(top + down, 0), max(left, 0) : max(left + across, 0)] = True
    found, whole = (
        outlined_lesions(shapely.union_all(boxes), int(width), int(height), 0.243),
        find_lesions(mask),
    )
    drawn = np.zeros_like(whole.labels)
    (column, row), (rows, columns) = found.corner, found.labels.shape
    drawn[row : row + rows, column : column + columns] = found.labels
    assert np.array_equal(drawn, whole.labels)
    assert found.clusters == whole.clusters
    points = numbers.uniform(0, 80 * PIXEL, (30, 2))
    ours, theirs = (sort_detections(np.arange(30), points, lesions) for lesions in (found, whole))
    assert np.array_equal(ours.hits, theirs.hits)
    assert np.array_equal(ours.false, theirs.false)


def test_camelyon16s_two_scanners_are_measured_as_one():
    assert measured_mpp(0.226) == measured_mpp(0.243) == measured_mpp(0.25) == 0.243
    assert measured_mpp(0.5) == 0.5


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_only_the_order_of_scores_counts(seed):
    """Quirk included: where nothing is missed and no ITC is there, the lowest score is no threshold."""
    numbers = np.random.default_rng(seed)
    slides = [
        SlideHits(
            numbers.choice([NOT_FOUND, 1, 2, 5], 2),
            numbers.integers(1, 9, 4).astype(float),
            int(numbers.integers(2)),
        )
        for _ in range(3)
    ]
    moved = [SlideHits(-np.exp(-slide.hits), -np.exp(-slide.false), slide.clusters) for slide in slides]
    here, there = froc(slides), froc([SlideHits(m.hits, m.false, m.clusters) for m in moved])
    assert np.array_equal(here.false_positives, there.false_positives)
    assert np.array_equal(here.sensitivity, there.sensitivity)
    alone = froc([SlideHits(np.array([0.9]), np.array([0.1]))])
    assert alone.thresholds.tolist() == [0.9, np.inf]


def test_the_interval_is_of_resampled_slides():
    """Two kinds of slides, all found and none found: the figure of a draw is the share of the first kind."""
    slides = [SlideHits(np.array([score]), np.array([1.0])) for score in (5.0, NOT_FOUND) * 20]
    low, high = froc_interval(slides, np.arange(40))
    spread = 1.96 * np.sqrt(0.25 / 40)
    assert (low, high) == pytest.approx((0.5 - spread, 0.5 + spread), abs=0.04)
    assert froc_interval(slides, np.repeat(np.arange(4), 10)) is None
    few = [SlideHits(np.array([5.0]), np.empty(0))] + [SlideHits(np.empty(0), np.empty(0))] * 9
    assert froc_interval(few, np.arange(10)) is None  # a third of the draws has no lesion


def test_the_interval_has_the_spread_of_naive_resampling_on_log_odds():
    numbers = np.random.default_rng(4)
    slides = [
        SlideHits(numbers.choice([NOT_FOUND, 1.0, 3.0], number % 3), numbers.normal(size=3))
        for number in range(18)
    ]
    groups = np.repeat(np.arange(9), 2)
    scores = []
    for counts in bootstrap_draws(9, 40, 7):
        scores.append(
            froc(
                [slide for slide, group in zip(slides, groups, strict=True) for _ in range(counts[group])]
            ).score
        )
    found, with_lesions = (
        froc(slides).score,
        len({group for slide, group in zip(slides, groups, strict=True) if len(slide.hits)}),
    )
    expected = share_limits(found, np.std(scores, ddof=1), with_lesions - 1)
    assert froc_interval(
        slides, np.array([f"g{group}" for group in groups]), draws=40, seed=7
    ) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("score", "expected"), [(5.0, (0.025 ** (1 / 6), 1.0)), (NOT_FOUND, (0.0, 1 - 0.025 ** (1 / 6)))]
)
def test_of_all_found_or_none_the_other_end_is_clopper_and_pearsons(score, expected):
    slides = [SlideHits(np.array([score]), np.array([1.0]))] * 6
    assert froc_interval(slides, np.arange(6)) == pytest.approx(expected)
    assert froc_interval(slides[:5], np.arange(5)) is not None
    assert froc_interval(slides[:4], np.arange(4)) is None


def test_detections_on_the_edge_of_the_mask_count_and_beside_it_do_not():
    """A lesion that fills its mask of 2 x 3 pixels, which begins at pixel (4, 6) of the level."""
    lesions = Lesions(np.ones((2, 3), int), frozenset(), (4, 6))
    corners = [(4, 6), (6, 6), (4, 7), (6, 7)]
    for place in corners:
        assert sort_detections(np.array([0.5]), np.array([place]) * PIXEL, lesions).hits.tolist() == [0.5]
        assert sort_detections(
            np.array([0.5]), np.array([place]) * PIXEL + PIXEL - 1, lesions
        ).hits.tolist() == [0.5]
    for place in [(3, 6), (7, 6), (4, 5), (4, 8)]:
        found = sort_detections(np.array([0.5]), np.array([place]) * PIXEL, lesions)
        assert (found.hits.tolist(), found.false.tolist()) == ([NOT_FOUND], [0.5])


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
