"""Marks that stand late, words for nothing, row numbers and indexes in every format, and lines that are no rows."""

from __future__ import annotations

import bz2
import gzip
import re
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from esad.preprocessing import texts
from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.gate import limits
from esad.preprocessing.tables.columns import Columns, TableReading
from esad.preprocessing.tables.dialect import SAMPLE_ROWS
from esad.preprocessing.tables.reading import is_table, read_table

LATE = SAMPLE_ROWS + 10
"""Beyond the rows from which marks are found."""


def late(tmp_path, *cells, first="{n},5"):
    """A table with semicolons in which `cells` of column b stand beyond the sample, where it holds whole numbers."""
    rows = [f"{first.format(n=n)};900" for n in range(LATE)]
    (tmp_path / "t.csv").write_text("a;b\n" + "\n".join([*rows, *(f"1;{cell}" for cell in cells)]) + "\n")
    return tmp_path / "t.csv"


@pytest.mark.parametrize("cell", ["0.126", "012.345", "00.100"])
@pytest.mark.parametrize("decimal", ["auto", ","])
def test_no_group_of_thousands_begins_with_nought(tmp_path, cell, decimal):
    with pytest.raises(InputError, match=f"has '{cell}' in row {LATE + 1}, with a point"):
        read_table(late(tmp_path, cell), TableReading(decimal=decimal))


def test_thousands_are_grouped_in_the_whole_column_or_stated(tmp_path):
    path = late(tmp_path, "2.100", "2500")
    with pytest.raises(
        InputError, match=rf"'2\.100' in row {LATE + 1}.* '2500' in row {LATE + 2}.*--thousands \."
    ):
        read_table(path, TableReading())
    read = read_table(path, TableReading(thousands="."))
    assert read.values[-2:, 1].tolist() == [2100, 2500]
    read = read_table(late(tmp_path, "2.100", "999,5", "12.000,25"), TableReading())
    assert read.values[-3:, 1].tolist() == [2100, 999.5, 12000.25]


@pytest.mark.parametrize("delimiter", ["semicolon", "auto"])
def test_marks_that_may_be_either_are_asked_about_behind_the_sample_too(tmp_path, delimiter):
    path = late(tmp_path, "2.100", first="{n}")
    with pytest.raises(InputError, match=r"2\.100 may be a number of thousands or one of three decimals"):
        read_table(path, TableReading(delimiter=delimiter))
    assert read_table(path, TableReading(decimal=".")).values[-1, 1] == np.float32(2.1)
    assert read_table(path, TableReading(decimal=",")).values[-1, 1] == 2100


def test_marks_that_are_plain_behind_the_sample_are_found(tmp_path):
    path = late(tmp_path, "2,25", "1.000,5", first="{n}")
    assert read_table(path, TableReading()).values[-2:, 1].tolist() == [2.25, 1000.5]
    path = late(tmp_path, "2.25", first="{n}")
    assert read_table(path, TableReading()).values[-1, 1] == 2.25


def written(frame, tmp_path, ending):
    """`frame` as a file of that ending."""
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "xlsx":
        frame.to_excel(path, index=False)
    else:
        getattr(frame, f"to_{ending}")(path)
    return path


@pytest.mark.parametrize("ending", ["xlsx", "parquet", "feather"])
def test_stated_marks_leave_names_labels_and_categories_alone(tmp_path, ending):
    texts = ["1.000", "2.500", "1.000"]
    frame = pd.DataFrame({"a": texts, "Group": texts, "y": texts, "kind": texts, "code": texts})
    columns = Columns(id="code", named=frozenset({"code"}))
    reading = TableReading(columns=columns, decimal=",", categories={"kind": ["1.000", "2.500"]})
    path = written(frame, tmp_path, ending)
    read = read_table(path, reading)
    assert read.values[:, 0].tolist() == [1000, 2500, 1000]
    assert read.items["group"].tolist() == texts
    assert read.items["id"].tolist() == texts


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
def test_one_mark_is_not_two_things_in_any_format(tmp_path, ending):
    path = written(pd.DataFrame({"a": ["1;0", "2"]}), tmp_path, ending)
    with pytest.raises(UsageError, match="--decimal and --thousands are both ','"):
        read_table(path, TableReading(decimal=",", thousands="comma", delimiter=";"))


