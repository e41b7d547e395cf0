"""Groups of items as numbers, in the order of their names; each class of anomalies against what is normal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.evaluation.item_figures import by_class, figures, group_codes

NAMES = [f"i{number % 97:02d}-é{number}" for number in range(300)]
GROUPS = {
    "none": None,
    "some": pd.array([None if number % 7 == 0 else f"g{number % 13}" for number in range(300)], dtype="str"),
    "empty": pd.Series([None] * 300, dtype=object),
    "numbers": np.arange(300) % 9,
}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_are_numbered_in_the_order_of_their_names(kind):
    items = pd.DataFrame({"item_id": NAMES})
    names = list(NAMES)
    if GROUPS[kind] is not None:
        items["group"] = GROUPS[kind]
        names = [
            f"item {name}" if pd.isna(group) else str(group)
            for name, group in zip(NAMES, items["group"], strict=True)
        ]
    some = np.arange(0, 300, 2)  # rows of a larger table
    expected = np.unique(np.array(names)[some], return_inverse=True)[1]
    assert np.array_equal(group_codes(items.iloc[some]), expected)


def items(**columns):
    table = pd.DataFrame(columns)
    return table.assign(item_id=[f"i{row}" for row in range(len(table))])


def test_each_class_of_anomalies_is_judged_against_all_normal_items():
    table = items(
        class_name=["n", "n", "m", None, "a", "a", "b", "b", None, None],
        label=pd.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1], "Int8"),
        score=[1.0, 2.0, 3.0, 4.0, 2.5, 9.0, 5.0, 6.0, 0.0, 0.5],
    )
    found = by_class(table, {"b": 3})["class"]
    assert [*found] == ["a", "b", "m", "n"]
    assert [each["auc"] for each in found.values()] == [0.75, 1.0, None, None]
    assert [each["labelled"] for each in found.values()] == [0, 3, 0, 0]
    assert [(each["items"], each["normal"], each["anomaly"]) for each in found.values()] == [
        (2, 0, 2), (2, 0, 2), (1, 1, 0), (2, 2, 0),
    ]  # fmt: skip
    assert {each["labelled"] for each in by_class(table, None)["class"].values()} == {None}


def test_without_normal_items_or_with_two_classes_there_is_no_figure_by_class():
    labels = pd.array([1, 1, 1], "Int8")
    found = by_class(items(class_name=["a", "b", "c"], label=labels, score=[1.0, 2.0, 3.0]), None)["class"]
    assert [each["auc"] for each in found.values()] == [None] * 3
    assert by_class(items(class_name=["a", "b", "b"], label=labels, score=[1.0, 2.0, 3.0]), None) == {}
    assert by_class(items(label=labels, score=[1.0, 2.0, 3.0]), None) == {}


def test_a_class_that_holds_all_anomalies_has_the_figures_of_all_items():
    numbers = np.random.default_rng(4)
    label = np.arange(90) % 2
    table = items(
        class_name=np.where(label == 1, "a", np.where(np.arange(90) < 45, "m", "n")),
        label=label,
        score=np.round(numbers.normal(size=90) + label, 1),
        group=[f"g{row % 12}" for row in range(90)],
    )
    whole, own = figures(table), by_class(table, None)["class"]["a"]
    assert own["auc"] == pytest.approx(whole["auc"])
    assert own["auc_interval"] == pytest.approx(whole["auc_interval"])
