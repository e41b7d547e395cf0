"""Achieved rates by hand, broken promises, splits by group, archives of another kind."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import t as student

from esad.pipeline.thresholds.conformal import p_values, threshold
from esad.pipeline.thresholds.false_alarms import achieved, over_splits, share_interval


def measured(new, labels, reference, level, groups=None):
    groups = np.arange(len(new)) if groups is None else groups
    p = p_values(new, reference)
    return achieved(p, new > threshold(reference, level), labels, groups, len(reference), level)


def test_rates_by_hand():
    reference, new = np.arange(99.0), np.array([1.0, 50.0, 98.5, 97.5, 200.0, 300.0, 5.0])
    found = measured(new, np.array([0, 0, 0, 0, 1, 1, 1]), reference, 0.02)
    assert found["achieved"] == 0.5  # above 97: 98.5 and 97.5
    assert found["anomalies_found"] == pytest.approx(2 / 3)
    assert (found["normals"], found["promised"]) == (4, 0.02)
    assert found["interval"] is None  # four groups
    assert not found["kept"]


def test_kept_and_broken_promises():
    numbers = np.random.default_rng(0)
    reference = numbers.normal(size=999)
    kept = measured(numbers.normal(size=500), np.zeros(500, int), reference, 0.05)
    assert kept["kept"]
    assert kept["expected"][0] <= kept["achieved"] <= kept["expected"][1]
    assert kept["interval"][0] < kept["achieved"] < kept["interval"][1]
    moved = measured(numbers.normal(1, 1, size=500), np.zeros(500, int), reference, 0.05)
    assert not moved["kept"]
    assert moved["achieved"] > 0.15


def test_without_normals_or_p_values_there_is_no_rate():
    nothing = np.full(3, np.nan)
    assert achieved(nothing, np.zeros(3, bool), np.zeros(3, int), np.arange(3), 99, 0.1) is None
    assert measured(np.array([5.0]), np.array([1]), np.arange(9.0), 0.1) is None


def test_items_of_a_group_widen_the_interval():
    chosen = np.repeat(np.arange(20) < 5, 10)
    alone, together = (
        share_interval(chosen, np.arange(200)),
        share_interval(chosen, np.repeat(np.arange(20), 10)),
    )
    width = [logit(high) - logit(low) for low, high in (alone, together)]
    sure = student.ppf(0.975, 19) / student.ppf(0.975, 199)
    assert width[1] / width[0] == pytest.approx(sure * np.sqrt(10 * (20 / 19) / (200 / 199)), rel=1e-6)
    assert share_interval(np.zeros(60, bool), np.arange(60)) == (0.0, pytest.approx(1 - 0.05 ** (1 / 60)))


def test_splits_keep_groups_whole_and_meet_the_promise_on_average():
    numbers = np.random.default_rng(0)
    found = over_splits(numbers.normal(size=400), np.repeat(np.arange(100), 4), 0.05)
    assert found["splits"] == 100
    assert found["mean"] == pytest.approx(0.05, abs=0.01)
    assert found["highest"] > found["mean"]
    assert over_splits(numbers.normal(size=30), np.arange(30), 0.05) is None
    assert over_splits(numbers.normal(size=300), np.zeros(300), 0.05) is None


def test_halves_too_small_for_the_level_promise_what_they_can():
    """An alarm at 1 % needs 99 references; 30 promise 1 in 31, which is also what comes."""
    found = over_splits(np.random.default_rng(1).normal(size=60), np.arange(60), 0.01)
    assert found["promised"] == pytest.approx(1 / 31)
    assert found["mean"] == pytest.approx(1 / 31, rel=0.4)


def test_by_group_the_highest_score_counts():
    scores = np.random.default_rng(2).normal(size=400)
    groups = np.repeat(np.arange(100), 4)
    highest = scores.reshape(100, 4).max(1)
    assert over_splits(scores, groups, 0.05, per_group=True) == over_splits(highest, np.arange(100), 0.05)
