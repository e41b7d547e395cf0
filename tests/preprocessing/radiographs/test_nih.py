"""NIH's metadata and regions of any archive."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.radiographs.nih import LISTS, REGION, read_metadata, rows_of


def write_entries(folder, views="PA AP PA"):
    rows = [
        {"Image Index": f"{n}.png", "Finding Labels": "No Finding" if n else "Mass|Edema", "Patient ID": n + 7, "View Position": view}
        for n, view in enumerate(views.split())
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "Data_Entry_2017.csv", index=False)


def test_lists_and_boxes_beside_the_entries_are_read(tmp_path):
    write_entries(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("0.png\n")
    (tmp_path / "test_list.txt").write_text("2.png\n")
    boxes = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n0.png,Mass,1.5,2,3,4\n0.png,Edema,9,9,9,9\n"
    (tmp_path / "BBox_List_2017.csv").write_text(boxes)
    for path in (tmp_path, tmp_path / "Data_Entry_2017.csv"):
        table = read_metadata(path)
        assert table["split"].fillna("-").tolist() == ["train", "-", "test"]
        assert table.loc["0.png", list(REGION)].tolist() == [1.5, 2, 3, 4]
        assert table.loc["1.png", list(REGION)].isna().all()
        assert table.loc["0.png", ["view", "finding", "patient"]].tolist() == ["PA", "Mass|Edema", "7"]


def test_regions_come_alone_or_before_boxes(tmp_path):
    (tmp_path / "regions.csv").write_text("source,x,y,width,height\na/0.png,1,2,3,4\n0.png,5,6,7,8\n")
    assert read_metadata(tmp_path / "regions.csv").loc["a/0.png"].tolist() == [1, 2, 3, 4]
    assert list(read_metadata(tmp_path).columns) == list(REGION)
    write_entries(tmp_path)
    table = read_metadata(tmp_path)
    assert table.loc["0.png", ["view", *REGION]].tolist() == ["PA", 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("Data_Entry_2017.csv", "a,b\n1,2\n", "not NIH's metadata"),
        ("regions.csv", "source,x\na,1\n", "expected the columns source, x, y"),
        ("regions.csv", "source,x,y,width,height\na,1,2,wide,4\n", "wide"),
        (
            "regions.csv",
            "source,x,y,width,height,label\na,1,2,3,4,1\n",
            "column 'label', which is not read here",
        ),
        ("regions.csv", "source,x,y,width,height\na,1,2,0,4\n", "row 1: x, y, width, height are 1, 2, 0, 4"),
        ("regions.csv", "source,x,y,width,height\na,1,2,,4\n", "row 1: x, y, width, height are 1, 2, nan, 4"),
        ("BBox.csv", "", "expected NIH's Data_Entry"),
    ],
)
def test_what_is_no_metadata_is_named(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("images_001/images/0.png\nimages_001/images/1.png\n", "images\\2.png\n"),
        ("0\n1\n", "2\n"),
        ("Image Index\n0.png\n1.png\n", "\ufeffImage Index\n2.png\n"),
        ('"0.png",\r\n"1.PNG",\r\n\r\n', "2.png;\n"),
        ("0.png,train\n1.png,train\n", "Image Index;part\n'2.png';test\n"),
        ("a/0.png\ttrain\n1\ttrain\n", '"2.png","test, 2017"\n'),
    ],
)
def test_lists_of_parts_as_people_have_them(tmp_path, train, test):
    write_entries(tmp_path)
    (tmp_path / "train_val_list.txt").write_text(train)
    (tmp_path / "test_list.txt").write_text(test, encoding="utf-16" if "\ufeff" in test else "utf-8")
    table = read_metadata(tmp_path)
    assert table["split"].tolist() == ["train", "train", "test"]
    assert table.attrs[LISTS] == [
        "train_val_list: 2 of its 2 images have a row (train)", "test_list: 1 of its 1 images have a row (test)"
    ]  # fmt: skip


def test_lists_of_no_image_and_images_of_both_are_refused(tmp_path):
    write_entries(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png\n")
    with pytest.raises(
        UsageError, match=r"none of its 1 images has a row.*'00000001_000.png', a row '0.png'"
    ):
        read_metadata(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("0.png\n7.png\n")
    assert read_metadata(tmp_path).attrs[LISTS][0].startswith("train_val_list: 1 of its 2 images")
    (tmp_path / "test_list.txt").write_text("a/0\n")
    with pytest.raises(UsageError, match=r"0\.png is in the list of the other part"):
        read_metadata(tmp_path)


@pytest.mark.parametrize(("part", "other"), [("train", "test_list"), ("test", "train_val_list")])
def test_metadata_of_one_part_are_read_beside_both_lists(tmp_path, part, other):
    write_entries(tmp_path)
    for name in ("train_val_list", "test_list"):
        (tmp_path / f"{name}.txt").write_text("8.png\n9.png\n" if name == other else "0.png\n1.png\n2.png\n")
    table = read_metadata(tmp_path)
    assert table["split"].tolist() == [part] * 3
    assert any(told.startswith(f"{other}: 0 of its 2 images have a row") for told in table.attrs[LISTS])
    for name in ("train_val_list", "test_list"):
        (tmp_path / f"{name}.txt").write_text(f"{name}.png\n")
    with pytest.raises(UsageError, match=r"train_val_list.txt: none of its 1 images"):
        read_metadata(tmp_path)


ENTRIES = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,View Position,OriginalImage[Width,Height]\n"
    "0.png,Mass|Edema,0,7,PA,10,11\n1.png,No Finding,0,8,AP,10,11\n"
)
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n0.png,Mass,1.5,2,3,4\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "sep=;"])
@pytest.mark.parametrize("header", ["Image Index", "image index", " Image  Index "])
def test_metadata_that_a_spreadsheet_saved_are_read(tmp_path, encoding, mark, header):
    first, mark = ("sep=;\n", ";") if mark == "sep=;" else ("", mark)
    for name, text in (("Data_Entry_2017.csv", ENTRIES), ("BBox_List_2017.csv", BOXES)):
        saved = (
            text.replace(",", mark).replace("Image Index", header).replace("View Position", "view position ")
        )
        (tmp_path / name).write_bytes((first + saved.replace("\n", "\r\n")).encode(encoding))
    table = read_metadata(tmp_path)
    assert table.index.tolist() == ["0.png", "1.png"]
    assert table.loc["0.png", ["view", "finding", "patient"]].tolist() == ["PA", "Mass|Edema", "7"]
    assert table.loc["0.png", list(REGION)].tolist() == [1.5, 2, 3, 4]
    assert read_metadata(tmp_path / "Data_Entry_2017.csv")["finding"].tolist() == ["Mass|Edema", "No Finding"]


def test_boxes_with_decimal_commas_and_other_endings_are_read(tmp_path):
    write_entries(tmp_path)
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index;Finding Label;Bbox [x;y;w;h];;;\n0.PNG;Mass;1,5;2;3;4\n1;Edema;1,25;2;3;4\n"
    )
    assert read_metadata(tmp_path).loc[["0.png", "1.png"], REGION[0]].tolist() == [1.5, 1.25]
    (tmp_path / "regions.csv").write_text("Source;X;Y;Width;Height\n2.png;0,5;2;3;4\n")
    assert read_metadata(tmp_path / "regions.csv").loc["2.png"].tolist() == [0.5, 2, 3, 4]


def test_a_column_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "Data_Entry_2017.csv").write_text(ENTRIES.replace("Follow-up #", "patient id"))
    with pytest.raises(UsageError, match="two columns are called Patient ID"):
        read_metadata(tmp_path)


def test_rows_are_found_by_name_and_else_without_case_and_ending():
    rows = ["0.png", "a/1.png", "2.png", "3.png", "3.jpg", "1.2.840.1", "4.png"]
    names = ["x/0.PNG", "a/1.tif", "b/1.tif", "2.png", "y/2.jpg", "3.bmp", "1.2.840.2", "4.dcm", "5.png"]
    assert rows_of(rows, names) == {
        "x/0.PNG": "0.png",
        "a/1.tif": "a/1.png",
        "2.png": "2.png",
        "4.dcm": "4.png",
    }
