"""Labels that were read as their opposite, or not at all, without a word."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.labels import apply_labels, normal_class_words, read_labels
from esad.preprocessing.splits.semisupervised import labels_from_classes
from esad.preprocessing.splits.two_values import Stated, fold, read_values

ONE_IS_NORMAL = [
    "No Finding", "isgood", "inliers", "not_defective", "no_anomaly", "no_defect", "non_anomalous", "nonanomalous", "defect_free",
    "tumor-free", "passing", "genuine", "accepted", "unaffected", "survived", "negative", "is_negative", "control", "Is OK", "isInlier",
]  # fmt: skip


@pytest.mark.parametrize("column", ONE_IS_NORMAL)
def test_a_column_in_which_one_may_mean_normal_is_asked_about(column):
    values = pd.Series(["1", "1", "1", "0"], dtype="string")
    with pytest.raises(UsageError, match="may mean normal"):
        read_values(values, column, Stated())
    assert read_values(values, column, Stated.of(["1"], ["0"])).labels.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "column",
    [
        "y",
        "label",
        "outlier",
        "is_anomaly",
        "not_ok",
        "abnormal",
        "not normal",
        "Class",
        "defects",
        "isFraud",
    ],
)
def test_a_column_in_which_one_is_an_anomaly_is_not(column):
    values = pd.Series(["1", "0", "0"], dtype="string")
    assert read_values(values, column, Stated()).labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "value",
    [
        "uncertain",
        "pending",
        "normal_",
        "Normal2",
        "no_anomaly",
        "no disease",
        "non-malignant",
        "nonmalignant",
        "masks",
        "other",
    ],
)
def test_what_stands_beside_normal_and_may_be_no_anomaly_is_asked_about(value):
    values = pd.Series(["normal", "normal", value], dtype="string")
    with pytest.raises(UsageError, match="which of them is normal is not known"):
        read_values(values, "y", Stated())
    assert read_values(values, None, Stated()).classes


@pytest.mark.parametrize(
    "value",
    [
        "crack",
        "abnormal",
        "not_normal",
        "not ok",
        "tumor",
        "malignant",
        "Hernia",
        "NOK",
        "3+",
        "++",
        "2nd degree",
    ],
)
def test_what_stands_beside_normal_is_an_anomaly(value):
    values = pd.Series(["normal", "normal", value], dtype="string")
    assert read_values(values, "y", Stated()).labels.tolist() == [0, 0, 1]


def test_signs_in_brackets_are_values():
    values = pd.Series(["(-)", "(-)", "(+)"], dtype="string")
    with pytest.raises(UsageError, match="which of them is normal"):
        read_values(values, "y", Stated())
    assert read_values(values, "y", Stated.of([], ["(+)"])).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("positive", ["+", "1+", "pos"])
def test_plus_beside_negative_is_an_anomaly(positive):
    values = pd.Series(["negative", "negative", positive], dtype="string")
    assert read_values(values, "y", Stated()).labels.tolist() == [0, 0, 1]


def test_a_class_that_is_stated_with_a_slip_is_told():
    values = pd.Series(["good", "good", "bad"], dtype="string")
    with pytest.raises(UsageError, match="no value 'god'; did you mean 'good'"):
        read_values(values, None, Stated.of([], [], {"god": "normal", "*": "anomaly"}))
    with pytest.raises(UsageError, match="no value 'okk'"):
        read_values(values, "y", Stated.of(["okk"], ["bad"]))
    stated = Stated.of(
        [], [], {"good": "normal", "scratch": "anomaly", "*": "anomaly"}
    )  # not in this archive
    assert read_values(values, None, stated).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("²", "²"), ("--1", "--1"), ("+1.0", "1"), ("-.5", "-.5"), ("1e5", "1e5"), ("٣", "٣")],
)
def test_what_is_no_number_is_a_text(value, expected):
    assert fold(value) == expected


def test_labels_of_a_file_come_before_classes():
    items = pd.DataFrame(
        {"item_id": list("abcd"), "source": list("abcd"), "class_name": ["cat", "cat", "dog", None]}
    )
    items["label"] = pd.array([None] * 4, dtype="Int8")
    stated = pd.DataFrame({"source": ["a", "c", "d"], "label": pd.array([1, None, 0], dtype="Int8")})
    given, _ = apply_labels(items, stated)
    assert labels_from_classes(given, ["cat"]).tolist() == [1, 0, 1, 0]
    again, _ = apply_labels(given, pd.DataFrame({"source": ["b"], "label": pd.array([1], dtype="Int8")}))
    assert labels_from_classes(again, ["cat"]).tolist() == [1, 1, 1, 0]
    assert labels_from_classes(items, ["cat"])[:3].tolist() == [0, 0, 1]


def test_a_store_that_was_not_trained_on_may_lack_the_normal_classes():
    items = pd.DataFrame({"label": pd.array([1, None], dtype="Int8"), "class_name": ["monday", "tuesday"]})
    for found in (
        labels_from_classes(items, ["cat"], trained_on=False),
        labels_from_classes(items[["label"]], ["cat"], trained_on=False),
    ):
        assert found.isna().tolist() == [False, True]
    assert labels_from_classes(items, ["monday", "cat"], trained_on=False).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("classes", "chosen"),
    [
        (["anomaly", "indeterminate", "normal"], "normal"),
        (["crack", "invalid"], "NAME"),
        (["0", "1", "2"], "0"),
        (["Good", "dent"], "Good"),
    ],
)
def test_the_next_command_never_calls_an_anomaly_normal(classes, chosen):
    assert normal_class_words(classes) == ["--set", f'data.normal_classes=["{chosen}"]']


@pytest.mark.parametrize("name", ["Split", "Group", "semi_labels", "SITE", " semi label"])
def test_a_column_that_is_nearly_called_as_one_that_is_read_is_refused(tmp_path, name):
    (tmp_path / "l.csv").write_text(f"source,label,{name}\na,1,\n")
    with pytest.raises(UsageError, match="would not be read; call it"):
        read_labels(tmp_path / "l.csv")


def test_a_group_may_be_called_na_and_a_label_is_then_empty(tmp_path):
    (tmp_path / "l.csv").write_text("source,label,group\na,NA,NA\nb,1,None\nc,,\n")
    found = read_labels(tmp_path / "l.csv")
    assert found["group"].tolist()[:2] == ["NA", "None"]
    assert found["group"].isna().tolist() == [False, False, True]
    assert found["label"].isna().tolist() == [True, False, True]


def test_a_semi_label_against_the_label_that_an_item_has_is_refused():
    items = pd.DataFrame({"item_id": ["a"], "source": ["good/a.png"], "label": pd.array([0], dtype="Int8")})
    stated = pd.DataFrame(
        {
            "source": ["a.png"],
            "label": pd.array([None], dtype="Int8"),
            "semi_label": pd.array([-1], dtype="Int8"),
        }
    )
    with pytest.raises(UsageError, match=r"good/a.png.*contradict"):
        apply_labels(items, stated)


NOTHING_SAID = [
    "-", "--", "---", ".", "...", "*", "missing", "Missing", "n.a.", "N/D", "TBD", "???", "_", "ungraded", "unspecified", "unknown", "none",
    "not available", "\u2013", "unk", "(none)", "[Unknown]", "to do", "not_labelled", "keine Angabe", "unbekannt", "inconnu",
]  # fmt: skip


@pytest.mark.parametrize("value", NOTHING_SAID)
def test_what_says_that_there_is_no_label_is_no_anomaly(value):
    values = pd.Series(["normal", "normal", value], dtype="string")
    found = read_values(values, "y", Stated())
    assert found.labels.tolist() == [0, 0, pd.NA]
    assert f"{value} (1) without label" in found.told
    if value.lower() != "missing":
        classes = read_values(pd.Series(["a", "b", "c", value], dtype="string"), "y", Stated())
        assert classes.names.tolist() == ["a", "b", "c", pd.NA]
        assert f"3 classes (a (1), b (1), c (1)), {value} (1) without one." in classes.told
    if value != "*":
        stated = read_values(values, "y", Stated.of([], [value]))
        assert stated.labels.tolist() == [0, 0, 1]
    rest = read_values(values, "y", Stated.of([], [], {"normal": "normal", "*": "anomaly"}))
    assert rest.labels.tolist() == [0, 0, pd.NA]
    assert f"'*' does not mean {fold(value)}" in rest.told


@pytest.mark.parametrize("others", [["good", "bent", "crack"], ["good", "crack"], ["A", "B", "C"]])
def test_missing_beside_classes_may_be_one_and_is_asked_about(others):
    values = pd.Series([*others, "Missing"], dtype="string")
    with pytest.raises(UsageError, match=r"missing \(1\): that may be a class.*--class missing=anomaly"):
        read_values(values, "y", Stated())
    stated = Stated.of([], [], {others[0]: "normal", "*": "anomaly", "missing": "anomaly"})
    assert read_values(values, "y", stated).labels.tolist() == [0] + [1] * len(others)
    stated = Stated.of([], [], {others[0]: "normal", "*": "anomaly"})
    assert read_values(values, "y", stated).labels.tolist() == [0] + [1] * (len(others) - 1) + [pd.NA]


@pytest.mark.parametrize(
    "others", [["0", "1"], ["healthy", "disease"], ["yes", "no"], ["normal"], ["0", "1", "2"]]
)
def test_missing_beside_plain_labels_is_none(others):
    values = pd.Series([*others, "missing"], dtype="string")
    assert "missing (1) without" in read_values(values, "y", Stated()).told


@pytest.mark.parametrize(
    ("sign", "signs", "other", "others"),
    [
        ("-", 25, "1", 5),
        ("-", 25, "positive", 5),
        ("-", 5, "0", 25),
        ("nil", 25, "tumor", 5),
        ("not applicable", 20, "malignant", 5),
        (".", 2, "yes", 5),
        ("n.a.", 25, "tumor", 5),
    ],
)
@pytest.mark.parametrize("column", ["y", None])
def test_a_sign_beside_one_value_may_be_the_other_and_is_asked_about(sign, signs, other, others, column):
    values = pd.Series([sign] * signs + [other] * others, dtype="string")
    with pytest.raises(UsageError, match="may say that there is no label, or be one") as found:
        read_values(values, column, Stated())
    said = "normal" if other == "0" else "anomaly"
    assert f"({'--' + said}-value={other})" in str(found.value)
    label = int(said == "anomaly")
    assert f"(for example --{'normal' if label else 'anomaly'}-value=" in str(found.value)
    stated = read_values(values, column, Stated.of(*([[other], []] if not label else [[], [other]])))
    assert stated.labels.tolist() == [pd.NA] * signs + [label] * others
    stated = read_values(values, column, Stated.of(*([[sign], []] if label else [[], [sign]])))
    assert stated.labels.tolist() == [1 - label] * signs + [label] * others


@pytest.mark.parametrize("others", [["normal"], ["normal", "tumor"], ["0", "1"]])
def test_a_sign_is_no_label_beside_others_unless_there_are_more_of_it(others):
    few, many = (pd.Series(others * 5 + ["-"] * count, dtype="string") for count in (5, 20))
    assert "- (5) without label" in read_values(few, "y", Stated()).told
    with pytest.raises(UsageError, match=r"- \(20\): that may say that there is no label, or be one"):
        read_values(many, "y", Stated())
    unknown = pd.Series(others * 5 + ["unknown"] * 20, dtype="string")
    assert "unknown (20) without label" in read_values(unknown, "y", Stated()).told


def test_the_question_about_signs_says_the_others_as_they_would_be_read():
    values = pd.Series(["1"] * 5 + ["-1"] * 2 + ["--"] * 20, dtype="string")
    with pytest.raises(UsageError, match=r"\(--normal-value=1 --anomaly-value=-1\)"):
        read_values(values, "y", Stated())


def test_one_beside_many_that_are_unknown_is_not_most():
    values = pd.Series(["1"] * 5 + ["unknown"] * 25, dtype="string")
    assert "WARNING" not in read_values(values, "y", Stated()).told
    assert "WARNING" in read_values(values[:8], "y", Stated()).told


@pytest.mark.parametrize(
    "value",
    [
        "undetermined",
        "ungradable",
        "not done",
        "1",
        "2",
        "=",
        "unclassified",
        "12/3",
        "(-)",
        "nd",
        "unmarked",
        "awaiting",
        "Deferred",
    ],
)
def test_what_may_say_that_there_is_no_label_is_asked_about(value):
    values = pd.Series(["normal", "normal", value], dtype="string")
    with pytest.raises(UsageError, match=r"if .* says that there is no label, empty these cells"):
        read_values(values, "y", Stated())
    folders = read_values(values, None, Stated())
    assert folders.classes
    assert "--class normal=normal --class NAME=anomaly" in folders.told


@pytest.mark.parametrize("value", ["2", "normal_", "pending", "abc normal"])
def test_no_question_tells_a_person_to_empty_the_normal_cells(value):
    values = pd.Series(["normal", "normal", value], dtype="string")
    with pytest.raises(UsageError) as found:
        read_values(values, "y", Stated())
    assert f"if {value!r} says that there is no label" in str(found.value)
    values = pd.Series(["normal", "good", "good"], dtype="string")
    with pytest.raises(UsageError) as found:
        read_values(values, "y", Stated())
    assert "empty these cells" not in str(found.value)


def test_a_folder_called_missing_may_hold_anomalies():
    found = read_values(pd.Series(["good", "missing"], dtype="string"), None, Stated())
    assert found.classes
    assert found.names.tolist() == ["good", "missing"]


def test_minus_beside_plus_is_a_value():
    values = pd.Series(["+", "-", "-", "?"], dtype="string")
    found = read_values(values, "y", Stated.of([], ["+"]))
    assert found.labels.tolist() == [1, 0, 0, pd.NA]


def test_a_class_that_says_nothing_has_no_label_in_training():
    items = pd.DataFrame({"label": pd.array([pd.NA] * 3, dtype="Int8"), "class_name": ["a", "b", "TBD"]})
    assert labels_from_classes(items, ["a"]).tolist() == [0, 1, pd.NA]
