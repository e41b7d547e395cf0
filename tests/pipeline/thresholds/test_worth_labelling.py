"""What is named to be labelled next: by hand, spread over groups, without what is labelled, has been marked or measures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.thresholds.worth_labelling import ranked, spread, suggestions
from tests.pipeline.test_evaluate import fabricate


def table(scores, threshold):
    return pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(len(scores))], "score": scores, "threshold": threshold}
    )


def test_the_highest_and_those_at_the_threshold_come_first():
    found = table([0.0, 9.0, 3.0, 4.0, 5.0, 2.0], 3.5)
    assert ranked(found, "highest")[:3].tolist() == [1, 4, 3]
    assert set(ranked(found, "uncertain")[:2].tolist()) == {2, 3}
    below = table([1.0, 2.0, 3.0], 50.0)
    assert ranked(below, "uncertain").tolist() == [2, 1, 0]


def test_each_item_is_as_near_as_it_is_to_its_own_threshold():
    """Site A has 50 items around its threshold, B 10 far below or around another one, C none."""
    sites = [
        table(np.linspace(0, 20, 50), 10.0),
        table(np.linspace(15, 200, 10), 100.0),
        table(np.full(5, 9.9), np.nan),
    ]
    found = pd.concat(sites, ignore_index=True)
    alone = ranked(sites[0], "uncertain").tolist()
    order = ranked(found, "uncertain").tolist()
    assert sorted(order) == list(range(60))  # nothing of C
    assert [place for place in order if place < 50] == alone
    assert order[:8] == alone[:8]  # the nearest of B is one of five on its side: no nearer than those
    assert set(order[8:14]) & {54, 55} == {54, 55}  # B's scores 97 and 118
    far = found.assign(threshold=found["threshold"].replace(100.0, 1000.0))
    assert ranked(far, "uncertain")[:6].tolist() == alone[:6]
    assert suggestions(found.tail(5), np.arange(5), 3, ["uncertain"]).empty


def test_each_group_has_its_turn():
    groups = np.array(["a", "a", "b", "a", "c"])
    assert spread([0, 1, 2, 3, 4], groups, 4) == [0, 2, 4, 1]
    assert spread([3, 1], groups, 9) == [3, 1]


@pytest.mark.parametrize("count", [1, 2, 5, 10, 50])
def test_ways_share_the_number_and_name_nothing_twice(count):
    numbers = np.random.default_rng(0)
    given = table(numbers.normal(size=12), 1.0)
    found = suggestions(given, np.arange(12), count)
    assert len(found) == min(count, 12)
    assert found["item_id"].is_unique
    if count < 12:
        shares = [(found["why"] == way).sum() for way in ("random", "highest", "uncertain")]
        assert shares == [count // 3, 2 * count // 3 - count // 3, count - 2 * count // 3]


def test_the_random_order_is_the_same_each_time_whatever_the_scores():
    numbers = np.random.default_rng(1)
    one, other = (table(numbers.normal(size=50), 1.0) for _ in range(2))
    assert ranked(one, "random").tolist() == ranked(other, "random").tolist()
    assert sorted(ranked(one, "random")) == list(range(50))
    fewer = one.drop(index=[3, 7]).reset_index(drop=True)
    names = [given["item_id"].to_numpy()[ranked(given, "random")].tolist() for given in (one, fewer)]
    assert [name for name in names[0] if name not in ("i3", "i7")] == names[1]
    assert abs(np.corrcoef(ranked(one, "random"), np.arange(50))[0, 1]) < 0.4


def listed(run, out, *words, status=0):
    assert call(["suggest", str(run), "--out", str(out), *words]) == status
    return pd.read_csv(out, dtype="string") if status == 0 else None


def test_what_is_labelled_marked_or_measures_is_left_out(tmp_path, capsys):
    label = pd.array([None] * 30 + [1] * 5 + [0] * 5, dtype="Int8")
    run = fabricate(tmp_path, "radiographs", label=label, part=["train"] * 25 + ["test"] * 15)
    found = listed(run, tmp_path / "a.csv", "--count", "100", "--json")
    assert json.loads(capsys.readouterr().out)["items"] == len(found) == 24
    assert set(found["item_id"]) == {
        f"i{n}" for n in range(24)
    }  # i24 is of a group that has items in the test part
    assert found["label"].isna().all()
    found.head(10).assign(label=1).to_csv(tmp_path / "marks.csv", index=False)
    rest = listed(
        run, tmp_path / "b.csv", "--labels", str(tmp_path / "marks.csv"), "--count", "4", "--way", "highest"
    )
    assert len(rest) == 4
    assert not set(rest["item_id"]) & set(found["item_id"].head(10))
    assert (rest["why"] == "highest").all()


def test_wrong_use(tmp_path):
    run = fabricate(tmp_path, "radiographs")
    listed(run, tmp_path / "a.csv", "--way", "luck", status=2)
