"""The table of classes: an order that shows what is missed."""

from __future__ import annotations

from esad.pipeline.reporting.classes import CLASSES_LISTED, class_rows


def figures(auc=None, normal=0, anomaly=0):
    return {"auc": auc, "auc_interval": None, "items": normal + anomaly, "normal": normal, "anomaly": anomaly}


def test_the_least_found_class_comes_first_and_normal_ones_last():
    classes = {
        "n": figures(normal=4), "a": figures(0.75, anomaly=2), "b": figures(1.0, anomaly=2), "c": figures(0.1, 1, 1),
        "d": figures(None, anomaly=1),
    }  # fmt: skip
    rows = class_rows({"by": {"class": classes}})
    assert [row["name"] for row in rows] == ["c", "a", "b", "d", "n"]
    assert rows[1] == {"name": "a", **classes["a"]}


def test_without_figures_by_class_there_is_no_table_and_of_many_the_least_found_are_shown():
    assert class_rows({"by": {}}) == []
    many = {f"c{number:03d}": figures(number / 100, anomaly=1) for number in range(100)}
    rows = class_rows({"by": {"class": dict(reversed(many.items()))}})
    assert len(rows) == CLASSES_LISTED
    assert rows[-1]["name"] == f"c{CLASSES_LISTED - 1:03d}"
