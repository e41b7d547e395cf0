"""Closed forms, agreement with scikit-learn, the pointing game."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from esad.pipeline.evaluation.measures.metrics import (
    auc,
    average_precision,
    class_weights,
    pointing_game,
    ranked_items,
    roc_points,
    weighted_average_precision,
)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
        ([5, 5, 5, 5], [0, 1, 0, 1], 0.5),
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.875),
        ([1, 3, 2, 4], [0, 0, 1, 1], 0.75),
    ],
)
def test_auc_in_closed_form(scores, labels, expected):
    assert auc(np.array(scores), np.array(labels)) == expected


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60))
def test_both_figures_are_scikit_learns_with_ties(pairs):
    scores, labels = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], int)
    if len(set(labels)) < 2:
        assert auc(scores, labels) is None
        assert average_precision(scores, labels) is None
        return
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    false, true = roc_points(scores, labels)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize(
    ("scores", "labels", "told"),
    [
        ([1, np.nan, 2], [0, 1, 1], "^1 of 3 scores are not finite$"),
        ([1, 2], [0, 2], r"^labels must be 0 \(normal\) or 1 \(anomaly\)$"),
        ([1, 2, 3], [0, 1], r"^scores \(3,\) and labels \(2,\) must be vectors of one length$"),
        ([[1, 2], [3, 4]], [[0, 1], [1, 0]], "must be vectors of one length"),
    ],
)
def test_what_is_no_scores_and_labels_is_refused(scores, labels, told):
    for figure in (auc, average_precision, roc_points):
        with pytest.raises(ValueError, match=told):
            figure(np.array(scores), np.array(labels))


def test_one_class_has_no_figure_and_no_curve():
    for labels in ([0, 0], [1, 1]):
        assert auc(np.arange(2), np.array(labels)) is None
        assert average_precision(np.arange(2), np.array(labels)) is None
        with pytest.raises(ValueError, match=r"^an ROC curve needs both classes$"):
            roc_points(np.arange(2), np.array(labels))
    assert auc(np.empty(0), np.empty(0)) is None


def test_weights_of_several_draws_are_each_their_own():
    """Rows of weights as repeated items; in the last no normal is drawn, in the one before no anomaly."""
    scores, labels = np.array([3.0, 1, 2, 2, 0]), np.array([1, 1, 0, 1, 0])
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 3, 1], [0, 0, 4, 0, 1], [1, 2, 0, 0, 0]])
    anomaly, normal = class_weights(ranked_items(scores, labels), weights.astype(float))
    assert anomaly.tolist() == [[0, 1, 1, 1], [0, 0, 3, 2], [0, 0, 0, 0], [0, 2, 0, 1]]
    assert normal.tolist() == [[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 4, 0], [0, 0, 0, 0]]
    precision = weighted_average_precision(anomaly, normal)
    for row, found in zip(weights[:2], precision, strict=False):
        drawn = np.repeat(np.arange(5), row)
        assert found == pytest.approx(average_precision_score(labels[drawn], scores[drawn]))
    assert np.isnan(precision[2])
    assert precision[3] == 1


def test_roc_points_by_hand():
    false, true = roc_points(np.array([1, 2, 2, 3]), np.array([0, 0, 1, 1]))
    assert false.tolist() == [0, 0, 0.5, 1]
    assert true.tolist() == [0, 0.5, 1, 1]


def test_the_pointing_game_by_hand():
    """An item of 4 x 6 pixels (height, width); the box covers the centres of columns 1 and 2, rows 1 to 3 of which 3 is the last."""
    box = [0.6, 1, 2, 9]
    points = [(1, 1), (2, 3), (0, 1), (3, 1), (1, 0), (2, 1)]
    game = pointing_game(points, [box] * 6, (4, 6))
    assert game.hits.tolist() == [True, True, False, False, False, True]
    assert game.chance == pytest.approx([6 / 24] * 6)
    edge = pointing_game(
        [(0, 0), (1, 0)], [[0.5, -3, 1, 4], [0.5, -3, 1, 4]], (4, 6)
    )  # a centre on the box's left edge is in
    assert edge.hits.tolist() == [True, False]
    assert edge.chance.tolist() == [1 / 24] * 2
    outside = pointing_game([(5, 3)], [[7, 1, 2, 2]], (4, 6))
    assert (outside.hits.tolist(), outside.chance.tolist()) == ([False], [0.0])


@given(st.integers(-3, 9), st.integers(-3, 9), st.floats(0, 9), st.floats(0, 9))
def test_a_random_pixel_hits_as_often_as_chance_says(x, y, width, height):
    points = np.array([(column, row) for row in range(6) for column in range(8)])
    game = pointing_game(points, np.tile([x, y, width, height], (48, 1)), (6, 8))
    assert game.hits.mean() == pytest.approx(game.chance[0])