FORMATS = ["csv", "xlsx", "parquet", "feather"]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("values", [["1", "2", "3"], [1, 2, 3], [4.0, 5.0, None]])
def test_row_numbers_are_left_out_as_texts_and_beside_holes_too(tmp_path, ending, values):
    values = [*values, 7 if isinstance(values[0], float) else "7" if isinstance(values[0], str) else 7]
    path = written(pd.DataFrame({"a": [0.1, 0.2, 0.3, 0.5], "ID": values}), tmp_path, ending)
    read = read_table(path, TableReading(missing="median"))
    assert read.names == ["a"]
    assert "column 'ID' left out: it numbers the rows (--columns takes it all the same)" in read.notes


@pytest.mark.parametrize("ending", FORMATS)
def test_a_column_without_a_name_is_no_feature_in_any_format(tmp_path, ending):
    frame = pd.DataFrame({"a": [0.1, 0.2, 0.3], "Unnamed: 1": [0.4, 0.6, 0.5]})
    path = written(frame, tmp_path, ending)
    with pytest.raises(
        InputError, match="column 'Unnamed: 1' has no name; name it, or leave it out with --drop"
    ):
        read_table(path, TableReading())
    assert read_table(path, TableReading(drop=("Unnamed: 1",))).names == ["a"]


@pytest.mark.parametrize("ending", FORMATS)
def test_two_indexes_of_pandas_are_left_out(tmp_path, ending):
    frame = pd.DataFrame({"Unnamed: 0.1": range(4), "Unnamed: 0": range(4), "a": [0.1, 0.2, 0.4, 0.3]})
    read = read_table(written(frame, tmp_path, ending), TableReading())
    assert read.names == ["a"]


def indexed(tmp_path, name, ending="parquet", **columns):
    """A table of pandas with an index of that name, beside a and `columns`."""
    frame = pd.DataFrame({"a": [0.1, 0.2, 0.3], **columns}, index=pd.Index([11, 12, 13], name=name))
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        pyarrow.feather.write_feather(pa.Table.from_pandas(frame), path)
    return path


@pytest.mark.parametrize("ending", ["parquet", "feather"])
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("patient_id", {"group": ["p", "q", "r"]}),
        ("diagnosis", {"y": [0, 1, 0]}),
        ("outcome", {"y": [0, 1, 0]}),
        ("name", {}),
        (None, {}),
    ],
)
def test_an_index_that_is_nothing_that_was_asked_for_is_left_out(tmp_path, ending, name, columns):
    read = read_table(indexed(tmp_path, name, ending, **columns), TableReading())
    assert read.names == ["a"]
    assert f"index {name or '__index_level_0__'!r} left out" in read.notes


@pytest.mark.parametrize(
    ("name", "option"), [("patient_id", "--group"), ("outcome", "--label"), ("target", "--label")]
)
def test_an_index_may_be_dropped_kept_or_said_to_be_nothing(tmp_path, name, option):
    path = indexed(tmp_path, name)
    with pytest.raises(UsageError, match=f"{option} {name}.*--drop {name}.*{option} none"):
        read_table(path, TableReading())
    assert read_table(path, TableReading(drop=(name,))).names == ["a"]
    none = Columns(label="none", group="none", named=frozenset({"none"}))
    assert read_table(path, TableReading(columns=none, only=("a", name))).names == ["a", name]
    assert read_table(path, TableReading(columns=none)).names == ["a"]


def test_levels_of_an_index_are_read_each_by_its_name(tmp_path):
    frame = pd.DataFrame({
        "a": [0.1, 0.2], "y": [0, 1], "Group": ["p", "q"], "site": ["NA", "x"], "split": ["train", "test"], "run": [1, 2],
    })  # fmt: skip
    path = tmp_path / "t.parquet"
    frame.set_index(["y", "Group", "site", "split", "run"]).to_parquet(path)
    read = read_table(path, TableReading())
    assert read.names == ["a"]
    assert read.items.to_dict("list") == {
        "stated": ["0", "1"], "group": ["p", "q"], "site": ["NA", "x"], "split": ["train", "test"],
    }  # fmt: skip
    assert "index 'run' left out" in read.notes


