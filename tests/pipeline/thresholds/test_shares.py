"""Intervals of shares on log odds, by hand and at the edges of float64."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student

from esad.pipeline.thresholds.shares import freedom_of, share_limits


@pytest.mark.parametrize(("share", "error", "freedom"), [(0.5, 0.1, 9), (0.98, 0.03, 4.5), (1e-6, 1e-7, 100)])
def test_limits_are_symmetrical_on_log_odds_with_students_t(share, error, freedom):
    reach = student.ppf(0.975, freedom) * error / (share * (1 - share))
    expected = expit(logit(share) - reach), expit(logit(share) + reach)
    assert share_limits(share, error, freedom) == pytest.approx(expected)


def test_limits_turn_with_the_share_and_stay_within_0_and_1():
    low, high = share_limits(0.9, 0.05, 6)
    assert share_limits(0.1, 0.05, 6) == pytest.approx((1 - high, 1 - low))
    assert share_limits(0.5, 0.0, 3) == (0.5, 0.5)
    for share in (1e-12, 0.5, 1 - 1e-12):
        low, high = share_limits(share, 1.0, 1)  # further than float64 goes
        assert 0 <= low < 1e-9
        assert 1 - 1e-9 < high <= 1


def test_degrees_of_freedom_by_hand():
    assert freedom_of([(2.0, 11)]) == pytest.approx(10)
    assert freedom_of([(1.0, 5), (1.0, 5)]) == pytest.approx(
        8
    )  # as many as both together, where they vary alike
    assert freedom_of([(3.0, 4), (0.5, 21)]) == pytest.approx(3.5**2 / (9 / 3 + 0.25 / 20))
    assert freedom_of([(3.0, 3), (1e-9, 1)]) == pytest.approx(
        2
    )  # one group varies by nothing that could be known
    assert freedom_of([(1.0, 2), (1.0, 1)]) == pytest.approx(4)
    assert freedom_of([(0.2, 2)]) == 1.0
    assert freedom_of([(1.0, 1)]) == freedom_of([]) == freedom_of([(0.0, 9)]) == 1.0
    assert freedom_of([(0.01, 2), (1.0, 1)]) == pytest.approx(1.01**2 / 1e-4)
    assert freedom_of([(1e-3, 3)]) == pytest.approx(2)
    assert np.isclose(freedom_of([(0.5, 3), (0.1, 40)]), 0.36 / (0.125 + 0.01 / 39))
