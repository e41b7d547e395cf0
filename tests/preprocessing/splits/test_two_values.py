"""Labels in every spelling: understood, or asked about."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.two_values import Stated, read_values

NOTHING = Stated()


def read(values, column="y", stated=NOTHING):
    reading = read_values(pd.Series(values, dtype="string"), column, stated)
    return [None if pd.isna(label) else int(label) for label in reading.labels], reading


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["0", "1", "0"], [0, 1, 0]),
        (["0.0", "1.0", None], [0, 1, None]),
        (["1", "1", "-1"], [0, 0, 1]),
        (["+1", "1", "-1"], [0, 0, 1]),
        (["normal", "outlier", "normal"], [0, 1, 0]),
        (["Good", "BAD", "good"], [0, 1, 0]),
        (["no", "yes", "no"], [0, 1, 0]),
        (["false", "true", "false"], [0, 1, 0]),
        (["healthy", "disease", "?"], [0, 1, None]),
        (["benign", "malignant", "unknown"], [0, 1, None]),
        (["normal", "pneumonia", "normal"], [0, 1, 0]),
        (["normal", "normal"], [0, 0]),
        (["1", "1"], [1, 1]),
        ([None, None], [None, None]),
    ],
)
def test_two_values_of_usual_spellings_are_labels(values, labels):
    found, reading = read(values)
    assert found == labels
    assert not reading.classes


@pytest.mark.parametrize(
    ("values", "column", "told"),
    [
        (["2", "4", "2"], "y", r"2 \(2\), 4 \(1\): which of them is normal is not known.*--anomaly-value=4"),
        (["A", "B"], "y", "which of them is normal"),
        (["good", "ok"], "y", "which of them is normal"),
        (["A", "A"], "y", "which of them is normal"),
        (["1", "-1", "-1"], "y", "not the rarer value"),
        (["-1", "-1"], "y", "not the rarer value"),
        (["1", "0", "-1"], "y", "semi-labels"),
        (["0", "1", "1"], "healthy", "by its name the higher value may mean normal"),
        (["yes", "no"], "Normal", "by its name"),
        (["0", "1", "0"], "Is Normal", "by its name"),
        (["0", "1", "0"], "is-healthy", "by its name"),
        (["0", "1", "0"], "IsGood", "by its name"),
        (["+", "-", "-"], "y", "which of them is normal"),
        (
            ["1", "0", "1"],
            "target",
            r"the higher value would be an anomaly, and it is not the rarer one.*--anomaly-value=0\)",
        ),
        (["yes", "no", "yes"], "approved", "is not the rarer one.*--anomaly-value=no"),
        (["1", "0", "1"], "Class", "not the rarer one"),
        (["1", "0", "1"], "outcome", "not the rarer one"),
        (["1", "0", "1"], "non_fraud", "by its name"),
    ],
)
def test_what_can_be_read_either_way_is_asked_about(values, column, told):
    with pytest.raises(UsageError, match=told):
        read(values, column)


@pytest.mark.parametrize(
    ("normal", "anomaly", "classes", "values", "labels"),
    [
        ([], ["4"], {}, ["2", "4", "2"], [0, 1, 0]),
        (["2"], [], {}, ["2", "4", "2"], [0, 1, 0]),
        (["A"], ["B"], {}, ["a", "b", "c"], [0, 1, None]),
        ([], ["-1"], {}, ["1", "-1", "-1"], [0, 1, 1]),
        ([], ["+"], {}, ["+", "-", "-"], [1, 0, 0]),
        ([], [], {"good": "normal", "*": "anomaly"}, ["good", "crack", "hole"], [0, 1, 1]),
        (["1"], ["-1"], {}, ["1", "0", "-1"], [0, None, 1]),
        ([], ["1"], {}, ["0", "0"], None),
        (["unknown"], [], {}, ["unknown", "ill"], [0, 1]),
    ],
)
def test_what_a_person_says_comes_first(normal, anomaly, classes, values, labels):
    stated = Stated.of(normal, anomaly, classes)
    if labels is None:
        with pytest.raises(UsageError, match="has no value '1'; it has 0"):
            read(values, stated=stated)
        return
    assert read(values, stated=stated)[0] == labels


def test_values_that_were_not_said_are_asked_about():
    with pytest.raises(UsageError, match="b, c are not said to be normal or anomalies"):
        read(["a", "b", "c"], stated=Stated.of(["a"], []))
    with pytest.raises(UsageError, match="one meaning"):
        Stated.of(["a"], ["A"])


@pytest.mark.parametrize("column", ["y", "abnormal", "not_ok", "Anomaly", "positive"])
def test_other_columns_of_0_and_1_are_read(column):
    assert read(["0", "1"], column)[0] == [0, 1]


@pytest.mark.parametrize("column", ["y", "label", "Labels", "y_true"])
@pytest.mark.parametrize("values", [["1", "0", "1"], ["1", "1"]])
def test_more_anomalies_than_normal_rows_are_warned_about(column, values):
    labels, reading = read(values, column)
    assert labels == [int(value) for value in values]
    assert "WARNING: most labels in column" in reading.told
    assert "--normal-value=1." in reading.told
    assert "WARNING" not in read(values, column, Stated.of([], ["1"]))[1].told


SAYS_ANOMALY = [
    "anomaly", "is_outlier", "isFraud", "Defects", "attack", "malignant", "abnormal", "malignancy", "abnormality", "lesion", "Lesions",
    "metastasis", "intrusion", "failure", "machine_failure", "MachineFailure", "pathology", "death", "DEATH_EVENT", "Churn", "readmitted",
    "infected",
]  # fmt: skip


@pytest.mark.parametrize("column", SAYS_ANOMALY)
def test_a_column_that_is_called_after_anomalies_may_hold_more_of_them(column):
    labels, reading = read(["1", "0", "1"], column)
    assert labels == [1, 0, 1]
    assert "WARNING" not in reading.told


@pytest.mark.parametrize(
    "column", ["diagnosis", "no_lesion", "nonmetastatic", "failure_free", "survived_or_death", "status"]
)
def test_a_column_that_is_called_after_a_choice_or_after_none_is_asked_about(column):
    with pytest.raises(UsageError, match=r"may mean normal|is not the rarer one"):
        read(["1", "0", "1"], column)


@pytest.mark.parametrize("values", [["1", "0"], ["1", "0", "0"], ["0", "0"], ["1", "0", "normal"]])
def test_rarer_anomalies_are_not_warned_about(values):
    assert "WARNING" not in read(values, "target")[1].told


def test_more_values_stay_classes_and_so_do_two_folders_of_any_name():
    _, reading = read(["good", "crack", "hole"])
    assert reading.classes
    assert "--class good=normal --class '*=anomaly'" in reading.told
    assert read(["cat", "dog"], None)[1].classes


def test_what_was_understood_is_told_with_counts():
    told = read(["normal", "ill", "?", None, "normal"])[1].told
    assert (
        told
        == "labels in column 'y': normal (2) as normal, ill (1) as anomaly, ? (1) without label, 1 without a value."
    )
