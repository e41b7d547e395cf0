"""Numbers in a person's writing wherever they stand, words for nothing that are names, and columns that only count the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.tables.columns import Columns, TableReading
from esad.preprocessing.tables.dialect import SAMPLE_ROWS
from esad.preprocessing.tables.reading import feature_columns, read_table

LATE = SAMPLE_ROWS + 10
"""Beyond the rows from which marks are found."""


def late(tmp_path, cell, first="900"):
    """A table with decimal commas in which `cell` of column b stands beyond the sample."""
    rows = [f"{n},5;{first}" for n in range(LATE)]
    (tmp_path / "t.csv").write_text("a;b\n" + "\n".join([*rows, f"1,5;{cell}"]) + "\n")
    return tmp_path / "t.csv"


def test_thousands_that_stand_late_are_thousands(tmp_path):
    read = read_table(late(tmp_path, "2.100"), TableReading())
    assert read.values[-1].tolist() == [1.5, 2100]
    assert read.values[0].tolist() == [0.5, 900]
    read = read_table(late(tmp_path, "-1.002.100,25"), TableReading())
    assert read.values[-1, 1] == np.float32(-1002100.25)


@pytest.mark.parametrize("cell", ["2.10", "12345.678", ".5"])
def test_a_point_among_decimal_commas_is_refused(tmp_path, cell):
    with pytest.raises(
        InputError,
        match=f"column 'b' has '{cell}' in row {LATE + 1}, with a point.*--decimal and --thousands",
    ):
        read_table(late(tmp_path, cell), TableReading())


def test_without_thousands_a_point_is_none(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1,5;1.000\n2,5;3\n")
    with pytest.raises(InputError, match=r"has '1\.000' in row 1, with a point"):
        read_table(tmp_path / "t.csv", TableReading(decimal=",", thousands="none"))
    assert read_table(tmp_path / "t.csv", TableReading(decimal=",")).values[:, 1].tolist() == [1000, 3]


@pytest.mark.parametrize("ending", ["xlsx", "parquet"])
def test_marks_count_for_texts_of_every_format(tmp_path, ending):
    frame = pd.DataFrame({"a": ["1.000", "2.500"], "b": ["0,126", "1,5"], "c": [1.5, 2.5]})
    path = tmp_path / f"t.{ending}"
    frame.to_excel(path, index=False) if ending == "xlsx" else frame.to_parquet(path)
    with pytest.raises(InputError, match="say how numbers are written with --decimal and --thousands"):
        read_table(path, TableReading())
    read = read_table(path, TableReading(decimal=","))
    assert read.values.tolist() == [[1000, np.float32(0.126), 1.5], [2500, 1.5, 2.5]]
    with pytest.raises(InputError, match=r"has '1\.000' in row 1, with a point"):
        read_table(path, TableReading(decimal=",", thousands="none"))


@pytest.mark.parametrize(
    "name", ["id", "ID", "Id", "index", "No", "row", "level_0", "sample_id", "Row Number"]
)
@pytest.mark.parametrize("values", [range(6), range(1, 7), [7, 3, 90, 12, 1, 5]])
def test_columns_that_number_the_rows_are_no_features(tmp_path, name, values):
    if values == [7, 3, 90, 12, 1, 5]:
        name = {"No": "row_id", "index": "rowid"}.get(name, "sample_id")  # others may be measured
    pd.DataFrame({"a": np.linspace(0, 1, 6), name: list(values)}).to_csv(tmp_path / "t.csv", index=False)
    read = read_table(tmp_path / "t.csv", TableReading())
    assert read.names == ["a"]
    assert f"column {name!r} left out: it numbers the rows (--columns takes it all the same)" in read.notes
    assert read_table(tmp_path / "t.csv", TableReading(only=("a", name))).names == ["a", name]
    assert read_table(tmp_path / "t.csv", TableReading(drop=(name,))).names == ["a"]


@pytest.mark.parametrize(
    ("name", "values"),
    [("id", [1, 1, 2]), ("row", [0.5, 1.5, 2.5]), ("age", [1, 2, 3]), ("valid", [3, 1, 2])],
)
def test_other_columns_of_numbers_are_features(tmp_path, name, values):
    pd.DataFrame({"a": [0.1, 0.2, 0.3], name: values}).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv", TableReading()).names == ["a", name]


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet", "feather"])
def test_the_index_that_pandas_wrote_and_read_is_no_feature(tmp_path, ending):
    frame = pd.DataFrame({"Unnamed: 0": range(5), "a": np.linspace(0, 1, 5)})
    path = tmp_path / f"t.{ending}"
    if ending == "xlsx":
        frame[["a"]].to_excel(path)
    else:
        getattr(frame, {"csv": "to_csv", "parquet": "to_parquet", "feather": "to_feather"}[ending])(
            path, **({"index": False} if ending == "csv" else {})
        )
    read = read_table(path, TableReading())
    assert read.names == ["a"]
    assert any("numbers the rows" in note for note in read.notes)


@pytest.mark.parametrize("word", ["None", "NA", "nan", "null", "N/A"])
def test_words_for_nothing_are_names_where_names_belong(tmp_path, word):
    rows = [
        f"{n / 7:.3f},{word if n % 2 else 'b'},{word if n % 3 else 'c'},{word if n % 2 else 'Tumor'}"
        for n in range(8)
    ]
    (tmp_path / "t.csv").write_text("a,group,site,y\n" + "\n".join(rows) + "\n")
    items = read_table(tmp_path / "t.csv", TableReading()).items
    assert items["group"].tolist() == ["b", word] * 4
    assert items["site"].tolist() == ["c", word, word, "c", word, word, "c", word]
    assert items["stated"].tolist() == ["Tumor", word] * 4


def test_categories_may_be_called_nothing(tmp_path):
    (tmp_path / "t.csv").write_text("a,region\n1,NA\n2,EU\n3,\n4,None\n")
    read = read_table(tmp_path / "t.csv", TableReading(categories={"region": ["EU", "NA", "None"]}))
    assert read.values[:, 1:].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("word", ["NA", "", "nan", "NULL", ".", "--", "*", "none", "missing", "?"])
def test_words_for_nothing_are_holes_among_numbers(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"a,b\n1,2\n{word},3\n5,6\n")
    read = read_table(tmp_path / "t.csv", TableReading(missing="drop"))
    assert read.values.tolist() == [[1, 2], [5, 6]]
    assert "1 rows with missing values left out" in read.notes


def test_a_label_may_be_called_none(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,None\n2,Tumor\n3,\n")
    read = read_table(tmp_path / "t.csv", TableReading(columns=Columns()))
    assert read.items["stated"].astype(object).where(read.items["stated"].notna(), None).tolist() == [
        "None",
        "Tumor",
        None,
    ]


def test_numbers_of_a_sheet_stay_what_they_are_beside_texts(tmp_path):
    frame = pd.DataFrame({"a": [1.125, 2.375, 3, "2,5", "1.234,5"], "y": [0, 1, 0, 1, 0]})
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    read = read_table(tmp_path / "t.xlsx", TableReading(decimal=","))
    assert read.values[:, 0].tolist() == [1.125, 2.375, 3, 2.5, 1234.5]
    assert read.items["stated"].tolist() == ["0", "1", "0", "1", "0"]


@pytest.mark.parametrize("cell", ["0.512", "1.234E+05"])
def test_what_is_no_group_of_thousands_is_refused_among_decimal_commas(tmp_path, cell):
    with pytest.raises(InputError, match="with a point"):
        read_table(late(tmp_path, cell), TableReading())


@pytest.mark.parametrize("word", ["#N/A", "<NA>", "#NA", "-nan"])
def test_excels_word_for_nothing_is_no_label(tmp_path, word):
    from esad.preprocessing.splits.two_values import Stated, read_values

    (tmp_path / "t.csv").write_text(f"a,y\n1,0\n2,1\n3,{word}\n")
    stated = read_table(tmp_path / "t.csv", TableReading()).items["stated"]
    assert read_values(stated, "y", Stated()).labels.tolist() == [0, 1, pd.NA]


@pytest.mark.parametrize("rows", ["1000,5|1.234,5", "2000|1.234,50", "1005|1.234.567"])
def test_thousands_that_can_be_nothing_else_are_read(tmp_path, rows):
    cells = rows.split("|")
    (tmp_path / "t.csv").write_text("a;b\n" + "".join(f"{n},5;{cell}\n" for n, cell in enumerate(cells)))
    expected = [float(cell.replace(".", "").replace(",", ".")) for cell in cells]
    assert read_table(tmp_path / "t.csv", TableReading()).values[:, 1].tolist() == pytest.approx(expected)


def test_labels_with_decimal_commas_beside_a_word_for_nothing(tmp_path):
    (tmp_path / "t.csv").write_text("a;y\n1,5;0,0\n2,5;1,0\n3,5;NA\n")
    stated = read_table(tmp_path / "t.csv", TableReading()).items["stated"]
    assert stated.tolist()[:2] == ["0", "1"]


def test_a_hole_among_categories_that_are_numbers_is_none(tmp_path):
    (tmp_path / "t.csv").write_text("a,c\n1,1\n2,2\n3,NA\n4,\n")
    read = read_table(tmp_path / "t.csv", TableReading(categories={"c": ["1", "2"]}))
    assert read.values[:, 1:].tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]
    assert "2 rows without a value of 'c'" in read.notes


@pytest.mark.parametrize("name", ["NO", "index", "row"])
def test_what_is_measured_stays_although_each_is_its_own_whole_number(tmp_path, name):
    pd.DataFrame({name: [12, 7, 90], "a": [0.1, 0.2, 0.3]}).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv", TableReading()).names == [name, "a"]


def test_the_first_table_decides_what_numbers_the_rows(tmp_path):
    pd.DataFrame({"NO": [3, 3, 5], "CO": [1, 2, 4]}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"NO": [1, 2, 3], "CO": [1, 5, 4]}).to_csv(tmp_path / "b.csv", index=False)
    for first, names in (("a.csv", ("NO", "CO")), ("b.csv", ("CO",))):
        assert feature_columns(tmp_path / first, TableReading()) == names
        for other in ("a.csv", "b.csv"):
            assert read_table(tmp_path / other, TableReading(order=names)).names == list(names)
