"""Texts that a spreadsheet would run are escaped in CSV, numbers are not, and all come back as they were."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.pipeline.cli.app import call
from esad.preprocessing.privacy import read_names, remember_names
from esad.preprocessing.splits.labels import read_labels
from esad.preprocessing.store.csv_cells import csv_text, escaped, plain, plain_table


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_begins_a_formula_is_escaped(sign):
    assert escaped(f"{sign}cmd|' /C calc'!A0") == f"'{sign}cmd|' /C calc'!A0"


@pytest.mark.parametrize("text", ["a", "", "-1", "+2.5", "-1e-3", "'quoted'", "a=b", "-.5", "nan"])
def test_numbers_and_other_texts_stay(text):
    assert escaped(text) == text


@given(st.text(alphabet="'=+-@\t\r a1.e\n,\""))
def test_every_text_comes_back(text):
    assert plain(escaped(text)) == text


@given(st.lists(st.text(alphabet="'=+-@ab1\n,\"", min_size=1), min_size=1))
def test_tables_come_back_and_no_cell_of_theirs_begins_a_formula(texts):
    table = pd.DataFrame({"=name": pd.array(texts, dtype="string"), "score": range(len(texts))})
    written = csv_text(table)
    for row in csv.reader(io.StringIO(written)):
        assert all(cell[:1] not in ("=", "@") for cell in row)
    read = pd.read_csv(io.StringIO(written), dtype={"'=name": "string"}, keep_default_na=False)
    assert plain_table(read)["=name"].tolist() == texts


def test_negative_numbers_and_nulls_are_written_as_they_are():
    table = pd.DataFrame(
        {"score": [-1.5, None], "label": pd.array([None, -1], dtype="Int8"), "part": [None, "x"]}
    )
    assert csv_text(table) == "score,label,part\n-1.5,,\n,-1,x\n"


def test_names_of_hashed_files_come_back(tmp_path):
    names = {"=a.png": "1" * 16, "-b/c.png": "2" * 16, "'=d.png": "3" * 16}
    remember_names(tmp_path / "key", names)
    assert b"\n" + b"1" * 16 + b",=" not in (tmp_path / "key.names.csv").read_bytes()
    assert read_names(tmp_path / "key") == {value: name for name, value in names.items()}


def test_labels_may_be_copied_from_our_own_csv(tmp_path):
    (tmp_path / "labels.csv").write_text("source,label\n'=a.png,1\nb.png,0\n")
    assert read_labels(tmp_path / "labels.csv")["source"].tolist() == ["=a.png", "b.png"]


def test_a_refused_file_that_is_called_like_a_formula_is_escaped(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "=cmd.png").write_bytes(b"no picture")
    assert call(["images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    text = (tmp_path / "out" / "failures.csv").read_text()
    assert "'=cmd.png" in text
    assert "\n=" not in text
    assert ",=" not in text
