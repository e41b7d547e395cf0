"""Types of Parquet and Feather, workbooks, MATLAB 7.3."""

from __future__ import annotations

from decimal import Decimal

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.tables.columns import Columns, TableReading
from esad.preprocessing.tables.reading import read_table

GOOD = {
    "integers": (pa.array([1, 2, 3], pa.int32()), [[1], [2], [3]]),
    "nullable": (pa.array([1, None, 3], pa.int64()), [[1], [np.nan], [3]]),
    "booleans": (pa.array([True, None, False]), [[1], [np.nan], [0]]),
    "decimals": (pa.array([Decimal("1.25"), Decimal("2.5"), None]), [[1.25], [2.5], [np.nan]]),
    "categories of numbers": (pa.array([4, 5, 4]).dictionary_encode(), [[4], [5], [4]]),
    "unsigned": (pa.array([1, 2, 2**40], pa.uint64()), [[1], [2], [2**40]]),
    "halves": (pa.array(np.array([1, 2, 3], np.float16)), [[1], [2], [3]]),
    "text of numbers": (pa.array(["1", "2", "3.5"]), [[1], [2], [3.5]]),
    "lists": (pa.array([[1.0, 2.0], None, [3.0, None]]), [[1, 2], [np.nan] * 2, [3, np.nan]]),
    "fixed lists": (pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int8(), 2)), [[1, 2], [3, 4], [5, 6]]),
    "nothing": (pa.nulls(3), [[np.nan]] * 3),
}  # fmt: skip
BAD = {
    "dates": (pa.array([1, 2, 3], pa.timestamp("ms")), "is a date; expected numbers"),
    "days": (pa.array([1, 2, 3], pa.date32()), "is a date"),
    "durations": (pa.array([1, 2, 3], pa.duration("s")), "is a time"),
    "structs": (pa.array([{"a": 1}] * 3), "is of type struct"),
    "maps": (pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int8())), "is of type map"),
    "bytes that are no text": (pa.array([b"\xff\xfe"] * 3), "is of type binary"),
    "bytes": (pa.array([b"a"] * 3), "row 1: 'a' is text"),
    "lists of texts": (pa.array([["a"]] * 3), "lists of string"),
    "uneven lists": (pa.array([[1], [1, 2], [1]]), r"several lengths \(row 1: 1, row 2: 2\)"),
    "texts": (pa.array(["a", "b", "c"]), "row 1: 'a' is text"),
    "categories of texts": (pa.array(["a", "b", "a"]).dictionary_encode(), "row 1: 'a' is text"),
}  # fmt: skip


def write(path, column):
    pq.write_table(pa.table({"y": [0, 1, 0], "c": column}), path)
    return path


@pytest.mark.parametrize("kind", GOOD)
def test_parquet_types_that_are_numbers(tmp_path, kind):
    column, values = GOOD[kind]
    read = read_table(write(tmp_path / "t.parquet", column), TableReading(missing="median"))
    assert np.array_equal(read.values, np.array(values, np.float32), equal_nan=True)


@pytest.mark.parametrize("kind", BAD)
def test_parquet_types_that_are_none_are_named_with_what_to_do(tmp_path, kind):
    column, told = BAD[kind]
    path = write(tmp_path / "t.parquet", column)
    with pytest.raises(InputError, match=rf"t\.parquet: column 'c'.*{told}.*--drop c"):
        read_table(path, TableReading())


def test_an_index_of_pandas_is_no_feature(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["p1", "p2"], name="name"))
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet", TableReading())
    assert read.names == ["a"]
    assert "index 'name' left out" in read.notes


@pytest.mark.parametrize("ending", ["parquet", "feather"])
@pytest.mark.parametrize(
    ("index", "columns", "found"),
    [
        ("group", Columns(), "group"),
        ("Group", Columns(), "group"),
        ("y", Columns(), "stated"),
        ("kind", Columns(label="kind", named=frozenset({"kind"})), "stated"),
        ("patient_id", Columns(group="patient_id", named=frozenset({"patient_id"})), "group"),
    ],
)
def test_an_index_that_is_called_as_a_column_is_one(tmp_path, ending, index, columns, found):
    values = ["1", "0", "1"]
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=pd.Index(values, name=index))
    path = tmp_path / f"t.{ending}"
    frame.to_parquet(path) if ending == "parquet" else pyarrow.feather.write_feather(
        pa.Table.from_pandas(frame), path
    )
    read = read_table(path, TableReading(columns=columns))
    assert read.names == ["a"]
    assert read.items[found].tolist() == values


@pytest.mark.parametrize("index", ["patient_id", "diagnosis"])
def test_an_index_that_says_whose_or_what_a_row_is_is_asked_about(tmp_path, index):
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["p1", "p2"], name=index))
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=f"one called '{index}'"):
        read_table(tmp_path / "t.parquet", TableReading())


