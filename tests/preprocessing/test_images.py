"""Pictures: arrays, files, and what their place says of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.images import (
    decode_picture,
    describe_path,
    inner_names,
    npz_colours,
    read_npz,
    resize,
    zip_members,
)
from esad.preprocessing.pictures import TO_RGB
from esad.preprocessing.splits.two_values import Stated, read_values
from esad.preprocessing.tables.columns import Columns

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)


def encoded(array, mode=None, kind="PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).convert(mode).save(out, kind) if mode else Image.fromarray(array).save(out, kind)
    return out.getvalue()


def test_a_decoded_picture_has_the_size_and_colour_that_were_asked_for():
    picture = decode_picture(encoded(PICTURES[0]), "a.png", 4, "rgb")
    assert (picture.pixels.shape, picture.notes) == ((4, 4, 3), (TO_RGB,))
    whole = decode_picture(encoded(PICTURES[0]), "a.png", None)
    assert (whole.pixels.shape, whole.notes) == ((8, 8, 1), ())


def test_the_headers_of_an_npz_tell_its_colours(tmp_path):
    path = tmp_path / "a.npz"
    for arrays, colours in (
        ({"x": PICTURES}, {"grey": 6}),
        ({"X": PICTURES[..., None]}, {"grey": 6}),
        ({"x": np.zeros((2, 8, 8, 3), np.uint8)}, {"rgb": 2}),
        ({"x_train": PICTURES, "x_test": PICTURES[:2]}, {"grey": 8}),
        ({"y": PICTURES}, {}),
        ({"x": np.uint8(3)}, {}),
    ):
        np.savez(path, **arrays)
        assert npz_colours(path) == colours
    path.write_bytes(path.read_bytes()[:50])
    assert npz_colours(path) == {}


@pytest.mark.parametrize("size", [2, 4])
def test_resizing_by_a_whole_factor_is_the_mean(size):
    means = PICTURES[0].reshape(size, 8 // size, size, 8 // size).mean((1, 3))
    assert np.abs(resize(PICTURES[0][..., None], size)[..., 0] - means).max() <= 1


def test_npz_of_both_layouts(tmp_path):
    np.savez(
        tmp_path / "a.npz", x=PICTURES, y=np.array([0, 1] * 3), view=list("aabbab"), patient=list("123123"),
        id=np.array([b"i1"] * 6), mean=np.ones(3), split=["train_val", "test"] * 3,
    )  # fmt: skip
    pictures, items = read_npz(tmp_path / "a.npz", Columns(group="patient"), None)
    assert np.array_equal(pictures[..., 0], PICTURES)
    assert set(items) == {"stated", "group", "split", "view", "id"}
    assert items["id"].tolist() == ["i1"] * 6
    assert items["split"].tolist() == ["train", "test"] * 3
    assert read_npz(tmp_path / "a.npz", Columns(group="none"), None)[1]["patient"].tolist() == list("123123")
    with pytest.raises(UsageError, match="one called 'patient': say --group patient"):
        read_npz(tmp_path / "a.npz", Columns(), None)
    np.savez(
        tmp_path / "b.npz",
        x_train=PICTURES[:4],
        y_train=np.arange(4)[:, None],
        x_test=PICTURES[4:],
        y_test=[[5], [6]],
    )
    pictures, items = read_npz(tmp_path / "b.npz", Columns(), None)
    assert np.array_equal(pictures[..., 0], PICTURES)
    assert items["stated"].tolist() == ["0", "1", "2", "3", "5", "6"]
    assert items["split"].tolist() == ["train"] * 4 + ["test"] * 2


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": PICTURES.astype(float)}, r"x is float64 \(6, 8, 8\); expected uint8"),
        ({"x": PICTURES[0]}, r"x is uint8 \(8, 8\)"),
        ({"x": np.zeros((2, 8, 8, 4), np.uint8)}, "4 channels"),
        ({"x": PICTURES[:0]}, "holds no pictures"),
        ({"pictures": PICTURES}, "it has pictures"),
        ({"x": PICTURES, "y": np.zeros(5)}, r"y is \(5,\); expected one value for each of 6"),
    ],
)
def test_npz_of_another_shape_is_refused(tmp_path, arrays, told):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=rf"a\.npz: .*{told}"):
        read_npz(tmp_path / "a.npz", Columns(), None)


@pytest.mark.parametrize(
    ("path", "split", "name"),
    [
        ("a.png", None, None),
        ("good/a.png", None, "good"),
        ("good/deeper/a.png", None, "good"),
        ("train/good/a.png", "train", "good"),
        ("bottle/test/crack/a.png", "test", "crack"),
        ("Train_Val/good/a.png", "train", "good"),
        ("val/a.png", "validation", None),
    ],
)
def test_a_path_tells_split_and_class(path, split, name):
    assert describe_path(path) == {"split": split, "class_name": name}


def test_a_folder_alone_is_the_class_that_it_is_named_after():
    assert describe_path("a.png", "Normal")["class_name"] == "Normal"
    assert describe_path("test/a.png", "bad") == {"split": "test", "class_name": "bad"}
    assert describe_path("a.png", "archive")["class_name"] is None
    assert describe_path("cat/a.png", "normal")["class_name"] == "cat"


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["good", "crack", "good"], [0, 1, 0]),
        (["Normal", "ill", None], [0, 1, None]),
        (["cat", "dog"], [None, None]),
        (["good", "crack", "hole"], [None, None, None]),
        (["good", "good"], [0, 0]),
        (["good", "normal"], [None, None]),
    ],
)
def test_class_folders_are_labels_where_they_tell(classes, labels):
    found = read_values(pd.Series(classes, dtype="string"), None, Stated()).labels
    assert [None if pd.isna(label) else int(label) for label in found] == labels


def write_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "b/../../a.png", "C:/a.png", "..\\a.png"])
def test_members_that_leave_the_archive_refuse_it(tmp_path, name):
    with pytest.raises(InputError, match="points out of the archive"):
        zip_members(write_zip(tmp_path / "a.zip", "good/a.png", name))


def test_members_are_pictures_only(tmp_path):
    path = write_zip(tmp_path / "a.zip", "b.png", "a.JPG", "notes.txt", "__MACOSX/b.png", ".h.png", "d/")
    assert zip_members(path) == ["a.JPG", "b.png"]
    for content in (b"", b"PK nothing"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable zip"):
            zip_members(path)
    with pytest.raises(InputError, match="holds no pictures"):
        zip_members(write_zip(tmp_path / "b.zip", "notes.txt"))


def test_the_one_folder_around_all_is_no_class():
    assert inner_names(["set/good/a.png", "set/bad/b.png"]) == {
        "set/good/a.png": "good/a.png",
        "set/bad/b.png": "bad/b.png",
    }
    for kept in (["good/a.png"], ["train/good/a.png"], ["a/1.png", "b/1.png"], ["1.png"], []):
        assert inner_names(kept) == {name: name for name in kept}


@pytest.mark.parametrize(
    ("path", "split", "class_name"),
    [
        ("train/train/cats/a.png", "train", "cats"),
        ("training_set/training_set/cats/a.png", "train", "cats"),
        ("seg_train/seg_train/sea/a.png", "train", "sea"),
        ("Test Images/dogs/a.png", "test", "dogs"),
        ("set/Train-Data/dogs/a.png", "train", "dogs"),
        ("train/images/a.png", "train", "images"),
        ("train/pictures/a.png", "train", "pictures"),
        ("train/images/normal/a.png", "train", "normal"),
        ("train/images/cats/a.png", "train", "images"),
        ("train/test_bench/a.png", "train", "test_bench"),
        ("bad/train/train/a.png", "train", "bad"),
        ("data/cats/a.png", None, "data"),
    ],
)
def test_parts_that_are_nested_or_called_after_their_images_are_no_classes(path, split, class_name):
    assert describe_path(path) == {"split": split, "class_name": class_name}


def medmnist(folder):
    """An npz as MedMNIST has it: the part before the name, labels (N, 1)."""
    numbers = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 6), ("val", 2), ("test", 4)):
        arrays[f"{part}_images"] = numbers.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(folder / "m.npz", **arrays)
    return arrays


def test_arrays_called_images_with_the_part_before_the_name_are_x(tmp_path):
    arrays = medmnist(tmp_path)
    pictures, known = read_npz(tmp_path / "m.npz", Columns(label="labels", named=frozenset({"labels"})), None)
    expected = np.concatenate([arrays[f"{part}_images"] for part in ("train", "val", "test")])
    np.testing.assert_array_equal(pictures[..., 0], expected)
    assert known["split"].tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    assert known["stated"].tolist() == ["0", "1"] * 6


@pytest.mark.parametrize(
    ("names", "told"), [(("images", "data"), "expected an array x"), (("things",), "expected an array x")]
)
def test_what_is_meant_by_x_is_not_guessed(tmp_path, names, told):
    np.savez(tmp_path / "a.npz", **{name: np.zeros((2, 8, 8), np.uint8) for name in names})
    with pytest.raises(InputError, match=told):
        read_npz(tmp_path / "a.npz", Columns(), None)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), r"move them last, x\.transpose"),
        (np.zeros((2, 8, 8), np.float32), r"\(255 \* x\)\.round"),
    ],
)
def test_how_arrays_of_other_forms_become_pictures_is_said(tmp_path, array, told):
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(InputError, match=told):
        read_npz(tmp_path / "a.npz", Columns(), None)


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "images_train", "test_images"),
        ("train_images", "test_images", "train_view", "view_train"),
    ],
)
def test_two_names_of_one_array_are_not_settled(tmp_path, names):
    np.savez(tmp_path / "a.npz", **{name: np.zeros((2, 8, 8), np.uint8) for name in names})
    with pytest.raises(InputError, match="expected an array x"):
        read_npz(tmp_path / "a.npz", Columns(), None)


def test_arrays_of_no_part_keep_their_names(tmp_path):
    np.savez(
        tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8), test_result=[0, 1], val_group=["a", "b"]
    )
    columns = Columns(label="test_result", group="val_group", named=frozenset({"test_result", "val_group"}))
    known = read_npz(tmp_path / "a.npz", columns, None)[1]
    assert (known["stated"].tolist(), known["group"].tolist()) == (["0", "1"], ["a", "b"])