def test_what_only_programs_write_is_no_label(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,1\n3,#N/A\n4,<NA>\n5,-nan\n6,\n7,NA\n")
    stated = read_table(tmp_path / "t.csv", TableReading()).items["stated"]
    assert stated.fillna("").tolist() == ["0", "1", "", "", "", "", "NA"]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_group_or_site_that_may_be_a_missing_value_is_noted(tmp_path, ending):
    frame = pd.DataFrame({"a": range(4), "group": ["NA", "p", "NA", "q"], "site": ["x", "None", "", "x"]})
    notes = read_table(written(frame, tmp_path, ending), TableReading()).notes
    assert (
        "2 rows are of the group 'NA', 1 rows are of the site 'None': empty cells are missing, these words are names"
        in notes
    )


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    "word",
    [".", "-", "--", "*", "?", "none", "None", "Missing", "N/A", "n/a", "NA", "null", "NaN", " . ", "N.A."],
)
def test_words_for_a_missing_number_are_holes_in_every_format(tmp_path, ending, word):
    frame = pd.DataFrame({"a": ["1", word, "3", "4"], "b": [0.5, 1.5, 2.5, 3.5]})
    path = written(frame, tmp_path, ending)
    with pytest.raises(InputError, match=r"column 'a', row 2: .*missing.*--missing drop"):
        read_table(path, TableReading())
    read = read_table(path, TableReading(missing="drop"))
    assert read.values.tolist() == [[1, 0.5], [3, 2.5], [4, 3.5]]


def test_words_for_a_missing_number_are_told_with_counts(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,.,1\n2,*,?\n3,.,3\n4,5,?\n")
    notes = read_table(tmp_path / "t.csv", TableReading(missing="median")).notes
    assert "2 cells '.', 1 cells '*', 2 cells '?' taken as missing" in notes
    assert "5 missing values" in notes


@pytest.mark.parametrize("missing", ["refuse", "drop", "median"])
@pytest.mark.parametrize(
    ("cells", "row", "value"),
    [(["none", "none", "*"], 1, "none"), (["none", "high", "1"], 2, "high"), ([".", "", "*"], 1, ".")],
)
def test_a_column_that_is_not_of_numbers_has_no_holes(tmp_path, missing, cells, row, value):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)))
    with pytest.raises(InputError, match=rf"column 'b', row {row}: '{re.escape(value)}' is text"):
        read_table(tmp_path / "t.csv", TableReading(missing=missing))


@pytest.mark.parametrize(
    ("rows", "row", "word"),
    [
        (["mm,kg,", "1,2,0", "3,4,1", "5,6,0"], 1, "mm"),
        (["1,2,0", "3,4,1", "5,6,0", "Total,12,"], 4, "Total"),
    ],
)
@pytest.mark.parametrize("ending", FORMATS)
def test_the_way_out_of_units_and_totals_is_told(tmp_path, rows, row, word, ending):
    frame = pd.DataFrame([line.split(",") for line in rows], columns=["a", "b", "y"])
    told = rf"row {row}: '{word}' is text; the other 3 are numbers: delete row {row} from the file if it"
    with pytest.raises(InputError, match=told):
        read_table(written(frame, tmp_path, ending), TableReading())


@pytest.mark.parametrize(
    "text",
    [
        "My study,,\na,b,y\n1,2,0\n3,4,1\n",
        "My study\na,b,y\n1,2,0\n3,4,1\n",
        "My study\n\na;b;y\n1,5;2;0\n3;4;1\n",
        "My study\na;b;y\n1,5;2,5;0\n3;4;1\n",
        "My study;;\na;b;y\n1;2;0\n3;4;1\n",
        "My study\t\na\tb\n1\t2\n3\t4\n",
        "My study, 2020\na,b,y\n1,2,0\n3,4,1\n",
        "My study,\na,b\n1,2\n3,4\n",
    ],
)
def test_a_title_above_the_names_is_no_header(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"t\.csv: .*delete (the )?lines above the names"):
        read_table(tmp_path / "t.csv", TableReading())


@pytest.mark.parametrize("title", [["My study"], ["My study", "2020"]])
def test_a_title_above_the_names_of_a_sheet_is_no_header(tmp_path, title):
    book = openpyxl.Workbook()
    for row in [title, [], ["a", "b", "y"], [1, 2, 0], [3, 4, 1]]:
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match=r"t\.xlsx: .*delete (the )?lines above the names"):
        read_table(tmp_path / "t.xlsx", TableReading())