def test_a_sheet_is_the_only_filled_one_or_named(tmp_path):
    book = openpyxl.Workbook()
    first, second = book.active, book.create_sheet("second")
    for row in (["a", "b", "y"], [1, 2.5, 0], [3, None, 1]):
        first.append(row)
    path = tmp_path / "t.xlsx"
    book.save(path)
    read = read_table(path, TableReading(missing="median"))
    assert np.array_equal(read.values, np.array([[1, 2.5], [3, np.nan]], np.float32), equal_nan=True)
    second.append(["a", "b"])
    second.append([7, 8])
    book.save(path)
    with pytest.raises(InputError, match=r"filled sheets: Sheet, second; name one with --sheet"):
        read_table(path, TableReading())
    assert read_table(path, TableReading(sheet="second")).values.tolist() == [[7, 8]]


def test_matlab_7_3_is_read_as_matlab_means_it(tmp_path):
    x, y = np.arange(6.0).reshape(3, 2), np.array([[0.0], [1.0], [0.0]])
    with h5py.File(tmp_path / "t.mat", "w", userblock_size=512) as file:
        file["X"], file["y"] = x.T, y.T  # MATLAB writes columns first
    with (tmp_path / "t.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    read = read_table(tmp_path / "t.mat", TableReading())
    assert read.values.tolist() == x.tolist()
    assert read.items["stated"].tolist() == ["0", "1", "0"]


def test_a_formula_without_a_value_is_refused_and_an_empty_column_is_none(tmp_path):
    book = openpyxl.Workbook()
    for row in (["a", None, "b"], [1, None, 2], [3, None, 4]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx", TableReading()).names == ["a", "b"]
    book.active["A3"] = "=1+1"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="cell A3: a formula without a stored value"):
        read_table(tmp_path / "t.xlsx", TableReading(missing="median"))


def test_labels_of_matlab_in_cells_are_texts(tmp_path):
    labels = np.empty((3, 1), dtype=object)
    labels[:, 0] = ["normal", "abnormal", "normal"]
    savemat(tmp_path / "t.mat", {"X": np.eye(3), "y": labels})
    assert read_table(tmp_path / "t.mat", TableReading()).items["stated"].tolist() == labels[:, 0].tolist()
    with h5py.File(tmp_path / "t73.mat", "w", userblock_size=512) as file:
        file["X"] = np.eye(3)
        references = np.empty((1, 3), dtype=h5py.ref_dtype)
        for place, text in enumerate(labels[:, 0]):
            word = file.create_dataset(
                f"#refs#/{place}", data=np.array([[ord(letter)] for letter in text], np.uint16)
            )
            word.attrs["MATLAB_class"] = b"char"
            references[0, place] = word.ref
        file.create_dataset("y", data=references, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = b"cell"
    with (tmp_path / "t73.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    assert read_table(tmp_path / "t73.mat", TableReading()).items["stated"].tolist() == labels[:, 0].tolist()


@pytest.mark.parametrize("needed", [False, True])
def test_a_cell_of_numbers_in_matlab_7_3_is_passed_over_unless_it_is_needed(tmp_path, needed):
    with h5py.File(tmp_path / "t.mat", "w", userblock_size=512) as file:
        file["X"], file["y"] = np.eye(3), np.array([[0.0, 1.0, 0.0]])
        number = file.create_dataset("#refs#/a", data=np.ones((1, 1)))
        number.attrs["MATLAB_class"] = b"double"
        references = np.full((1, 3), number.ref, dtype=h5py.ref_dtype)
        for name in ("folds", *(["group"] if needed else [])):
            file.create_dataset(name, data=references, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = b"cell"
        file.create_group("options").create_dataset("k", data=np.ones((1, 1)))
        empty = file.create_dataset("hole", data=np.zeros(2, np.uint64))
        empty.attrs["MATLAB_class"], empty.attrs["MATLAB_empty"] = b"cell", 1
    with (tmp_path / "t.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    if needed:
        with pytest.raises(InputError, match="group is a cell; expected an array of numbers or texts"):
            read_table(tmp_path / "t.mat", TableReading())
        return
    assert read_table(tmp_path / "t.mat", TableReading()).items["stated"].tolist() == ["0", "1", "0"]


def test_structs_of_matlab_7_3_are_named(tmp_path):
    with h5py.File(tmp_path / "t.mat", "w", userblock_size=512) as file:
        file.create_group("data").create_dataset("X", data=np.eye(3))
    with (tmp_path / "t.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    with pytest.raises(InputError, match=r"it has data \(a struct of X\)"):
        read_table(tmp_path / "t.mat", TableReading())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"X": np.array([[{"a": 1}]], object), "y": [1]}, "X is a "),
        ({"data": {"X": np.eye(2), "y": [0, 1]}}, r"it has data \(a struct of X, y\)\. Save the fields"),
        ({"X": np.eye(2), "y": np.array([[1], [np.array([1, 2])]], object)}, "y is a cell"),
        ({"X": np.eye(2) * 1j}, "expected numbers"),
    ],
)
def test_what_is_no_array_of_numbers_in_matlab_is_named(tmp_path, content, told):
    savemat(tmp_path / "t.mat", content)
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / "t.mat", TableReading())


def test_a_label_in_a_name_of_the_persons_choice(tmp_path):
    path = write(tmp_path / "t.parquet", pa.array([1, 0, 1]))
    read = read_table(path, TableReading(Columns(label="c", named=frozenset({"c"}))))
    assert (read.names, read.items["stated"].tolist()) == (["y"], ["1", "0", "1"])
