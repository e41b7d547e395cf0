"""Tables: many formats, one meaning; every cell that is no finite number is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.io import savemat

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.tables.columns import Columns, TableReading
from esad.preprocessing.tables.items import STATED, describe_items
from esad.preprocessing.tables.npz import join_halves, load_npz
from esad.preprocessing.tables.reading import read_table

NUMBERS = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 1, 0, 0, 1, 0])


def write(path, x=NUMBERS, **known):
    if path.suffix == ".npz":
        np.savez(path, X=x, **known)
    elif path.suffix == ".mat":
        savemat(path, {"X": x, **{name: np.asarray(a)[:, None] for name, a in known.items()}})
    else:
        frame = pd.DataFrame(x, columns=list("abc")).assign(**known)
        WRITE[path.name.split(".", 1)[1]](frame, path)
    return path


WRITE = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "feather": lambda frame, path: frame.to_feather(path),
    "xlsx": lambda frame, path: frame.to_excel(path, index=False),
}
SUFFIXES = [".npz", ".mat", *(f".{name}" for name in WRITE)]


def read(path, columns=Columns(), **reading):
    """(values, items, names) of a table."""
    table = read_table(path, TableReading(columns, **reading))
    return table.values, table.items, table.names


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats_agree(tmp_path, suffix):
    values, known, names = read(write(tmp_path / f"t{suffix}", y=Y, group=Y + 4))
    assert values.dtype == np.float32
    assert np.array_equal(values, NUMBERS.astype(np.float32))
    assert known[STATED].tolist() == Y.astype(str).tolist()
    assert known["group"].tolist() == (Y + 4).astype(str).tolist()
    assert len(names) == 3


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("red", r"column 'b', row 2: 'red' is text"),
        ("", r"column 'b', row 2: nan is missing"),
        ("-inf", r"column 'b', row 2: -inf is not finite"),
        ("1e39", r"column 'b', row 2: 1e\+39 is not finite as float32"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, cell, told):
    (tmp_path / "t.csv").write_text(f"a,b,y\n1,2,0\n3,{cell},1\n")
    with pytest.raises(InputError, match=rf"t\.csv: {told}"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.5,1.5,0\n2,3,1\n", "first line holds numbers"),
        (",a,y\nx,5,1\n", "column 'Unnamed: 0' has no name.*--drop 'Unnamed: 0'"),
        ("a,,y\n0,5,1\n", "column 'Unnamed: 1' has no name"),
        ("a,b,y\n0,5,1,7\n0,5,1,7\n", "more cells than its header"),
        ("a,y\n", "no rows"),
        ("y\n1\n", "no feature columns"),
        ("", "not a readable csv"),
    ],
)
def test_a_csv_without_a_usable_header_or_rows_is_refused(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        read(tmp_path / "t.csv")


def test_a_header_of_counted_names_is_a_header(tmp_path):
    pd.DataFrame(NUMBERS).to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv")[0].shape == (6, 3)


def test_dates_and_complex_numbers_are_no_features(tmp_path):
    pd.DataFrame({"day": pd.to_datetime(["2020-01-01"]), "a": [1.0]}).to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", X=NUMBERS + 1j)
    for name in ("t.parquet", "t.npz"):
        with pytest.raises(InputError, match="expected numbers"):
            read(tmp_path / name)


def test_constant_columns_booleans_and_integers_are_numbers(tmp_path):
    frame = pd.DataFrame({"a": [True, False], "b": [7, 7], "c": [0.5, 0.5]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet")[0].tolist() == [[1, 7, 0.5], [0, 7, 0.5]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_column_that_was_asked_for_must_exist_and_a_default_need_not(tmp_path, suffix):
    path = write(tmp_path / f"t{suffix}")
    assert read(path)[1].empty
    with pytest.raises(UsageError, match=r"no column 'sick'; it has .*[Xa]"):
        read(path, Columns(label="sick", named=frozenset({"sick"})))


def test_labels_are_kept_as_they_were_written_and_missing_ones_are_null(tmp_path):
    known = read(write(tmp_path / "t.npz", y=np.array([0, 1, 2, 3, 2, 0.0])))[1]
    assert known[STATED].tolist() == ["0", "1", "2", "3", "2", "0"]
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,\n3,1\n")
    assert read(tmp_path / "t.csv")[1][STATED].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("content", [b"", b"PK\3\4nothing", b"text"])
@pytest.mark.parametrize("suffix", [".npz", ".mat", ".parquet", ".feather", ".xlsx"])
def test_damaged_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"t\{suffix}"):
        read(path)


def test_a_flipped_byte_in_an_npz_is_an_input_error_or_changes_nothing_else(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", X=NUMBERS, y=Y)
    whole = (tmp_path / "t.npz").read_bytes()
    refused = 0
    for place in range(40, len(whole), 37):
        (tmp_path / "t.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            load_npz(tmp_path / "t.npz")
        except InputError:
            refused += 1
    assert refused > 3


def test_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="plain arrays"):
        load_npz(tmp_path / "t.npz")


@given(arrays(np.float32, (3, 2)), arrays(np.float32, (2, 2)))
def test_halves_are_joined_in_order(train, test):
    given = {
        "X_train": train,
        "X_test": test,
        "y_train": np.zeros((3, 1)),
        "y_test": np.ones((2, 1)),
        "more": np.ones(1),
    }
    joined = join_halves(given, Path("t"))
    assert np.array_equal(joined["x"], np.concatenate([train, test]), equal_nan=True)
    assert joined["y"].tolist() == [0, 0, 0, 1, 1]
    assert joined["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert "more" in joined


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_test": None}, "y_test is missing"),
        ({"y_test": np.ones(3)}, "y_test has 3 entries, x_test has 2"),
        ({"x_test": np.ones((2, 3))}, r"x_train is \(3, 2\), x_test is \(2, 3\)"),
    ],
)
def test_halves_that_do_not_fit_are_refused(tmp_path, change, told):
    given = {
        "x_train": np.ones((3, 2)),
        "x_test": np.ones((2, 2)),
        "y_train": np.ones(3),
        "y_test": np.ones(2),
        **change,
    }
    with pytest.raises(InputError, match=told):
        join_halves({name: a for name, a in given.items() if a is not None}, tmp_path / "t.npz")


def test_a_label_array_of_another_length_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"y is \(5,\); expected one value for each of 6 items"):
        read(write(tmp_path / "t.npz", y=Y[:5]))


@given(st.lists(st.sampled_from(["train", "train_val", "test", "val", ""]), min_size=1, max_size=9))
def test_split_words(words):
    known = describe_items(pd.DataFrame({"part": words}), Columns(split="part"), Path("t"))
    reading = {"train": "train", "train_val": "train", "test": "test", "val": "validation", "": None}
    assert [None if pd.isna(word) else word for word in known["split"]] == [reading[word] for word in words]