PACK = {"gz": gzip.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("ending", ["txt", "tab", "data", "TXT"])
@pytest.mark.parametrize("packed", [None, "gz", "bz2", "zip"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_delimited_text_of_other_endings_is_read_where_it_is_named(tmp_path, ending, packed, mark):
    text = f"a{mark}y\n1.5{mark}0\n2.5{mark}1\n".encode()
    path = tmp_path / (f"t.{ending}.{packed}" if packed else f"t.{ending}")
    if packed == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.txt", text)
            archive.writestr("__MACOSX/._t.txt", b"\0")
    else:
        path.write_bytes(PACK[packed](text) if packed else text)
    read = read_table(path, TableReading())
    assert read.values.tolist() == [[1.5], [2.5]]
    assert read.items["stated"].tolist() == ["0", "1"]
    assert not is_table(path)


@pytest.mark.parametrize("ending", ["csv.bz2", "csv.zip", "tsv.zip"])
def test_packed_tables_are_found_in_folders(ending):
    assert is_table(Path(f"t.{ending}"))


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"]])
def test_a_zip_of_none_or_several_tables_is_refused(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "a,y\n1,0\n")
    with pytest.raises(InputError, match=rf"t\.csv\.zip: holds {len(names)} files.*expected one table"):
        read_table(tmp_path / "t.csv.zip", TableReading())


@pytest.mark.parametrize("packed", ["bz2", "zip"])
def test_a_bomb_of_text_is_refused_before_it_fills_the_memory(tmp_path, packed, monkeypatch):
    for module in (texts, limits):
        monkeypatch.setattr(module, "ALWAYS", 1 << 20)
    text = b"a,y\n" + b"1,0\n" * (1 << 20)
    path = tmp_path / f"t.csv.{packed}"
    if packed == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", text)
    else:
        path.write_bytes(bz2.compress(text))
    with pytest.raises(InputError, match="at most 100 times the file"):
        read_table(path, TableReading())


@pytest.mark.parametrize("ending", ["txt", "data", "csv"])
def test_spaces_that_part_a_table_are_asked_about(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    path.write_text("a  b y\n 1  234.5 normal\n-2  NA odd\n 3 4 normal\n")
    with pytest.raises(InputError, match=r"spaces part its lines.*--delimiter space"):
        read_table(path, TableReading())
    read = read_table(path, TableReading(delimiter="space", missing="drop"))
    assert read.values.tolist() == [[1, 234.5], [3, 4]]
    path.write_text('"a" "b"\n"r1" 1 234\n"r2" 3 4\n')
    with pytest.raises(InputError, match=r"spaces part its lines.*--delimiter space"):
        read_table(path, TableReading())
    assert read_table(path, TableReading(delimiter="space")).values.tolist() == [[1, 234], [3, 4]]


@pytest.mark.parametrize("text", ["a b\n1 2\n", "a b\n1 234\n2 345\n"])
def test_a_space_may_group_thousands_or_part_columns(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"spaces part its lines into 2 cells each; say --delimiter space"):
        read_table(tmp_path / "t.csv", TableReading())
    (tmp_path / "t.csv").write_text(text.replace("a b", "a"))
    if "1 234" in text:
        assert read_table(tmp_path / "t.csv", TableReading()).values.tolist() == [[1234], [2345]]


@pytest.mark.parametrize("ending", ["xlsx", "parquet", "feather"])
def test_texts_that_may_be_thousands_or_decimals_are_asked_about_in_every_format(tmp_path, ending):
    frame = pd.DataFrame({"a": ["900", "2.100", "-1.005", None], "b": ["0.126", "2.100", "3.250", "1.000"]})
    path = written(frame, tmp_path, ending)
    with pytest.raises(InputError, match=r"column 'a' has '2\.100' in row 2, .*--decimal , reads thousands"):
        read_table(path, TableReading(missing="drop"))
    for reading in (
        TableReading(decimal=".", missing="drop"),
        TableReading(thousands="none", missing="drop"),
    ):
        assert np.allclose(read_table(path, reading).values[:, 0], [900, 2.1, -1.005])
    with_comma = TableReading(decimal=",", missing="drop", drop=("b",))
    assert read_table(path, with_comma).values[:, 0].tolist() == [900, 2100, -1005]
    assert read_table(path, TableReading(drop=("a",))).values[:, 0].tolist() == [
        np.float32(0.126),
        np.float32(2.1),
        3.25,
        1,
    ]


def test_words_that_are_not_known_as_holes_are_refused_with_a_way_out(tmp_path):
    cells = ["<5", "n.d.", "unter 3", "n.d.", *map(str, range(8))]
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)))
    told = r"column 'b', row 1: '<5' is text; 4 cells are texts and 8 are numbers: write a missing value as an empty cell, "
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / "t.csv", TableReading())
