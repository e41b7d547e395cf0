"""Closed forms, agreement with scikit-learn, and the bootstrap against naive resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from esad.pipeline.evaluation import metrics
from esad.pipeline.evaluation.metrics import (
    areas_by_class,
    auc,
    average_precision,
    bootstrap_draws,
    bootstrap_intervals,
    pointing_game,
    roc_points,
    separated_interval,
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


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        auc(np.array([1, np.nan]), np.array([0, 1]))


def _example(seed: int, groups: int = 12):
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, 2, 90)
    return np.round(numbers.normal(size=90) + labels, 1), labels, np.arange(90) % groups


@given(st.integers(0, 50))
@settings(max_examples=8, deadline=None)
def test_weighted_bootstrap_equals_naive_resampling(seed):
    scores, labels, groups = _example(seed)
    areas, precisions = [], []
    for counts in bootstrap_draws(12, 60, seed):
        rows = np.concatenate([np.tile(np.flatnonzero(groups == g), n) for g, n in enumerate(counts)])
        areas.append(roc_auc_score(labels[rows], scores[rows]))
        precisions.append(average_precision_score(labels[rows], scores[rows]))
    names = np.array([f"g{g:02d}" for g in groups])
    found = bootstrap_intervals(scores, labels, names, draws=60, seed=seed)
    assert found.auc == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])))
    assert found.average_precision == pytest.approx(tuple(np.percentile(precisions, [2.5, 97.5])))


@pytest.mark.parametrize("chunk", [1, 100, 10_000_000])
def test_draws_made_piece_by_piece_are_those_made_at_once(monkeypatch, chunk):
    scores, labels, groups = _example(3)
    names = np.array([f"g{g:02d}" for g in groups])
    whole = bootstrap_intervals(scores, labels, names, draws=60, seed=5)
    monkeypatch.setattr(metrics, "CHUNK", chunk)
    assert bootstrap_intervals(scores, labels, names, draws=60, seed=5) == whole
    expected = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=60)
    monkeypatch.setattr(metrics, "_draws", lambda *_: [expected])
    assert bootstrap_intervals(scores, labels, names, draws=60, seed=5) == whole


def test_intervals_hold_the_figure_and_are_wider_for_fewer_groups():
    scores, labels, _ = _example(1)
    each = bootstrap_intervals(scores, labels, np.arange(90)).auc
    doubled = bootstrap_intervals(np.tile(scores, 4), np.tile(labels, 4), np.arange(360)).auc
    assert each[0] < auc(scores, labels) < each[1]
    assert doubled[1] - doubled[0] < each[1] - each[0]


def test_no_interval_below_five_groups_or_where_one_group_holds_a_class():
    scores, labels, groups = _example(2)
    assert bootstrap_intervals(scores, labels, groups % 4).auc is None
    assert bootstrap_intervals(scores, labels, groups % 5).auc is not None
    assert bootstrap_intervals(scores, (groups == 0).astype(int), groups).auc is None


@given(st.integers(-3, 9), st.integers(-3, 9), st.floats(0, 9), st.floats(0, 9))
def test_a_random_pixel_hits_as_often_as_chance_says(x, y, width, height):
    points = np.array([(column, row) for row in range(6) for column in range(8)])
    game = pointing_game(points, np.tile([x, y, width, height], (48, 1)), (6, 8))
    assert game.hits.mean() == pytest.approx(game.chance[0])


def test_where_every_draw_is_perfect_the_interval_is_no_point():
    scores, labels = np.arange(40.0), np.repeat([0, 1], 20)
    found = bootstrap_intervals(scores, labels, np.arange(40))
    low, high = found.auc
    assert 0.8 < low < 0.99
    assert high == 1
    assert found.average_precision is None
    turned = bootstrap_intervals(-scores, labels, np.arange(40)).auc
    assert turned == pytest.approx((0, 1 - low))


def test_the_interval_of_a_perfect_figure_solves_its_equation_and_narrows_with_more_items():
    low, high = separated_interval(1.0, 10, 30)
    more, pairs = 19, 300
    variance = low * (1 - low) * (1 + more * ((1 - low) / (2 - low) + low / (1 + low))) / pairs
    assert (1 - low) == pytest.approx(1.96 * np.sqrt(variance), rel=1e-6)
    assert high == 1
    assert separated_interval(1.0, 100, 300)[0] > low


def test_tied_scores_have_no_interval():
    assert bootstrap_intervals(np.ones(40), np.repeat([0, 1], 20), np.arange(40)).auc is None


@pytest.mark.parametrize("chunk", [1, 1_000_000])
def test_intervals_by_class_are_those_of_naive_resampling(monkeypatch, chunk):
    monkeypatch.setattr(metrics, "CHUNK", chunk)
    scores, labels, groups = _example(3)
    classes = np.arange(90) % 4
    drawn = {name: [] for name in range(4)}
    for counts in bootstrap_draws(12, 200, 5):
        repeated = np.repeat(np.arange(90), counts[groups])
        for name, areas in drawn.items():
            kept = repeated[(labels[repeated] == 0) | (classes[repeated] == name)]
            areas.append(auc(scores[kept], labels[kept]))
    found = areas_by_class(scores, labels, groups, classes, 200, 5)
    assert sorted(found) == [0, 1, 2, 3]
    for name, (area, interval) in found.items():
        kept = (labels == 0) | (classes == name)
        assert area == pytest.approx(auc(scores[kept], labels[kept]))
        assert interval == pytest.approx(tuple(np.nanpercentile(np.array(drawn[name], float), [2.5, 97.5])))


def test_a_class_of_one_group_a_perfect_one_and_few_groups_have_the_intervals_of_all_items():
    labels = np.array([0] * 20 + [1] * 21)
    scores, groups = np.arange(41.0), np.arange(41)
    scores[40] = 10.5
    classes = np.array([0] * 20 + [1] * 20 + [2])
    found = areas_by_class(scores, labels, groups, classes)
    assert found[1] == (1.0, separated_interval(1.0, 20, 20))
    assert found[2] == (11 / 20, None)
    assert areas_by_class(scores, labels, groups % 4, classes)[1] == (1.0, None)
    assert areas_by_class(scores[20:], labels[20:], groups[20:], classes[20:]) == {}
