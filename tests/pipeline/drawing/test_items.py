"""Which items are drawn: fixed by the seed, half of either kind, and evenly by rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.drawing.items import at_places, drawn_by_seed


def items(normal: int, abnormal: int) -> pd.DataFrame:
    labels = np.repeat([0, 1], [normal, abnormal])
    return pd.DataFrame({"row": np.arange(len(labels)) * 2, "label": labels})


@pytest.mark.parametrize(
    ("normal", "abnormal", "most", "expected"),
    [
        (50, 50, 20, (10, 10)),
        (50, 4, 20, (16, 4)),
        (3, 50, 20, (3, 17)),
        (5, 6, 20, (5, 6)),
        (0, 50, 20, (0, 20)),
        (50, 50, 21, (10, 11)),
    ],
)
def test_half_of_either_kind_is_drawn_and_more_of_one_where_the_other_has_fewer(
    normal, abnormal, most, expected
):
    drawn = drawn_by_seed(items(normal, abnormal), most, 0, 1000)
    found = [int((drawn["label"] == label).sum()) for label in (0, 1)]
    assert tuple(found) == expected
    assert drawn["row"].is_monotonic_increasing
    assert drawn["row"].is_unique


def test_another_seed_draws_others_and_the_same_one_the_same():
    table = items(50, 50)
    first, again, other = (drawn_by_seed(table, 20, seed, 1000)["row"].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_runs_on_one_store_show_the_same_items_as_far_as_they_count_for_them():
    table = items(50, 50)
    fewer = table.drop(index=[3, 60])
    ours, theirs = (set(drawn_by_seed(each, 20, 0, 1000)["row"]) for each in (table, fewer))
    assert len(ours & theirs) >= 18


def test_examples_stand_evenly_between_the_lowest_and_the_highest_score():
    table = pd.DataFrame({"row": range(9), "score": [8.0, 7, 6, 5, 4, 3, 2, 1, 0]})
    found = at_places(table, 5)
    assert found["place"].tolist() == ["lowest", "25 %", "median", "75 %", "highest"]
    assert found["score"].tolist() == [0, 2, 4, 6, 8]
    assert found["rank"].tolist() == [1, 3, 5, 7, 9]
    assert set(found["of"]) == {9}
    assert at_places(table, 1)["place"].tolist() == ["median"]
    assert at_places(table.head(2), 5)["place"].tolist() == ["lowest", "highest"]
    assert at_places(table.head(1), 5)["score"].tolist() == [8]
    assert at_places(table.head(0), 5).empty


def test_items_of_one_score_stand_in_the_order_of_the_store():
    table = pd.DataFrame({"row": [4, 2, 9], "score": [1.0, 1.0, 1.0]})
    assert at_places(table, 3)["row"].tolist() == [2, 4, 9]
