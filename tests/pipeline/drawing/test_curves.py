"""Which runs make a lambda curve, what its points are, and why there is none."""

from __future__ import annotations

import json

import pytest

from esad.pipeline.drawing.curve_figure import MOST_CURVES, lambda_drawings
from esad.pipeline.drawing.curves import SETTINGS, curve_points, uneven, why_no_curve
from tests.pipeline.drawing.runs import row


def test_a_point_is_the_mean_over_seeds_and_its_spread_their_standard_deviation():
    rows = [row(1, auc=0.7, seed=0), row(1, auc=0.8, seed=1), row(0.1, auc=0.6), row(10, auc=0.9)]
    points = curve_points(rows, "loss.lambda1")
    assert points["value"].tolist() == [0.1, 1, 10]
    assert points["auc"].tolist() == pytest.approx([0.6, 0.75, 0.9])
    assert points["std"].iloc[1] == pytest.approx(0.0707106781)
    assert points["std"].isna().tolist() == [True, False, True]
    assert points["runs"].tolist() == [1, 2, 1]
    assert curve_points(rows, "loss.lambda2").empty


def test_each_data_set_and_each_value_of_the_other_setting_is_a_curve_of_its_own():
    rows = [row(one, two, data_set=name) for name in "ab" for one in (0.1, 1) for two in (1, 0)]
    points = curve_points(rows, "loss.lambda1")
    assert points["curve"].unique().tolist() == [
        "a, lambda2 0",
        "a, lambda2 1",
        "b, lambda2 0",
        "b, lambda2 1",
    ]
    assert curve_points(rows, "loss.lambda2")["curve"].unique().tolist() == [
        "a, lambda1 0.1", "a, lambda1 1", "b, lambda1 0.1", "b, lambda1 1",
    ]  # fmt: skip
    drawings = lambda_drawings(rows)
    assert [each.name for each in drawings] == ["lambda1", "lambda2"]
    legend = drawings[0].figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == points["curve"].unique().tolist()
    styles = {
        (line.get_color(), line.get_marker())
        for line in drawings[0].figure.axes[0].lines
        if line.get_marker() != "None"
    }
    assert len({colour for colour, _ in styles}) == 4


def test_runs_with_other_settings_are_on_a_curve_of_their_own_that_is_named_by_them():
    rows = [row(value, settings={"train.batch_size": size}) for value in (0.1, 1) for size in (16, 32)]
    rows.append(row(10, settings={"train.batch_size": 64}))  # alone
    assert curve_points(rows, "loss.lambda1")["curve"].unique().tolist() == [
        "a, train.batch_size 16", "a, train.batch_size 32",
    ]  # fmt: skip


def test_runs_without_an_auc_or_without_effect_are_on_no_curve():
    assert curve_points([row(1), row(10, auc=None)], "loss.lambda1").empty
    assert curve_points([row(1, None), row(1, None)], "loss.lambda2").empty


def test_zero_stands_left_of_the_logarithmic_axis():
    (drawing,) = lambda_drawings([row(value) for value in (0, 0.1, 1, 10)])
    axes = drawing.figure.axes[0]
    assert axes.get_xticks().tolist() == pytest.approx([-2, -1, 0, 1])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.1", "1", "10"]
    assert "left of the logarithmic axis" in drawing.caption
    (drawing,) = lambda_drawings([row(value) for value in (0.1, 1)])
    assert "left of the" not in drawing.caption


def test_labels_of_the_axis_keep_apart():
    (drawing,) = lambda_drawings([row(value) for value in (0.01, 0.011, 0.3, 0.9, 1, 1.1, 100)])
    labels = [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()]
    assert labels == ["0.01", "", "0.3", "", "1", "", "100"]


def test_more_curves_than_can_be_told_apart_are_in_the_csv_alone():
    rows = [row(one, two) for one in (0.1, 1) for two in range(25)]
    drawing = lambda_drawings(rows)[0]
    assert len(drawing.figure.legends[0].get_texts()) == MOST_CURVES == 21
    assert drawing.tables["lambda1.csv"][0]["curve"].nunique() == 25
    assert "25 curves" in drawing.caption
    assert "has the first 21" in drawing.caption


def test_means_over_other_sets_of_runs_are_told():
    even = [row(value, seed=seed) for value in (0.1, 1) for seed in (0, 1)]
    assert not uneven(curve_points(even, "loss.lambda1"))
    assert "different sets" not in lambda_drawings(even)[0].caption
    assert uneven(curve_points(even[:-1], "loss.lambda1"))
    assert "different sets of runs" in lambda_drawings(even[:-1])[0].caption
    assert "over 1 to 2 runs" in lambda_drawings(even[:-1])[0].caption


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "none of the runs is scored"),
        ([row(1, auc=None), row(10, auc=None)], "not of both classes"),
        ([row(1), row(1, seed=1)], "differ neither in loss.lambda1 nor in loss.lambda2"),
        ([row(1), row(10, data_set="b")], "a curve is of one store"),
        ([row(1), row(10, settings={"train.epochs": 3})], "--across train.epochs"),
        ([row(1, 1), row(10, 10)], "differ in both"),
    ],
)
def test_why_there_is_no_curve_is_told(rows, told):
    assert all(curve_points(rows, name).empty for name in SETTINGS)
    assert told in why_no_curve(rows)


def test_the_table_of_runs_has_all_of_them_and_says_what_each_was():
    rows = [row(value, seed=seed) for value in (0.1, 1) for seed in (0, 1)]
    table, told = lambda_drawings(rows)[0].tables["lambda-runs.csv"]
    assert table["lambda1"].tolist() == [0.1, 0.1, 1, 1]
    assert json.loads(table.to_json(orient="records"))[0] == {
        "run": rows[0]["run"], "data_set": "a", "method": "esad", "lambda1": 0.1, "lambda2": 1.0, "seed": 0, "auc": 0.5,
        "evaluated": "test part", "normal": 3, "anomaly": 2,
    }  # fmt: skip
    assert all(name in told for name in table if name != "evaluated")
