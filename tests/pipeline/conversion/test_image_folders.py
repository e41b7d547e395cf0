"""Folders of pictures: masks among them, and folders that may be parts of the data rather than classes."""

from __future__ import annotations

import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.conversion.image_folders import check_folders, without_masks
from esad.pipeline.stage.errors import UsageError
from esad.preprocessing.store.store import Store
from tests.pipeline.ingest.test_unseen import labels_of, picture

MASKS = [
    "bad/1_mask.png", "bad/1_GT.png", "bad/1_label.png", "bad/1_seg.png", "bad/1_segmentation.png", "bad/1-annotation.png",
    "bad/1_mask_2.png", "bad/label/1.png", "bad/labels/1.png", "bad/annotations/1.tif", "bad/annotation/1_label.png", "bad/masks/7.png",
]  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
def test_masks_are_left_out_and_counted(mask):
    kept, told = without_masks(["good/0.png", "bad/1.png", mask])
    assert kept == ["good/0.png", "bad/1.png"]
    assert told[0].startswith("1 masks ")


@pytest.mark.parametrize(
    "sources",
    [
        ["train/images/1.jpg", "train/labels/1.png"],
        ["bad/images/1.jpg", "bad/labels/1.png"],
        ["bad/images/1.jpg", "bad/label/1_seg.png"],
        ["folder/data/1.png", "folder/labels/1.png", "folder/gt/1.png"],
    ],
)
def test_masks_beside_a_folder_of_images_are_left_out(sources):
    assert without_masks(sources)[0] == sources[:1]


@pytest.mark.parametrize(
    "sources",
    [
        ["good/1.png", "label/1.png"],
        ["bad/1.png", "bad/label/2.png"],
        ["bad/1.png", "bad/2_label.png"],
        ["bad/case1.png", "bad/case1_seg_1.png", "bad/case1_seg_2.png"],
        ["bad/1.png", "bad/1_label_2.png"],
        ["food/label/1.png", "food/can/1.png"],
    ],
)
def test_pictures_that_are_only_called_like_masks_stay(sources):
    assert without_masks(sources) == (sources, [])


@pytest.mark.parametrize(
    ("part", "split"),
    [
        ("eval", "test"),
        ("Evaluation", "test"),
        ("test_public", "test"),
        ("test_private", "test"),
        ("test_private_mixed", "test"),
        ("hold_out", "test"),
        ("split=validation", "validation"),
    ],
)
def test_parts_are_known_by_more_words(tmp_path, part, split):
    for number, source in enumerate(["train/good/0.png", f"{part}/good/1.png", f"{part}/bad/2.png"]):
        picture(tmp_path / "can" / source, number)
    assert call(["images", str(tmp_path / "can"), "--out", str(tmp_path / "out")]) == 0
    assert labels_of(tmp_path / "out") == {
        "train/good/0.png": 0,
        f"{part}/good/1.png": 0,
        f"{part}/bad/2.png": 1,
    }
    items = Store(tmp_path / "out").manifest.set_index("source")
    assert items["split"].to_dict() == {
        "train/good/0.png": "train",
        f"{part}/good/1.png": split,
        f"{part}/bad/2.png": split,
    }


@pytest.mark.parametrize(
    "sources",
    [
        ["train/normal/0.png", "phase2/normal/1.png", "phase2/abnormal/2.png"],
        ["train/normal/0.png", "phase2/abnormal/2.png"],
        ["good/0.png", "defects/good/1.png"],
        ["train/good/0.png", "can/foo/good/1.png", "can/foo/bad/2.png"],
    ],
)
def test_a_folder_beside_a_normal_one_that_may_be_a_part_is_asked_about(sources):
    with pytest.raises(UsageError, match=r"lies beside .*--class .*=anomaly"):
        check_folders(sources, named=True)
    check_folders(sources, named=True, stated=True)


def test_a_question_about_folders_names_none_where_names_are_hidden():
    with pytest.raises(UsageError) as found:
        check_folders(["normal/0.png", "Miller/Ann/normal/1.png", "Miller/Bob/2.png"], named=False)
    assert not any(name in str(found.value) for name in ("Miller", "Ann", "Bob"))


@pytest.mark.parametrize(
    "sources",
    [
        ["good/0.png", "crack/1.png"],
        ["good/0.png", "crack/rgb/1.png", "crack/rgb/2.png"],
        ["good/p1/0.png", "crack/p2/1.png", "crack/p3/2.png"],
        ["good/0.png", "defects/scratch/1.png", "defects/dent/2.png"],
        ["good/0.png", "bad/scratch/1.png", "bad/dent/2.png"],
        ["normal/0.png", "pneumonia/bacteria/1.png", "pneumonia/virus/2.png"],
        ["normal/0.png", "crack/2020/1.png", "crack/2021/2.png"],
        ["normal/0.png", "patients/p1/1.png", "patients/p2/2.png"],
        ["train/normal/0.png", "train/pneumonia/bacteria/1.png", "test/pneumonia/virus/2.png"],
        ["good/0.png", "crack/1.png", "hole/a/1.png", "hole/b/1.png"],
        ["cats/a/0.png", "cats/b/0.png", "dogs/1.png"],
    ],
)
def test_folders_of_two_classes_that_are_clear_are_not_asked_about(sources):
    assert check_folders(sources, named=True) == []


def test_folders_in_a_class_of_a_part_are_told_and_not_asked_about():
    told = check_folders(
        ["train/normal/0.png", "train/growth/benign/1.png", "test/growth/ng/2.png"], named=True
    )
    assert len(told) == 1
    assert "2 pictures lie in folders such as 'benign, ng' below that of their class" in told[0]
