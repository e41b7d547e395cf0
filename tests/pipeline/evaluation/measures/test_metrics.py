"""Closed forms, agreement with scikit-learn, the pointing game."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from esad.pipeline.evaluation.measures.metrics import auc, average_precision, pointing_game, roc_points


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


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        auc(np.array([1, np.nan]), np.array([0, 1]))


@given(st.integers(-3, 9), st.integers(-3, 9), st.floats(0, 9), st.floats(0, 9))
def test_a_random_pixel_hits_as_often_as_chance_says(x, y, width, height):
    points = np.array([(column, row) for row in range(6) for column in range(8)])
    game = pointing_game(points, np.tile([x, y, width, height], (48, 1)), (6, 8))
    assert game.hits.mean() == pytest.approx(game.chance[0])
