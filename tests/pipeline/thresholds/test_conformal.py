"""p-values by hand and by definition, what thresholds promise on exchangeable scores, closed forms of the bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from esad.pipeline.thresholds.conformal import (
    alarms_expected,
    alarms_expected_of,
    colour_ends,
    discoveries,
    fewest_normals,
    level_reached,
    p_values,
    rank_of,
    rate_bounds,
    threshold,
)

scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)


def test_p_values_by_hand():
    assert p_values(np.array([0.0, 2.0, 2.5, 9.0]), np.array([3.0, 1.0, 2.0])).tolist() == [
        1,
        0.75,
        0.5,
        0.25,
    ]


@given(scores, scores, st.floats(0.01, 0.5))
def test_above_the_threshold_is_a_p_value_of_at_most_the_level(new, reference, level):
    new, reference = np.array(new), np.array(reference)
    p = p_values(new, reference)
    assert p.tolist() == [(1 + sum(r >= s for r in reference)) / (1 + len(reference)) for s in new]
    reached = level_reached(level, len(reference))
    assert ((new > threshold(reference, level)) == (p <= reached + 1e-12)).all()
    assert reached <= max(level, 1 / (len(reference) + 1)) + 1e-12


@pytest.mark.parametrize(("level", "fewest"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.3, 3)])
def test_so_many_normals_are_needed_and_enough(level, fewest):
    assert fewest_normals(level) == fewest
    assert level_reached(level, fewest) <= level + 1e-12
    assert level_reached(level, fewest - 1) > level


def test_a_new_normal_is_an_alarm_as_often_as_promised():
    numbers = np.random.default_rng(0)
    drawn = numbers.normal(size=(20_000, 40))
    alarms = [row[39] > threshold(row[:39], 0.05) for row in drawn]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.005)  # exactly 2 / 40, and three standard errors


def test_given_the_reference_the_rate_is_a_beta_draw():
    numbers = np.random.default_rng(1)
    reference = np.sort(numbers.random((20_000, 99)), axis=1)
    rates = 1 - np.array(
        [threshold(row, 0.05) for row in reference]
    )  # uniform scores: the share of new ones above
    assert rank_of(0.05, 99) == 5
    low, high = rate_bounds(99, 0.05)
    assert (low, high) == pytest.approx(beta.ppf([0.025, 0.975], 5, 95))
    assert np.mean((rates > low) & (rates < high)) == pytest.approx(0.95, abs=0.005)


def test_the_expected_share_of_alarms_holds_for_normals_of_any_law():
    numbers = np.random.default_rng(2)
    low, high = alarms_expected(99, 0.1, 50)
    drawn = numbers.exponential(size=(5000, 149))
    shares = np.array([(row[99:] > threshold(row[:99], 0.1)).mean() for row in drawn])
    assert np.mean((shares >= low) & (shares <= high)) > 0.94
    assert np.mean(shares < low) < 0.03


def test_discoveries_are_benjamini_hochbergs_and_what_has_no_p_value_is_none():
    p = np.array([0.01, np.nan, 0.02, 0.03, 0.9])
    assert discoveries(p, 0.05).tolist() == [True, False, True, True, False]
    assert not discoveries(np.full(3, np.nan), 0.5).any()


def test_few_of_what_benjamini_hochberg_names_are_false():
    numbers, false = np.random.default_rng(3), []
    for _ in range(300):
        reference, normal, anomaly = (
            numbers.normal(size=999),
            numbers.normal(size=180),
            numbers.normal(4, 1, 20),
        )
        named = discoveries(p_values(np.concatenate([normal, anomaly]), reference), 0.1)
        false.append(named[:180].sum() / max(named.sum(), 1))
    assert np.mean(false) < 0.1


def test_the_expected_share_is_the_beta_binomial_laws_by_enumeration():
    """Of every order of 9 reference and 6 new normals, equally likely: how many new ones lie above the 2nd highest reference."""
    normals, new, level = 9, 6, 0.2
    places = itertools.combinations(range(normals + new), new)
    counts = np.array(
        [
            sum(place > sorted(set(range(normals + new)) - set(chosen))[-2] for place in chosen)
            for chosen in places
        ]
    )
    held = np.sort(counts)
    below, above = (np.quantile(held, tail, method="inverted_cdf") for tail in (0.025, 0.975))
    assert alarms_expected(normals, level, new) == (below / new, above / new)
    narrow = tuple(np.quantile(held, tail, method="inverted_cdf") / new for tail in (0.25, 0.75))
    assert alarms_expected(normals, level, new, confidence=0.5) == narrow


def test_p_values_and_thresholds_of_whole_numbers_with_ties():
    reference = np.array([3, 1, 2, 2])
    assert p_values(np.array([2, 0, 3, 4]), reference).tolist() == [4 / 5, 1, 2 / 5, 1 / 5]
    assert threshold(reference, 0.4) == 2.0
    assert isinstance(threshold(reference, 0.4), float)


def test_a_p_value_at_the_bound_of_benjamini_hochberg_is_a_discovery():
    found = discoveries(np.array([0.05, np.nan, 0.9, 0.1]), 0.15)
    assert found.dtype == bool
    assert found.tolist() == [True, False, False, True]
    assert discoveries(np.array([0.05, np.nan, 0.9, 0.1]), 0.149).tolist() == [False] * 4


def test_bounds_and_colours_by_hand():
    """One normal of one: its rate is uniform. Colours begin at the level reached and end above all normals."""
    assert rate_bounds(1, 0.5) == pytest.approx((0.025, 0.975))
    assert rate_bounds(1, 0.5, confidence=0.5) == pytest.approx((0.25, 0.75))
    low, high = rate_bounds(9, 0.2)
    assert (low, high) == pytest.approx((beta.ppf(0.025, 2, 8), beta.ppf(0.975, 2, 8)))
    assert colour_ends(0.2, 9) == (pytest.approx(0.2), pytest.approx(0.1))
    assert colour_ends(0.01, 200, 3, 99) == (0.25, 1 / 201)  # of several sets


def test_the_alarms_of_several_sets_are_a_sum_of_independent_ones():
    """By hand: one normal of one each, whose rate is uniform, so that 0 and 1 alarms are as likely; and drawn, of three sizes."""
    assert alarms_expected_of([(1, 1), (1, 1)], 0.5, confidence=0.4) == (
        0.5,
        0.5,
    )  # 0, 1, 2 alarms at 1/4, 1/2, 1/4
    assert alarms_expected_of([(99, 50)], 0.1) == alarms_expected(99, 0.1, 50)
    sets, numbers = [(3, 20), (99, 300), (30, 45)], np.random.default_rng(4)
    drawn = np.zeros(20_000)
    for normals, new in sets:
        rank = rank_of(0.05, normals)
        drawn += numbers.binomial(new, numbers.beta(rank, normals + 1 - rank, len(drawn)))
    low, high = alarms_expected_of(sets, 0.05)
    assert (365 * low, 365 * high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1)
