"""Parquet of encoded pictures: pixels and names as Hugging Face's sets have them; a row that cannot be used is named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.natural.parquet import parquet_colours, read_parquet
from esad.preprocessing.pictures import TO_RGB
from esad.preprocessing.tables.columns import Columns
from tests.preprocessing.natural.set_files import CLASSES, COLOUR, GREY, NAMES, encoded, write_parquet


def test_pictures_names_and_split_come_as_they_are_published(tmp_path):
    path = write_parquet(tmp_path / "test-00000-of-00001.parquet", id=[f"i{n}" for n in range(12)])
    pixels, table, notes, label_column = read_parquet(path, Columns(), None, "rgb")
    assert np.array_equal(pixels, COLOUR)
    assert table["stated"].tolist() == [NAMES[number] for number in CLASSES]
    assert set(table["split"]) == {"test"}
    assert table["id"].tolist()[:2] == ["i0", "i1"]
    assert (notes, label_column) == ([], "label")
    assert parquet_colours(path) == {"rgb": 12}


def test_a_column_of_bytes_alone_without_names_keeps_its_numbers(tmp_path):
    table = pa.table({"png": [encoded(picture) for picture in GREY], "y": CLASSES, "patient": ["p"] * 12})
    pq.write_table(table, tmp_path / "a.parquet")
    pixels, items, notes, label_column = read_parquet(
        tmp_path / "a.parquet", Columns(group="patient"), 16, "rgb"
    )
    assert pixels.shape == (12, 16, 16, 3)
    assert items["stated"].tolist() == [str(number) for number in CLASSES]
    assert items["group"].tolist() == ["p"] * 12
    assert (notes, label_column) == ([TO_RGB], "y")
    assert parquet_colours(tmp_path / "a.parquet") == {"grey": 12}


def test_a_class_that_is_not_told_has_none_and_one_without_a_name_is_refused(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", label=pa.array([-1, None, *CLASSES[2:]]))
    stated = read_parquet(path, Columns(), None, "rgb")[1]["stated"]
    assert stated.isna().tolist() == [True] * 2 + [False] * 10
    write_parquet(path, label=pa.array([10, *CLASSES[1:]]))
    with pytest.raises(
        InputError, match=r"a\.parquet, column label: holds class 10, and the file names 10 classes"
    ):
        read_parquet(path, Columns(), None, "rgb")


def test_rows_that_cannot_be_used_are_named_and_counted(tmp_path):
    cells = [encoded(picture) for picture in COLOUR]
    cells[3] = cells[3][: len(cells[3]) // 2]
    path = write_parquet(tmp_path / "a.parquet", [*cells[:5], None, *cells[6:]])
    with pytest.raises(InputError, match=r"a\.parquet: row 3 cannot be used: .* So are 1 other rows"):
        read_parquet(path, Columns(), None, "rgb")


def test_two_sizes_are_told_before_any_picture_is_decoded(tmp_path):
    cells = [encoded(COLOUR[0]), encoded(COLOUR[1][:20])]
    path = write_parquet(tmp_path / "a.parquet", cells)
    with pytest.raises(InputError, match=r"row 0 is 32 x 32 pixels, row 1 is 32 x 20 pixels: give one size"):
        read_parquet(path, Columns(), None, "rgb")
    assert read_parquet(path, Columns(), 16, "rgb")[0].shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"a": [1, 2]}, "expected one column of encoded pictures; it has a"),
        ({"a": [b"x"], "b": [b"y"]}, "a, b may be it"),
        ({"image": pa.array([], pa.binary())}, "holds no pictures"),
        ({"image": [b"not a picture"]}, "row 0 cannot be used: picture: not a readable picture"),
    ],
)
def test_a_table_that_holds_no_pictures_is_refused(tmp_path, columns, told):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet: .*{told}"):
        read_parquet(tmp_path / "a.parquet", Columns(), None, "rgb")


def test_a_column_that_may_be_the_label_is_asked_about(tmp_path):
    pq.write_table(pa.table({"image": [encoded(COLOUR[0])], "diagnosis": ["ill"]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="one called 'diagnosis': say --label diagnosis"):
        read_parquet(tmp_path / "a.parquet", Columns(), None, "rgb")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    pq.write_table(pa.table({"image": [bytes(1 << 29)]}), tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(InputError, match=r"a\.parquet: claims 537 MB"):
        read_parquet(tmp_path / "a.parquet", Columns(), None, "rgb")
    assert parquet_colours(tmp_path / "a.parquet") == {}


@pytest.mark.parametrize("name", ["labels", "fine_labels"])
def test_lists_of_labels_are_asked_about(tmp_path, name):
    lists = pa.array([[0], [1, 2], []], pa.list_(pa.int64()))
    pictures = pa.array([encoded(np.full((8, 8), shade, np.uint8)) for shade in (1, 2, 3)], pa.binary())
    pq.write_table(pa.table({"image": pictures, name: lists}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"column '{name}' holds lists"):
        read_parquet(tmp_path / "a.parquet", Columns(), None, "grey")
    assert len(read_parquet(tmp_path / "a.parquet", Columns(label="none"), None, "grey").pixels) == 3


def test_labels_of_two_kinds_are_asked_about(tmp_path):
    pictures = pa.array([encoded(np.full((8, 8), shade, np.uint8)) for shade in (1, 2)], pa.binary())
    columns = {"image": pictures, "fine_label": pa.array([0, 1]), "coarse_label": pa.array([0, 0])}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="one called 'fine_label'"):
        read_parquet(tmp_path / "a.parquet", Columns(), None, "grey")
