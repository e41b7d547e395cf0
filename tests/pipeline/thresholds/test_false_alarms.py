"""Achieved rates by hand, broken promises, splits by group, archives of another kind."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import t as student

from esad.pipeline.thresholds.conformal import alarms_expected, level_reached, p_values, threshold
from esad.pipeline.thresholds.false_alarms import SPLITS, achieved, over_splits, share_interval


def measured(new, labels, reference, level, groups=None):
    groups = np.arange(len(new)) if groups is None else groups
    p = p_values(new, reference)
    return achieved(p, new > threshold(reference, level), labels, groups, {"": len(reference)}, level)


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
    assert achieved(nothing, np.zeros(3, bool), np.zeros(3, int), np.arange(3), {"": 99}, 0.1) is None
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


def test_the_interval_of_a_share_by_hand():
    """Six groups of 2: their totals less twice the share are 1/3, -2/3 x 2 and so on; t of five degrees, on log odds."""
    chosen, groups = np.array([1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0], bool), np.repeat([3, 9, 4, 7, 1, 0], 2)
    share, apart = 1 / 3, np.array([1, 2, 0, 0, 1, 0]) - 2 / 3
    error = np.sqrt((apart**2).sum() * 6 / 5) / 12
    reach = student.ppf(0.975, 5) * error / (share * (1 - share))
    expected = [1 / (1 + np.exp(-(logit(share) + side * reach))) for side in (-1, 1)]
    assert share_interval(chosen, groups) == pytest.approx(expected)
    assert share_interval(chosen[:10], groups[:10]) is not None  # five groups are enough
    assert share_interval(chosen[:8], groups[:8]) is None
    assert share_interval(np.empty(0, bool), np.empty(0, int)) is None


def test_the_interval_where_all_or_none_are_chosen():
    room = 1 - 0.05 ** (1 / 20)
    assert share_interval(np.zeros(40, bool), np.repeat(np.arange(20), 2)) == (0.0, pytest.approx(room))
    assert share_interval(np.ones(40, bool), np.repeat(np.arange(20), 2)) == (pytest.approx(1 - room), 1.0)


def test_everything_that_is_said_of_achieved_rates_by_hand():
    """Reference 0 to 98; normals at 50, 97.5, 98.5 and 200 in groups 0, 0, 1, 2, one of them without a p-value; anomalies at 300, 1."""
    reference, new = np.arange(99.0), np.array([50.0, 97.5, 98.5, 200.0, 10.0, 300.0, 1.0])
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    p = p_values(new, reference)
    p[3] = np.nan
    found = achieved(
        p, new > threshold(reference, 0.02), labels, np.array([0, 0, 1, 2, 3, 4, 5]), {"": 99}, 0.02
    )
    expected = alarms_expected(99, 0.02, 4)
    assert found == {
        "promised": 0.02, "achieved": 0.5, "interval": None, "expected": list(expected), "normals": 4, "kept": False, "broken": [],
        "anomalies_found": 0.5, "discoveries": {"rate": 0.1, "items": 3, "false": pytest.approx(2 / 3)},
    }  # fmt: skip
    assert p[[1, 2, 5]].tolist() == [0.02, 0.01, 0.01]


def test_a_promise_is_kept_within_what_is_expected_or_where_the_interval_reaches_it():
    """Of 20 groups one is alarmed throughout: 5 of 100 items, where 1 % was promised. Item by item that is too many."""
    reference, groups = np.arange(999.0), np.repeat(np.arange(20), 5)
    new = np.where(groups == 0, 5000.0, 1.0)
    alone = measured(new, np.zeros(100, int), reference, 0.01)
    assert alone["expected"][1] < alone["achieved"] == 0.05
    assert alone["interval"][0] > 0.01
    assert not alone["kept"]
    together = measured(new, np.zeros(100, int), reference, 0.01, groups)
    assert together["interval"][0] <= 0.01 < together["interval"][1]
    assert together["kept"]
    assert together["discoveries"] == {"rate": 0.1, "items": 5, "false": 1.0}
    nothing = measured(np.ones(100), np.zeros(100, int), reference, 0.01, groups)
    assert nothing["discoveries"] == {"rate": 0.1, "items": 0, "false": None}
    assert nothing["anomalies_found"] is None
    assert nothing["kept"]


def test_splits_by_hand():
    """Without ties half of 2 n references promise floor(level (n + 1)) / (n + 1); seeds give other halves, the same seed the same."""
    numbers = np.random.default_rng(3)
    scores, groups, numbers_of_splits = numbers.normal(size=200), np.arange(200), np.random.default_rng(1)
    found = over_splits(scores, groups, 0.1, seed=1)
    assert found == over_splits(scores, groups, 0.1, seed=1)
    assert found != over_splits(scores, groups, 0.1, seed=2)
    assert found["promised"] == pytest.approx(10 / 101)
    assert found["splits"] == SPLITS == 100
    rates = []
    for _ in range(100):
        first = np.isin(groups, numbers_of_splits.permutation(200)[:100])
        rates.append((p_values(scores[~first], scores[first]) <= 10 / 101 + 1e-12).mean())
    assert found["mean"] == pytest.approx(np.mean(rates))
    assert found["highest"] == pytest.approx(np.quantile(rates, 0.95))
    assert over_splits(scores[:39], groups[:39], 0.1) is None
    assert over_splits(scores[:40], groups[:40], 0.1) is not None
    assert over_splits(scores, np.zeros(200, int), 0.1) is None


def test_groups_that_all_agree_do_not_make_a_share_certain():
    chosen = np.tile(np.arange(10) < 3, 6)
    low, high = share_interval(chosen, np.repeat(np.arange(6), 10))
    odds, error = np.log(3 / 7), np.sqrt(0.3 * 0.7 / 60) / (0.3 * 0.7)
    assert low == pytest.approx(1 / (1 + np.exp(-(odds - student.ppf(0.975, 5) * error))))
    assert high == pytest.approx(1 / (1 + np.exp(-(odds + student.ppf(0.975, 5) * error))))


def two_sites(new, references, level=0.01):
    """`achieved` of normals, each beside the references of its own site; both name -> scores."""
    p = np.concatenate([p_values(new[name], references[name]) for name in new])
    alarm = np.concatenate([new[name] > threshold(references[name], level) for name in new])
    own = np.repeat(list(new), [len(each) for each in new.values()])
    counts = {name: len(each) for name, each in references.items()}
    return achieved(p, alarm, np.zeros(len(p), int), np.arange(len(p)), counts, level, own)


def test_a_site_is_held_against_its_own_promise():
    """A: 200 references promise 1 %; B: 3 references promise 25 %. What A breaks, B does not hide."""
    numbers = np.random.default_rng(5)
    references = {"A": numbers.normal(size=200), "B": numbers.normal(size=3)}
    new = {"A": numbers.normal(1.3, 1, 500), "B": numbers.normal(size=20)}
    found = two_sites(new, references)
    assert found["promised"] == pytest.approx((500 * level_reached(0.01, 200) + 20 * 0.25) / 520)
    assert found["expected"][1] < 0.1 < found["achieved"]
    assert not found["kept"]
    assert found["broken"] == ["A"]
    calm = two_sites({**new, "A": numbers.normal(size=500)}, references)
    assert calm["kept"]
    assert calm["broken"] == []


def test_a_small_site_that_breaks_its_promise_is_named_though_the_sum_is_kept():
    numbers = np.random.default_rng(1)
    references = {name: numbers.normal(size=999) for name in "AB"}
    found = two_sites({"A": numbers.normal(size=5000), "B": numbers.normal(2, 1, 40)}, references, 0.05)
    assert found["achieved"] <= found["expected"][1]
    assert found["broken"] == ["B"]
    assert not found["kept"]


def test_among_many_sites_that_keep_their_promise_seldom_one_is_named():
    """Each is judged as one of so many: else of 40 sites one would break a kept promise by chance."""
    numbers, named = np.random.default_rng(2), 0
    for _ in range(40):
        references = {f"s{n}": numbers.normal(size=99) for n in range(40)}
        new = {name: numbers.normal(size=50) for name in references}
        named += bool(two_sites(new, references, 0.05)["broken"])
    assert named <= 5


def test_items_without_a_set_do_not_count_and_few_groups_do_not_break_a_set():
    """Items of a group hang together: four groups of 25 do not tell a broken promise from a strange patient."""
    numbers = np.random.default_rng(3)
    reference = numbers.normal(size=99)
    new = np.r_[numbers.normal(3, 1, 25), numbers.normal(size=75), numbers.normal(9, 1, 10)]
    p, alarm = p_values(new, reference), new > threshold(reference, 0.05)
    own = np.repeat(["A", "A", "A", "A", "C"], [25, 25, 25, 25, 10])
    found = achieved(p, alarm, np.zeros(110, int), np.arange(110) // 25, {"A": 99, "B": 99}, 0.05, own)
    assert found["normals"] == 100
    assert found["broken"] == []
