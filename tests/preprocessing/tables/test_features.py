"""Which columns are features, and what becomes of text and of holes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.tables.columns import Columns, TableReading
from esad.preprocessing.tables.reading import read_table

TEXT = "who,a,b,sex,y\np1,1,2,F,0\np2,,4,M,1\np3,5,inf,,0\np4,7,8,F,0\n"


@pytest.fixture
def table(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    return tmp_path / "t.csv"


def test_refusals_name_the_option_that_helps_and_count(table):
    with pytest.raises(
        InputError, match=r"column 'who', row 1: 'p1' is text; .*--drop who.*--categorical who"
    ):
        read_table(table, TableReading())
    with pytest.raises(
        InputError, match=r"column 'a', row 2: nan is missing \(2 such cells in 2 of 4 rows\).*drop.*median"
    ):
        read_table(table, TableReading(drop=("who,sex",)))


@pytest.mark.parametrize(
    ("options", "names", "first"),
    [
        ({"only": ("b", "a")}, ["b", "a"], [2, 1]),
        ({"only": ("b,a",)}, ["b", "a"], [2, 1]),
        ({"drop": ("who", "sex")}, ["a", "b"], [1, 2]),
        ({"drop": ("who",), "categories": {"sex": ["F", "M"]}}, ["a", "b", "sex=F", "sex=M"], [1, 2, 1, 0]),
    ],
)
def test_columns_are_chosen(table, options, names, first):
    read = read_table(table, TableReading(missing="drop", **options))
    assert read.names == names
    assert read.values[0].tolist() == first
    assert read.rows.tolist() == [0, 3]


def test_holes_stay_nan_where_they_are_to_be_filled(table):
    read = read_table(table, TableReading(drop=("who", "sex"), missing="median"))
    assert np.isnan(read.values).tolist() == [[False, False], [True, False], [False, True], [False, False]]
    assert read.notes == ["2 missing values"]


def test_unknown_and_missing_categories_are_0_in_all_columns_and_noted(table):
    read = read_table(table, TableReading(only=("sex",), categories={"sex": ["F", "X"]}))
    assert read.values.tolist() == [[1, 0], [0, 0], [0, 0], [1, 0]]
    assert "1 values of 'sex' that training did not have" in read.notes
    assert "1 rows without a value of 'sex'" in read.notes


def test_names_are_kept_and_are_no_feature(table):
    columns = Columns(id="who", named=frozenset({"who"}))
    read = read_table(table, TableReading(columns, drop=("sex",), missing="drop"))
    assert read.items["id"].tolist() == ["p1", "p4"]
    assert read.names == ["a", "b"]


@pytest.mark.parametrize("options", [{"only": ("z",)}, {"drop": ("z",)}, {"categories": {"z": []}}])
def test_a_column_that_is_not_there_is_a_usage_error(table, options):
    with pytest.raises(UsageError, match="no column 'z'; it has who, a, b, sex, y"):
        read_table(table, TableReading(**options))


def test_numbers_that_float32_does_not_hold_are_refused_whatever_becomes_of_holes(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n1e39\n")
    with pytest.raises(InputError, match="not finite as float32"):
        read_table(tmp_path / "t.csv", TableReading(missing="median"))


def test_all_rows_with_holes_leave_nothing_to_keep(tmp_path):
    pd.DataFrame({"a": [np.nan, 1], "b": [1, np.nan]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="every row has a missing value"):
        read_table(tmp_path / "t.csv", TableReading(missing="drop"))


@pytest.mark.parametrize("name", ["Y", " y "])
def test_the_label_is_found_in_any_spelling(tmp_path, name):
    pd.DataFrame({"a": [1, 2], name: [0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    read = read_table(tmp_path / "t.csv", TableReading())
    assert (read.names, read.items["stated"].tolist()) == (["a"], ["0", "1"])
    np.savez(tmp_path / "t.npz", x=np.eye(2), **{name.strip(): [0, 1]})
    assert read_table(tmp_path / "t.npz", TableReading()).items["stated"].tolist() == ["0", "1"]


@pytest.mark.parametrize("name", ["Label", "class", "Is Outlier", "target"])
def test_a_feature_that_is_called_as_labels_are_is_asked_about(tmp_path, name):
    pd.DataFrame({"a": [1, 2], name: [0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UsageError, match=rf"one called '{name}': say --label"):
        read_table(tmp_path / "t.csv", TableReading())
    np.savez(tmp_path / "t.npz", x=np.eye(2), **{name: [0, 1]})
    with pytest.raises(UsageError, match="say --label"):
        read_table(tmp_path / "t.npz", TableReading())
    assert read_table(tmp_path / "t.csv", TableReading(Columns(label="none"))).names == ["a", name]
    assert read_table(tmp_path / "t.csv", TableReading(drop=(name,))).names == ["a"]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"only": ("y", "a")}, "a column of labels"), ({"only": ("a",), "drop": ("a",)}, "--drop")],
)
def test_one_use_a_column(table, options, told):
    with pytest.raises(UsageError, match=rf"--columns [ya]: it is also {told}"):
        read_table(table, TableReading(**options))
    with pytest.raises(UsageError, match="column 'y' is named as two"):
        Columns(label="y", group="y")


def test_whole_numbers_that_float32_does_not_hold_are_noted(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n16777217,0.1\n1,0.2\n")
    assert "1 values of 'a' rounded to float32" in read_table(tmp_path / "t.csv", TableReading()).notes


def test_a_wrong_split_refuses_its_own_table(tmp_path):
    (tmp_path / "t.csv").write_text("a,split\n1,foo\n")
    with pytest.raises(InputError, match="split 'foo' is unknown"):
        read_table(tmp_path / "t.csv", TableReading())


def test_big_endian_arrays_are_read(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.eye(2, dtype=">f8"), y=np.array([0, 1], ">i2"))
    assert read_table(tmp_path / "t.npz", TableReading()).items["stated"].tolist() == ["0", "1"]
