"""NIH's metadata and regions of any archive."""

from __future__ import annotations

import pandas as pd
import pytest

from esad.preprocessing.errors import UsageError
from esad.preprocessing.radiographs.nih import REGION, read_metadata


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
