"""First lines that are no header, rows that are cut short, and columns that say what is to be found or whose a row is."""

from __future__ import annotations

import numpy as np
import pytest

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.tables.columns import Columns, TableReading
from esad.preprocessing.tables.reading import read_table


def read(path, text, **reading):
    path.write_text(text)
    return read_table(path, TableReading(**reading))


@pytest.mark.parametrize(
    "text",
    [
        "5.1,3.5,1.4,0.2,setosa\n4.9,3,1.4,0.3,setosa\n6,3.6,1.3,0.1,virginica\n",
        ",3,5,1\n1,2,3,4\n2,3,6,0\n",
        "3,,1\n2,3,4\n3,6,0\n",
        "7;2,5;a\n9;2,1;b\n6;3,5;a\n",
    ],
)
def test_a_first_row_of_values_is_no_header(tmp_path, text):
    with pytest.raises(InputError, match="the first line holds numbers"):
        read(tmp_path / "t.csv", text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (",2010,2011\n0,1,2\n1,2,3\n", ["2010", "2011"]),
        (",400.5,401,402,y\n0,1,2,3,0\n1,1,2,3,1\n", ["400.5", "401", "402"]),
        ("y,400,500\n1,0.1,0.2\n0,0.3,0.2\n", ["400", "500"]),
        ("y,4.5,4,3.5,3,2.5\n1,1,2,3,4,5\n0,5,4,3,2,1\n", ["4.5", "4", "3.5", "3", "2.5"]),
        ("y,0,1\n1,0,2\n0,1,0\n", ["0", "1"]),
        ("age,y,2019,2020,2021\n1,0,1500,2500,2030\n2,1,2500,1500,1900\n", ["age", "2019", "2020", "2021"]),
        (
            "y,1,10,100,1000,10001,2\n0,1,9,99,9999,99999,1\n1,3,30,300,3,3,5\n",
            ["1", "10", "100", "1000", "10001", "2"],
        ),
    ],
)
def test_columns_may_be_called_by_numbers(tmp_path, text, names):
    assert read(tmp_path / "t.csv", text).names == names


def test_a_row_that_is_cut_short_before_its_label_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"line 3 has 2 cells, its header 3 names: it is cut short before its 'y'"
    ):
        read(tmp_path / "t.csv", "a,b,y\n1,2,0\n1,2\n")
    assert read(tmp_path / "t.csv", "a,b,y\n1,2,0\n1,2,\n   \n").notes == []


def test_rows_that_lack_features_at_their_ends_are_told(tmp_path):
    table = read(tmp_path / "t.csv", "y,a,b\n0,1\n1,2,3\n", missing="median")
    assert "1 rows are shorter than the header; what they lack is missing" in table.notes
    assert np.isnan(table.values[0, 1])


@pytest.mark.parametrize("name", ["Outcome", "status", "machine failure", "isDefective"])
def test_more_names_of_labels_are_asked_about(tmp_path, name):
    with pytest.raises(UsageError, match=f"no label column 'y', but one called '{name}'"):
        read(tmp_path / "t.csv", f"a,{name}\n1,0\n2,1\n")


@pytest.mark.parametrize("name", ["patient_id", "Patient ID", "PatientID", "subject"])
def test_a_column_that_says_whose_a_row_is_is_asked_about(tmp_path, name):
    text = f"{name},a,y\n1,2,0\n1,3,1\n"
    with pytest.raises(UsageError, match=f"no group column 'group', but one called '{name}': say --group"):
        read(tmp_path / "t.csv", text)
    assert read(tmp_path / "t.csv", text, columns=Columns(group="none")).names == [name, "a"]
    table = read(tmp_path / "t.csv", text, columns=Columns(group=name, named=frozenset({name})))
    assert table.items["group"].tolist() == ["1", "1"]
    assert read(tmp_path / "t.csv", text, only=(name, "a")).names == [name, "a"]


def test_an_npz_of_a_patient_array_is_asked_about(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 2)), y=[0, 0, 1], patient=[1, 1, 2])
    with pytest.raises(UsageError, match="one called 'patient': say --group"):
        read_table(tmp_path / "t.npz", TableReading())


@pytest.mark.parametrize("name", ["state", "status", "Result_1"])
def test_what_may_be_a_label_is_a_feature_beside_one(tmp_path, name):
    assert read(tmp_path / "t.csv", f"a,{name},y\n1,0,0\n2,1,1\n").names == ["a", name]


def test_a_column_that_is_named_otherwise_is_not_taken_by_its_spelling(tmp_path):
    text = "Group,a,y\n1,2,0\n0,3,1\n"
    table = read(tmp_path / "t.csv", text)
    assert (table.names, table.notes) == (["a"], ["column 'Group' read as the group"])
    assert read(tmp_path / "t.csv", text, only=("Group", "a")).names == ["Group", "a"]
    assert read(tmp_path / "t.csv", text, drop=("Group",)).names == ["a"]
    label = Columns(label="Group", named=frozenset({"Group"}))
    assert read(tmp_path / "t.csv", text, columns=label).items["stated"].tolist() == ["1", "0"]
