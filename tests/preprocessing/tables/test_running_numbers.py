"""Columns that count the rows: as features they would tell where a row stands, and anomalies often stand last."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.tables.columns import TableReading
from esad.preprocessing.tables.reading import read_table

NAMES = [
    "S.No", "Sl. No.", "obs", "Sample", "record", "case", "lfd. Nr.", "Número", "N°", "Nº", "Sample No", "row number", "Index#", "Serial",
    "#ID", "num", "rownames", "Unnamed", "#", "No.", "CaseID",
]  # fmt: skip


def table(path, name, numbers, rows=60, place=0):
    values = np.random.default_rng(0).normal(size=(rows, 2)).round(3)
    frame = pd.DataFrame(values, columns=["a", "b"]).assign(y=(np.arange(rows) >= rows - 3).astype(int))
    frame.insert(place, name, numbers)
    frame.to_csv(path / "t.csv", index=False)
    return path / "t.csv"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first", [0, 1])
def test_a_running_number_is_left_out_and_told(tmp_path, name, first):
    found = read_table(table(tmp_path, name, np.arange(first, first + 60)), TableReading())
    assert found.names == ["a", "b"]
    assert f"column {name!r} left out: it numbers the rows (--columns takes it all the same)" in found.notes
    kept = read_table(tmp_path / "t.csv", TableReading(only=(name, "a")))
    assert kept.names == [name, "a"]


@pytest.mark.parametrize("name", ["sample", "case", "number", "count"])
@pytest.mark.parametrize(
    "numbers", [np.arange(60)[::-1], np.arange(60) * 2, np.arange(60) % 30, np.arange(60) + 0.5]
)
def test_what_is_called_so_and_does_not_count_is_a_feature(tmp_path, name, numbers):
    assert read_table(table(tmp_path, name, numbers), TableReading()).names == [name, "a", "b"]


@pytest.mark.parametrize("first", [31, 101, 0])
def test_a_running_number_may_go_on_where_another_table_ended(tmp_path, first):
    assert read_table(table(tmp_path, "sample", np.arange(first, first + 60)), TableReading()).names == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(("name", "rows"), [("count", 5), ("rank", 19), ("N", 3)])
def test_what_may_be_measured_is_a_feature_of_few_rows(tmp_path, name, rows):
    path = table(tmp_path, name, np.arange(1, rows + 1), rows=rows)
    assert read_table(path, TableReading()).names == [name, "a", "b"]


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("name", ["t", "Wafer", "day", "dose"])
def test_a_column_of_another_name_that_counts_all_rows_is_taken_with_a_warning(tmp_path, name, place):
    path = table(tmp_path, name, np.arange(1, 61), place=place)
    found = read_table(path, TableReading())
    assert name in found.names
    assert any(
        note.startswith(f"WARNING: feature {name!r} counts the rows") and f"--drop {name}" in note
        for note in found.notes
    )
    assert read_table(path, TableReading(drop=(name,))).names == ["a", "b"]
    assert not any(
        "counts the rows" in note for note in read_table(path, TableReading(only=(name, "b"))).notes
    )


def test_few_rows_a_lone_column_and_arrays_are_taken_without_a_word(tmp_path):
    found = read_table(table(tmp_path, "t", np.arange(1, 11), rows=10), TableReading())
    assert found.names == ["t", "a", "b"]
    for columns in (1, 2):
        np.savez(tmp_path / "t.npz", x=np.arange(40.0)[:, None] * np.arange(1, columns + 1), y=np.zeros(40))
        found = read_table(tmp_path / "t.npz", TableReading())
        assert not any("counts the rows" in note for note in found.notes)


def test_holes_and_texts_do_not_count(tmp_path):
    numbers = [*range(1, 60), ""]
    found = read_table(table(tmp_path, "t", numbers), TableReading(missing="drop"))
    assert found.names == ["t", "a", "b"]
