"""Reference sets: all normals, by a column, by group; what is said where they are too few, missing or training items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.stage.errors import UsageError
from esad.pipeline.thresholds.reference_sets import ReferenceSets, Rule


def normals(count=200, **columns):
    return pd.DataFrame(
        {
            "item_id": [f"n{n}" for n in range(count)], "score": np.arange(float(count)), "part": "validation",
            "view": np.where(np.arange(count) % 2, "PA", "AP"), "group": [f"g{n // 4}" for n in range(count)],
        }
    ).assign(**columns)  # fmt: skip


def test_one_set_for_all():
    sets = ReferenceSets.of(normals(), Rule(), "run")
    p, at = sets.compare(np.array([-1.0, 198.0, 500.0]), None)
    assert p == pytest.approx([1, 3 / 201, 1 / 201])
    assert at.tolist() == [198.0] * 3  # floor(0.01 * 201) = 2: the second highest
    assert sets.warnings() == []
    assert sets.promise() == "0.995 % of normals, promised by 200 held out"
    assert sets.described()["sets"][0] | {"rate_bounds": None} == {
        "name": "", "normals": 200, "threshold": 198.0, "level": 2 / 201, "rate_bounds": None
    }  # fmt: skip


def test_each_projection_has_its_own_and_one_without_normals_has_none():
    sets = ReferenceSets.of(normals(), Rule(level=0.05, by="view"), "run")
    names = pd.Series(["AP", "PA", "LL", None])
    p, at = sets.compare(np.array([150.0] * 4), names)
    assert p[:2] == pytest.approx(
        [(1 + 25) / 101, (1 + 25) / 101]
    )  # of AP 150, 152, …, of PA 151, 153, … 199
    assert at[:2].tolist() == [190.0, 191.0]
    assert np.isnan(p[2:]).all()
    assert np.isnan(at[2:]).all()
    assert "2 items have no reference normals of their view" in sets.warnings(2)[0]
    everywhere = sets.compare(np.array([1.0]), None)[0]
    assert np.isnan(everywhere).all()  # a store without the column


def test_a_group_counts_once_with_its_highest_score():
    sets = ReferenceSets.of(normals(), Rule(level=0.1, per_group=True), "run")
    assert sets.scores[""].tolist() == [4.0 * n + 3 for n in range(50)]
    assert sets.groups == 50
    assert "50 held out groups" in sets.promise()
    alone = ReferenceSets.of(
        normals(group=[None, None, *["g"] * 198]), Rule(level=0.1, per_group=True), "run"
    )
    assert alone.scores[""].tolist() == [0.0, 1.0, 199.0]  # without a group each stands for itself


def test_a_group_of_dependent_items_keeps_the_promise_where_items_do_not():
    """Scores of a patient hang together: the highest of a new patient's ten items is above the threshold by items far too often."""
    numbers, level = np.random.default_rng(0), 0.1
    alarms = {False: [], True: []}
    for _ in range(300):
        table = normals(400, group=np.repeat(np.arange(40), 10).astype(str))
        table["score"] = np.repeat(numbers.normal(size=40), 10) + numbers.normal(size=400)
        new = numbers.normal() + numbers.normal(size=10)
        for per_group, found in alarms.items():
            sets = ReferenceSets.of(table, Rule(level=level, per_group=per_group), "run")
            found.append((new > sets.compare(new, None)[1]).any())
    assert np.mean(alarms[True]) < 0.15
    assert np.mean(alarms[False]) > 0.25


def test_what_makes_the_promise_weaker_is_said():
    few = ReferenceSets.of(normals(30), Rule(), "run")
    assert few.compare(np.array([29.0, 29.5]), None)[1].tolist() == [29.0, 29.0]
    assert few.warnings() == [
        "Only 30 normal items were held out, and 1 % needs 99: hold out more (data.validation_share), or take a higher "
        "--false-alarms."
    ]
    assert few.promise() == "3.23 % of normals, promised by 30 held out"
    trained = ReferenceSets.of(normals(part="train"), Rule(), "run")
    assert "are training items" in trained.warnings()[0]
    assert ReferenceSets.of(normals().drop(columns="part"), Rule(), "run").held_out is None


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Rule(by="colour"), "--by colour: expected one of view, site, source"),
        (Rule(by="site"), "--by: the reference normals of run have no site"),
        (Rule(per_group=True), "--per-group: the reference normals of run have no group"),
    ],
)
def test_what_the_normals_do_not_say_is_wrong_use(rule, told):
    with pytest.raises(UsageError, match=told):
        ReferenceSets.of(normals(group=None), rule, "run")


def test_the_promise_says_its_range_and_whose_normals_give_it():
    view = np.where(np.arange(116) < 17, "AP", "PA")
    by_view = ReferenceSets.of(normals(116, view=view), Rule(by="view"), "run")
    assert by_view.colour_ends == (1 / 18, 1 / 100)
    assert by_view.promise() == "1 % to 5.56 % of normals, promised by 17 to 99 by view"
    trained = normals(116, view=view, part="train")
    assert ReferenceSets.of(trained, Rule(), "run").promise().endswith("promised by 116 training items")
    assert (
        ReferenceSets.of(trained, Rule(by="view"), "run")
        .promise()
        .endswith("17 to 99 training items by view")
    )
    assert ReferenceSets.of(trained, Rule(per_group=True), "run").promise().endswith("29 training groups")
    unsaid = normals(30).drop(columns="part")
    assert ReferenceSets.of(unsaid, Rule(), "run").promise() == "3.23 % of normals, promised by 30"
    for few in (unsaid, trained.head(30)):
        assert "held out" not in " ".join(ReferenceSets.of(few, Rule(), "run").warnings()).replace(
            "hold out", ""
        )
