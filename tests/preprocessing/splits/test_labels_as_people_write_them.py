"""Files of labels as spreadsheets, Windows and Macs write them, and names that mean a source without being written as it."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.label_names import meant_sources
from esad.preprocessing.splits.labels import apply_labels, read_labels

UMLAUT = "ä.png"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separators_and_encodings_say_the_same(tmp_path, separator, encoding):
    rows = [("source", "label", "group"), (UMLAUT, "1", "p1"), ("b.png", "", "p2"), ("c.png", "0", "")]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    table = read_labels(tmp_path / "labels.csv")
    assert table["source"].tolist() == [UMLAUT, "b.png", "c.png"]
    assert table["label"].astype(object).where(table["label"].notna(), None).tolist() == [1, None, 0]
    assert table["group"].astype(object).where(table["group"].notna(), None).tolist() == ["p1", "p2", None]


@pytest.mark.parametrize("mark", [";", ",", "\t", "|"])
def test_a_first_line_for_excel_is_read_and_lines_are_counted_with_it(tmp_path, mark):
    path = tmp_path / "labels.csv"
    rows = [f"sep={mark}", f"source{mark}label", f"a.png{mark}1", f"b.png{mark}0"]
    path.write_text("\r\n".join(rows) + "\r\n")
    table = read_labels(path)
    assert table["source"].tolist() == ["a.png", "b.png"]
    assert table["label"].tolist() == [1, 0]
    path.write_text("\n".join([*rows, f"c.png{mark}7"]))
    with pytest.raises(UsageError, match="line 5: label '7'"):
        read_labels(path)
    path.write_text("\n".join([*rows, "c.png"]))
    with pytest.raises(UsageError, match="line 5: 1 of 2 cells"):
        read_labels(path)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("normal", 0),
        ("Anomaly", 1),
        ("ABNORMAL", 1),
        ("benign", 0),
        ("True", 1),
        ("no", 0),
        (" tumor ", 1),
        ("1.0", 1),
    ],
)
def test_words_for_labels(tmp_path, written, label):
    (tmp_path / "labels.csv").write_text(f"source,label\na.png,{written}\n")
    assert read_labels(tmp_path / "labels.csv")["label"].tolist() == [label]


@pytest.mark.parametrize("written", ["-1", "maybe", "not normal", "F", "unknown"])
def test_other_values_are_refused_with_what_is_expected(tmp_path, written):
    (tmp_path / "labels.csv").write_text(f"source,label\na.png,{written}\n")
    with pytest.raises(UsageError, match=r"line 2: label .* is none of 0, 1 or empty: 1 is an anomaly"):
        read_labels(tmp_path / "labels.csv")


def test_rows_of_separators_alone_are_passed_over_and_lines_still_counted(tmp_path):
    (tmp_path / "labels.csv").write_text("source,label\na.png,1\n,\n,\n")
    assert len(read_labels(tmp_path / "labels.csv")) == 1
    (tmp_path / "labels.csv").write_text("source,label\na.png,1\n,\nb.png,7\n")
    with pytest.raises(UsageError, match="line 4: label '7'"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("stated", "source"),
    [
        ("x\\a.png", "x/a.png"), ("./x/a.png", "x/a.png"), ("x/a.png ", "x/a.png"), ("a.png", "x/a.png"), ("a", "x/a.png"),
        ("A.PNG", "x/a.png"), ("X/A.png", "x/a.png"), ("/data/archive/x/a.png", "x/a.png"), ("C:\\data\\x\\a.png", "x/a.png"),
        (unicodedata.normalize("NFD", UMLAUT), UMLAUT), ("S1", "S1.tif"), ("b.c", "b.c.svs"),
    ],
)  # fmt: skip
def test_a_name_written_otherwise_is_found(stated, source):
    sources = ["x/a.png", UMLAUT, "S1.tif", "b.c.svs", "y/other.png"]
    assert meant_sources([stated], sources) == {stated: source}


@pytest.mark.parametrize(
    ("stated", "sources"),
    [
        ("a.png", ["x/a.png", "y/a.png"]),  # either
        ("a", ["a.png", "a.dcm"]),
        ("y/a.png", ["x/a.png"]),  # of another folder
        ("a.dcm", ["a.png"]),  # another file
        ("A.png", ["x/a.png", "y/a.png"]),
        ("/data/b/a.png", ["x/a.png"]),
        ("", ["a.png"]),
    ],
)
def test_what_two_could_be_meant_by_or_none_means_none(stated, sources):
    assert meant_sources([stated], sources) == {}


def test_a_source_that_is_stated_as_written_is_nobody_elses():
    assert meant_sources(["a.png", "A.png"], ["a.png"]) == {}


def test_labels_reach_their_items():
    items = pd.DataFrame(
        {"source": ["x/S1.tif", "x/S1.tif", "x/S2.tif"], "label": pd.array([None] * 3, "Int8")}
    )
    labels = pd.DataFrame({"source": ["S1", "s2.TIF", "S3"], "label": pd.array([1, 0, 1], "Int8")})
    found, unmatched = apply_labels(items, labels)
    assert found["label"].tolist() == [1, 1, 0]
    assert unmatched == ["S3"]


@pytest.mark.parametrize(
    ("stated", "sources", "found"),
    [
        (["/a/1.png", "/b/2.png"], ["1.png", "2.png"], {}),  # of two archives
        (["/a/1.png", "/a/2.png"], ["1.png", "2.png"], {"/a/1.png": "1.png", "/a/2.png": "2.png"}),
        (["/data/x/a.png"], ["a.png", "x/a.png"], {"/data/x/a.png": "x/a.png"}),
        (["1.2.840.5"], ["1.2.840.5.1"], {}),  # a study is not its file
        (["a.png"], ["x/a.png", "y/a.png", "z/a.png.tif"], {}),
        (["a.png"], ["x/a.png", "y/a.png", "z/A.png"], {}),
    ],
)
def test_names_that_lead_astray(stated, sources, found):
    assert meant_sources(stated, sources) == found


def test_the_case_of_a_drive_is_no_other_root():
    assert len(meant_sources(["C:\\d\\1.png", "c:/d/2.png"], ["1.png", "2.png"])) == 2
