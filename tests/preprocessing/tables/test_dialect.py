"""How text tables are written: found where unambiguous, asked about where not."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.tables.columns import TableReading
from esad.preprocessing.tables.delimited import load_text
from esad.preprocessing.tables.dialect import find_dialect
from esad.preprocessing.tables.reading import read_table

NUMBERS = st.lists(
    st.tuples(*[st.floats(-1e4, 1e4).map(lambda number: round(number, 2)) for _ in range(3)]),
    min_size=2,
    max_size=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@settings(max_examples=60, deadline=None)
@given(
    NUMBERS,
    st.sampled_from([";", "\t", "|", ","]),
    st.sampled_from([".", ","]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_what_a_spreadsheet_writes_is_read_back(folder, rows, delimiter, decimal, encoding):
    if decimal == delimiter:
        return
    frame = pd.DataFrame([(0.25, 0.5, 0.75), *rows], columns=["Länge", "Breite", "Höhe"])
    path = folder / "t.csv"
    frame.to_csv(path, sep=delimiter, decimal=decimal, encoding=encoding, index=False)
    table, _, notes = load_text(path, TableReading())
    assert table.columns.tolist() == frame.columns.tolist()
    assert np.array_equal(table.to_numpy(), frame.to_numpy())
    plain = delimiter == "," and encoding in ("utf-8", "utf-8-sig")
    assert (notes == []) == plain


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a;b\n1.234,5;2\n", (";", ",", ".")),
        ('a,b\n"1,234.5",2\n', (",", ".", ",")),
        ("a;b\n1.234.567;2\n", (";", ",", ".")),
        ("a;b\n1 234,5;2\n", (";", ",", " ")),
        ("a;b\n1'234.5;2\n", (";", ".", "'")),
        ("a;b\n1,5;2,25\n", (";", ",", None)),
        ("a;b\n1.5;1,234\n", (";", ".", ",")),
        ("a,b\n1.234,2.345\n", (",", ".", None)),
        ("a;b\n0,123;0,456\n", (";", ",", None)),
        ("a b\nx 1 y\n", (",", ".", None)),
        ("a\n0,5\n1,25\n2,75\n0,5\n", (";", ",", None)),
        ("sep=;\na;b\n1;2\n", (";", ".", None)),
        ("a\n1\n2\n", (",", ".", None)),
    ],
)
def test_marks_are_found(tmp_path, text, found):
    (tmp_path / "t.csv").write_text(text)
    dialect = find_dialect(tmp_path / "t.csv", TableReading())
    assert (dialect.delimiter, dialect.decimal, dialect.thousands) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a;b\n1,234;2\n", "1,234 may be a number of thousands"),
        ("a;b\n1.234;2\n", "1.234 may be a number of thousands"),
        ("a;b\n1,5;2.5\n", "some numbers have decimal points and some decimal commas"),
        ("a;b|c;d\n1;2|3;4\n", None),
    ],
)
def test_what_can_be_read_two_ways_is_asked_about(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    if told is None:
        assert find_dialect(tmp_path / "t.csv", TableReading()).delimiter == ";"
        return
    with pytest.raises(InputError, match=rf"{told}.*--decimal"):
        find_dialect(tmp_path / "t.csv", TableReading())
    assert find_dialect(tmp_path / "t.csv", TableReading(decimal=",", thousands="none")).decimal == ","


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"delimiter": "ab"}, "--delimiter 'ab'"),
        ({"encoding": "klingon"}, "--encoding 'klingon'"),
        ({"decimal": ",", "thousands": ","}, "must differ"),
        ({"thousands": "blank"}, "--thousands 'blank'"),
    ],
)
def test_what_is_stated_wrong_is_a_usage_error(tmp_path, options, told):
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    with pytest.raises(UsageError, match=told):
        find_dialect(tmp_path / "t.csv", TableReading(**options))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n1,5\n2,5\n3,1\n", "may be one number or a row's name and a number"),
        ("# from the lab\na,b\n1,2\n", "its first line is a remark"),
        ("# from the lab, 2021\na,b\n1,2\n", "its first line is a remark"),
        ("#made,by,hand\na,b\n1,2\n", "its first line is a remark"),
        ("#made,by\n#hand,2\n1,2\n", "its first line is a remark"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, its header 2 names"),
        ("", "it is empty"),
    ],
)
def test_what_is_no_table_is_told_in_words(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        load_text(tmp_path / "t.csv", TableReading())


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a;b\n1\u00a0234,5;2\n2,5;3\n", [[1234.5, 2], [2.5, 3]]),
        ("a;b\n1\u202f234;2,5\n17;3,5\n", [[1234, 2.5], [17, 3.5]]),
        ("sep=;\na;b\n1,5;2\n", [[1.5, 2]]),
        ('a,b\n"1,234.5",2\n"12,345",0.5\n7,1\n', [[1234.5, 2], [12345, 0.5], [7, 1]]),
        ("a,b\n\u22121.5,2\n-,3\n#DIV/0!,4\n?,5\n", [[-1.5, 2], [np.nan, 3], [np.nan, 4], [np.nan, 5]]),
    ],
)
def test_what_spreadsheets_of_other_countries_write(tmp_path, text, values):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    read = read_table(tmp_path / "t.csv", TableReading(missing="median")).values
    assert np.array_equal(read, np.array(values, np.float32), equal_nan=True)


@pytest.mark.parametrize("text", ['a,b\n"1,234.5",2\n"1,5",3\n', 'a,b\n"1,234",2.5\n"1,5",3\n'])
def test_a_comma_that_groups_nothing_is_no_thousands(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"'1,[\d.]+' is text; .*--decimal and --thousands"):
        read_table(tmp_path / "t.csv", TableReading())


def test_what_is_stated_is_taken(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe~b\n1,234~2\n".encode("latin-1"))
    table, *_ = load_text(tmp_path / "t.csv", TableReading(delimiter="~", decimal=",", encoding="latin-1"))
    assert table.to_dict("list") == {"größe": [1.234], "b": [2]}


def test_a_packed_table_is_read_and_a_bomb_is_not(tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"a,b\n")
        for _ in range(300):
            file.write(b"0,0\n" * (1 << 18))
    with pytest.raises(InputError, match=r"t\.csv\.gz: claims .* in .* of file"):
        load_text(tmp_path / "t.csv.gz", TableReading())


@pytest.mark.parametrize(
    ("text", "names", "note"),
    [
        (",a,b\n7,1,2\n3,4,5\n", ["a", "b"], "numbers the rows"),
        ("Unnamed: 0,a,b\n0,1,2\n1,4,5\n", ["a", "b"], "numbers the rows"),
        ("a,b,\n1,2,\n4,5,\n", ["a", "b"], "empty last column"),
        ("a,b\n1,1,2\n2,4,5\n", ["a", "b"], "row names"),
        ("a,b\nr1,1,2\nr2,4,5\n", ["a", "b"], "row names"),
        ("a,b\n1,2,\n4,5,\n", ["a", "b"], "empty last column"),
    ],
)
def test_columns_that_only_count_rows_are_left_out_and_noted(tmp_path, text, names, note):
    (tmp_path / "t.csv").write_text(text)
    table, _, notes = load_text(tmp_path / "t.csv", TableReading())
    assert table.columns.tolist() == names
    assert table.to_numpy().tolist() == [[1, 2], [4, 5]]
    assert note in notes[0]


@pytest.mark.parametrize("first", ["#", "#ID", "#CHROM"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_first_name_that_begins_with_a_hash_is_a_name(tmp_path, first, mark):
    path = tmp_path / "t.csv"
    rows = [[first, "a", "b"], ["7", "1", "2"], ["3", "3", "4"]]
    path.write_text("".join(mark.join(row) + "\n" for row in rows))
    found = find_dialect(path, TableReading())
    assert found.delimiter == mark
    assert not found.has_separator_line
    assert read_table(path, TableReading()).names[-2:] == ["a", "b"]
