"""Runs side by side: whether figures are of the same items is looked at, and said where not."""

from __future__ import annotations

import base64

import pandas as pd
import pytest

from esad.pipeline.evaluation.metrics_file import stored_metrics
from esad.pipeline.reporting.compared import apart_names, comparison, measured_on, same_items
from esad.pipeline.scoring.open_scores import open_scores
from tests.pipeline.test_evaluate import fabricate

STORE = {"kind": "images", "shape": [16, 16, 1], "settings": {"size": 16, "colour": "grey"}}


def measured(names="abcd", labels=(0, 1, 0, 1), store=STORE, inputs="x"):
    made = {"kind": store["kind"], "shape": store["shape"], **store["settings"]}
    return {
        "labels": pd.Series(list(labels), index=list(names), dtype="int8"),
        "made": made,
        "inputs": inputs,
    }


def test_the_same_items_are_the_same_in_any_order():
    assert same_items(measured(), measured("dcba", (1, 0, 1, 0))) == ""


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (measured("abce"), "no: 3 of 4 items are also among the first run's 4"),
        (measured("ab", (0, 1)), "no: 2 of 2 items are also among the first run's 4"),
        (measured(labels=(0, 1, 1, 1)), "no: 1 of 4 items have another label"),
        (measured(store={**STORE, "settings": {"size": 32}}), "no: items were made with other settings"),
        (measured(store={**STORE, "kind": "table"}), "no: items are of another kind"),
        (measured(inputs="y"), "not known: as many items of the same names, from stores of other files"),
        (measured("", ()), "no: one of them has no items with a label"),
    ],
)
def test_what_differs_is_said(other, told):
    assert same_items(measured(), other) == told


def sections_of(*scores):
    return [
        {
            "run": each.run.name, "store": "store", "method": "esad", "metrics": stored_metrics(each),
            "measured": measured_on(each, STORE),
        }
        for each in scores
    ]  # fmt: skip


def test_rates_and_intervals_stand_beside_each_other_with_a_plot_in_vectors(tmp_path):
    alarm = {"p_value": [0.5, 0.001] * 20, "threshold": 39.0}
    one = open_scores(fabricate(tmp_path / "a", **alarm))
    two = open_scores(fabricate(tmp_path / "b", **alarm))
    found = comparison(sections_of(one, two))
    assert [row["name"] for row in found["rows"]] == ["run on store (1)", "run on store (2)"]
    assert [row["same"] for row in found["rows"]] == [None, ""]
    assert found["rows"][1]["alarms"]["achieved"] == 0.0
    assert found["rows"][1]["alarms"]["anomalies_found"] == 1.0
    assert found["notes"] == []
    assert b"<svg" in base64.b64decode(found["plot"]["data"].partition("base64,")[2])
    assert "run on store (1) 1.000 (" in found["plot"]["seen"]


def test_other_items_and_other_methods_are_warned_of(tmp_path):
    one = open_scores(fabricate(tmp_path / "a"))
    two = open_scores(fabricate(tmp_path / "b", part=["test"] * 20 + [None] * 20))
    sections = sections_of(one, two)
    sections[1]["method"] = "cae"
    for section, promised in zip(sections, (0.01, 0.1), strict=True):
        section["metrics"]["alarms"]["achieved"] = {"promised": promised, "achieved": 0.0}
    first, second, third = comparison(sections)["notes"]
    assert first.startswith("Not measured on the same items as run on store (1): run on store (2).")
    assert second.startswith("Scores of different methods have no common unit")
    assert third.startswith("Runs promise different rates of false alarms")


def test_a_single_run_is_not_compared_and_runs_without_figures_have_no_plot(tmp_path):
    unlabelled = {"label": pd.array([None] * 40, dtype="Int8"), "part": [None] * 40}
    scores = [open_scores(fabricate(tmp_path / name, **unlabelled)) for name in "ab"]
    assert comparison(sections_of(scores[0])) is None
    found = comparison(sections_of(*scores))
    assert found["plot"] is None
    assert found["rows"][1]["same"] == "no: one of them has no items with a label"


def test_names_are_apart():
    def named(*pairs):
        return apart_names([{"run": run, "store": store} for run, store in pairs])

    assert named(("a", "x"), ("b", "x")) == ["a", "b"]
    assert named(("a", "x"), ("a", "y")) == ["a on x", "a on y"]
    assert named(("a", "x"), ("a", "x")) == ["a on x (1)", "a on x (2)"]
