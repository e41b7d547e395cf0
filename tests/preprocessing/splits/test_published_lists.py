"""The published sets: counts to the unit, names one by one, and tumour tiles inside the real outlines."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import shapely

from esad.preprocessing.errors import UsageError
from esad.preprocessing.radiographs.nih import read_metadata
from esad.preprocessing.slides.outlines.finding import find_outlines
from esad.preprocessing.slides.outlines.fractions import outline_fractions
from esad.preprocessing.slides.outlines.reading import read_outlines
from esad.preprocessing.splits.published_lists import (
    camelyon16_tiles,
    counts,
    nih_subset,
    nih_view,
    parse_tile_name,
    read_lists,
)


def archive(path, files):
    with tarfile.open(path, "w:gz") as out:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            out.addfile(member, io.BytesIO(text.encode()))
    return path


NAMES = {
    "folds/train_test_split/camelyon16/healthy/normal/train": "normal_001_normal_x_768_y_1536_w_768_h_768.jpg\n",
    "folds/train_test_split/camelyon16/healthy/normal/test": "test_003_normal_x_0_y_0_w_768_h_768.jpg\n",
    "folds/train_test_split/camelyon16/healthy/anomaly/test": "test_001_tumor_x_0_y_768_w_768_h_768.jpg\n",
    "folds/folds/camelyon16/healthy/0/anomaly/test": "tumor_016_tumor_x_5_y_7_w_768_h_768.jpg\n",
    "folds/folds/camelyon16/healthy/1/anomaly/test": "tumor_016_tumor_x_5_y_7_w_768_h_768.jpg\ntumor_052_tumor_x_1_y_2_w_768_h_768.jpg",
}


def test_x_in_a_tile_name_is_the_row():
    assert parse_tile_name("tumor_016_tumor_x_5_y_7_w_768_h_512.jpg") == ("tumor_016", 7, 5, 768, 512)
    with pytest.raises(UsageError, match=r"'a\.jpg': not a tile name"):
        parse_tile_name("a.jpg")


def test_labelled_tiles_are_the_union_of_the_folds(tmp_path):
    table = camelyon16_tiles(archive(tmp_path / "a.tar.gz", NAMES))
    assert counts(table) == {"train": {"normal": 1, "anomaly": 2}, "test": {"normal": 1, "anomaly": 1}}
    first = table.iloc[0]
    assert (first["slide"], first["x"], first["y"]) == ("normal_001", 1536, 768)
    assert table["semi_label"].tolist()[1:3] == [-1, -1]
    assert table["semi_label"].isna().sum() == 3


def test_an_unpacked_folder_reads_as_its_archive(tmp_path):
    path = archive(tmp_path / "a.tar.gz", NAMES)
    for name, text in NAMES.items():
        file = tmp_path / "open" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert read_lists(tmp_path / "open") == read_lists(path)


def test_what_is_no_list_archive_is_refused_by_name(tmp_path):
    (tmp_path / "a.txt").write_text("no archive")
    for path, words in (
        (tmp_path / "a.txt", "not a readable list archive"),
        (tmp_path / "absent.tar.gz", "not a readable list archive"),
        (archive(tmp_path / "b.tar.gz", {"notes": "x"}), "found none"),
    ):
        with pytest.raises(UsageError, match=words):
            read_lists(path)
    path = archive(tmp_path / "c.tar.gz", {key: NAMES[key] for key in list(NAMES)[1:]})
    with pytest.raises(UsageError, match="normal/train is missing"):
        camelyon16_tiles(path)
    with pytest.raises(UsageError, match="nih/subset/normal/train is missing"):
        nih_subset(path)


@pytest.mark.data
def test_camelyon16_counts_are_the_papers(data):
    table = camelyon16_tiles(data / "camelyon16" / "dpa_folds_camelyon16.tar.gz")
    assert counts(table) == {
        "train": {"normal": 7612, "anomaly": 200}, "test": {"normal": 4000, "anomaly": 817},
    }  # fmt: skip
    labelled = table[table["semi_label"] == -1]
    assert set(labelled["slide"]) == {"tumor_016", "tumor_052", "tumor_078", "tumor_085"}
    assert not table["name"].duplicated().any()
    assert set(table.loc[table["split"] == "train", "slide"]).isdisjoint(
        table.loc[table["split"] == "test", "slide"]
    )


@pytest.mark.data
def test_every_listed_tumour_tile_lies_inside_the_real_outlines(data):
    """All nine 256-px cell centres of all tumour tiles of the nine slides with outlines.

    docs/explanation/protocols.md#row-and-column.
    """
    lists = read_lists(data / "camelyon16" / "dpa_folds_camelyon16.tar.gz")
    tiles = [parse_tile_name(name) for name in lists["train_test_split/camelyon16/healthy/anomaly/train"]]
    outlines = find_outlines(data / "camelyon16" / "polygons")
    assert len(outlines) == 9
    checked, least = 0, 1.0
    for stem, path in outlines.items():
        boxes = np.array([place for slide, *place in tiles if slide == stem], dtype=float)
        if not len(boxes):
            continue
        area = read_outlines(path)
        for row in range(3):
            for column in range(3):
                x, y = boxes[:, 0] + 128 + 256 * column, boxes[:, 1] + 128 + 256 * row
                assert shapely.contains_xy(area, x, y).all(), stem
        least = min(least, float(outline_fractions(area, boxes).min()))
        checked += len(boxes)
    assert checked == 303
    assert 0.99 < least < 1  # nine centres do not see a corner that the outline cuts off


@pytest.mark.data
@pytest.mark.parametrize(
    ("view", "train", "test"), [("AP", (16003, 649), (5056, 9444)), ("PA", (34497, 1177), (4805, 6291))]
)
def test_nih_by_projection_is_the_published_list_name_by_name(data, view, train, test):
    metadata = read_metadata(data / "nih" / "metadata")
    table = nih_view(metadata, view)
    found = counts(table)
    assert (found["train"]["normal"], found["train"]["anomaly"]) == train
    assert (found["test"]["normal"], found["test"]["anomaly"]) == test
    lists = read_lists(data / "nih" / "dpa_folds_nih.tar.gz")
    for split, label, kind in (("train", 0, "normal"), ("test", 0, "normal"), ("test", 1, "anomaly")):
        ours = table.loc[(table["split"] == split) & (table["label"] == label), "image"]
        assert set(ours) == set(lists[f"train_test_split/nih/{view}/{kind}/{split}"])
    pool = {name for fold in range(3) for name in lists[f"folds/nih/{view}/{fold}/anomaly/test"]}
    labelled = set(table.loc[table["semi_label"] == -1, "image"])
    assert labelled <= pool
    patients = metadata["patient"]
    sides = [set(patients[table.loc[table["split"] == split, "image"]]) for split in ("train", "test")]
    assert sides[0].isdisjoint(sides[1])
    assert nih_view(metadata, view, seed=1)["image"].tolist() != table["image"].tolist()
    assert nih_view(metadata, view)["image"].tolist() == table["image"].tolist()


@pytest.mark.data
def test_the_nih_subset_is_its_lists(data):
    table = nih_subset(data / "nih" / "dpa_folds_nih.tar.gz")
    assert counts(table) == {
        "train": {"normal": 5110, "anomaly": 857}, "test": {"normal": 677, "anomaly": 667},
    }  # fmt: skip
    assert not table["image"].duplicated().any()
