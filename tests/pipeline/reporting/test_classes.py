"""Each class of anomalies against what is normal."""

from __future__ import annotations

import pandas as pd

from esad.pipeline.reporting.classes import class_rows


def items(**columns):
    return pd.DataFrame(columns)


def test_the_least_found_class_comes_first_and_normal_ones_last():
    table = items(
        class_name=["n", "n", "n", "n", "a", "a", "b", "b", None],
        label=pd.array([0, 0, 0, 0, 1, 1, 1, 1, None], "Int8"),
        score=[1.0, 2.0, 3.0, 4.0, 2.5, 9.0, 5.0, 6.0, 7.0],
    )
    assert class_rows(table) == [
        {"name": "a", "normal": False, "items": 2, "auc": 0.75},
        {"name": "b", "normal": False, "items": 2, "auc": 1.0},
        {"name": "n", "normal": True, "items": 4, "auc": None},
    ]


def test_without_normal_items_or_with_two_classes_there_is_no_figure():
    labels = pd.array([1, 1, 1], "Int8")
    rows = class_rows(items(class_name=["a", "b", "c"], label=labels, score=[1.0, 2.0, 3.0]))
    assert [row["auc"] for row in rows] == [None] * 3
    assert class_rows(items(class_name=["a", "b", "b"], label=labels, score=[1.0, 2.0, 3.0])) == []
    assert class_rows(items(label=labels, score=[1.0, 2.0, 3.0])) == []
