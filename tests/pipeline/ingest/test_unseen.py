"""Inputs that were taken as something else, or dropped, without a word: driven as a user does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from esad.preprocessing.store.store import Store
from esad.preprocessing.tables.npz import join_halves
from tests.pipeline.commands import made


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    return path


def labels_of(root):
    items = Store(root).manifest
    return {
        source: None if pd.isna(label) else int(label)
        for source, label in zip(items["source"], items["label"], strict=True)
    }


def entries(folder, *rows, name="Data_Entry_2017_v2020.csv"):
    names = ["Image Index", "Finding Labels", "Patient ID", "View Position"]
    pd.DataFrame(rows, columns=names).to_csv(folder / name, index=False)


def radiographs(folder, *more):
    return call(
        [
            "radiographs",
            str(folder),
            "--metadata",
            str(folder),
            "--out",
            str(folder.parent / "out"),
            "--size",
            "32",
            *more,
        ]
    )


@pytest.mark.parametrize("words", ["No Finding ", " No Finding", "no finding"])
def test_no_finding_in_another_spelling_is_normal(tmp_path, words):
    archive = tmp_path / "in"
    picture(archive / "1.png")
    entries(archive, ("1.png", words, 1, " pa"))
    assert radiographs(archive, "--projection", "PA") == 0
    assert labels_of(tmp_path / "out") == {"1.png": 0}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("1.png", "Normal", 1, "PA")], "Finding Labels 'Normal' is not known"),
        ([("1.png", "No Finding|Effusion", 1, "PA")], "says No Finding and a finding"),
        ([("1.png", "No Finding", 1, "PA"), ("1.png", "Effusion", 1, "PA")], "1.png stands there twice"),
    ],
)
def test_metadata_that_are_not_understood_are_refused(tmp_path, capsys, rows, told):
    archive = tmp_path / "in"
    picture(archive / "1.png")
    entries(archive, *rows)
    assert radiographs(archive) == 2
    assert told in capsys.readouterr().err


def test_two_metadata_files_and_a_name_of_two_pictures_are_refused(tmp_path, capsys):
    archive = tmp_path / "in"
    for folder in ("p1", "p2"):
        picture(archive / folder / "1.png")
    entries(archive, ("1.png", "No Finding", 1, "PA"))
    assert radiographs(archive) == 2
    assert "there are two of that name (p1/1.png, p2/1.png)" in capsys.readouterr().err
    entries(archive, ("1.png", "Effusion", 1, "PA"), name="Data_Entry_2017.csv")
    assert radiographs(archive) == 2
    assert "keep one, or name the one to read" in capsys.readouterr().err


def test_how_many_rows_of_metadata_go_with_a_radiograph_is_told(tmp_path, capsys):
    archive = tmp_path / "in"
    picture(archive / "1.png")
    picture(archive / "2.png", 1)
    entries(archive, ("7.png", "Effusion", 1, "PA"), ("2.png", "Effusion", 1, "PA"))
    assert radiographs(archive) == 0
    said = capsys.readouterr().err
    assert "2 rows; 1 of 2 radiographs have one" in said
    assert "1 have no group: nothing keeps those of one patient on one side of a split" in said
    assert labels_of(tmp_path / "out") == {"1.png": None, "2.png": 1}


def images(folder, *more):
    return call(["images", str(folder), "--out", str(folder.parent / "out"), "--size", "32", *more])


def test_a_zip_in_a_folder_that_is_called_good_is_not_good(tmp_path):
    archive = tmp_path / "good"
    for name, inner in (("crack.zip", "crack/1.png"), ("bad.zip", "2.png")):
        archive.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive / name, "w") as file:
            file.write(picture(tmp_path / "one.png"), inner)
    (tmp_path / "one.png").unlink()
    assert images(archive) == 0
    assert labels_of(tmp_path / "out") == {"bad.zip/2.png": 1, "crack.zip/crack/1.png": None}


def test_zips_in_class_folders_are_of_these(tmp_path):
    archive = tmp_path / "in"
    for folder in ("good", "bad"):
        (archive / folder).mkdir(parents=True)
        with zipfile.ZipFile(archive / folder / "p.zip", "w") as file:
            file.write(picture(tmp_path / "one.png"), "1.png")
    assert images(archive) == 0
    assert labels_of(tmp_path / "out") == {"good/p.zip/1.png": 0, "bad/p.zip/1.png": 1}


def test_masks_within_classes_are_no_pictures(tmp_path, capsys):
    archive = tmp_path / "in"
    for name in (
        "test/good/rgb/1.png",
        "test/good/gt/1.png",
        "test/crack/gt/1.png",
        "test/crack/rgb/1.png",
        "test/crack/b.png",
        "test/crack/b_mask.png",
    ):
        picture(archive / name)
    assert images(archive) == 0
    assert labels_of(tmp_path / "out") == {
        "test/good/rgb/1.png": 0,
        "test/crack/rgb/1.png": 1,
        "test/crack/b.png": 1,
    }
    assert "3 masks" in capsys.readouterr().err


def test_a_class_called_mask_stays_one(tmp_path):
    archive = tmp_path / "in"
    for name in ("mask/1.png", "no_mask/2.png"):
        picture(archive / name)
    assert images(archive, "--class", "mask=normal", "--class", "no_mask=anomaly") == 0
    assert labels_of(tmp_path / "out") == {"mask/1.png": 0, "no_mask/2.png": 1}


def test_linked_folders_and_other_endings_are_told(tmp_path, capsys):
    archive = tmp_path / "in"
    picture(archive / "good" / "1.png")
    picture(tmp_path / "elsewhere" / "2.png")
    (archive / "bad").symlink_to(tmp_path / "elsewhere")
    (archive / "good" / "3.xyz").write_text("")
    assert images(archive) == 0
    said = capsys.readouterr().err
    assert "in/bad: left out, it is a link to a folder" in said
    assert "1 other files are passed over by their endings: 1 .xyz" in said


def test_an_npz_of_wholes_and_parts_is_refused_and_of_three_parts_is_read(tmp_path, capsys):
    x, y = np.zeros((6, 40, 40), np.uint8), np.array([0, 0, 0, 0, 1, 1])
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a.npz", x=x, y=y, x_train=x[:4], x_test=x[4:])
    assert images(tmp_path / "in" / "a.npz") == 1
    assert "holds x beside x_train" in capsys.readouterr().err
    parts = {"train": slice(0, 3), "val": slice(3, 4), "test": slice(4, 6)}
    np.savez(
        tmp_path / "in" / "a.npz",
        **{f"x_{name}": x[rows] for name, rows in parts.items()},
        **{f"y_{name}": y[rows] for name, rows in parts.items()},
    )
    made("images", tmp_path / "in" / "a.npz", "--out", tmp_path / "three")
    items = Store(tmp_path / "three").manifest
    assert items["split"].tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert items["label"].tolist() == y.tolist()


def test_only_what_is_behind_an_underscore_is_the_part_of_an_array():
    arrays = {name: np.arange(2) for name in ("x_train", "x_test", "test", "valid")}
    joined = join_halves(arrays, Path("a.npz"))
    assert sorted(joined) == ["split", "test", "valid", "x"]


@pytest.mark.parametrize("name", ["label", "is_outlier", "isAnomaly", "anomaly_label"])
def test_a_second_label_column_is_asked_about(tmp_path, capsys, name):
    (tmp_path / "t.csv").write_text(f"a,{name},y\n1,0,0\n2,0,0\n9,1,1\n")
    assert call(["tables", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")]) != 0
    assert f"another that is called as labels are, '{name}'" in capsys.readouterr().err
    made("tables", tmp_path / "t.csv", "--drop", name, "--out", tmp_path / "out")
    assert Store(tmp_path / "out").columns == ["a"]


def test_stated_labels_come_before_classes_in_training_and_scores(tmp_path, capsys):
    archive = tmp_path / "in"
    for name in ("cat", "dog", "sandal"):
        for number in range(12):
            picture(archive / name / f"{name}{number}.png", number)
    (tmp_path / "m.csv").write_text("source,label\nsandal0.png,1\ncat0.png,0\n")
    made("images", archive, "--out", tmp_path / "out", "--size", "32", "--labels", tmp_path / "m.csv")
    short = ["--set", "train.steps=3", "--set", "train.warmup.steps=2", "--set", "network.width=0.0625"]
    made(
        "train",
        tmp_path / "out",
        "--out",
        tmp_path / "run",
        "--set",
        'data.normal_classes=["sandal"]',
        *short,
    )
    made("score", tmp_path / "run", "--overlays", "none")
    scores = pd.read_parquet(tmp_path / "run" / "scores" / "out" / "scores.parquet").set_index("source")[
        "label"
    ]
    assert (scores["sandal/sandal0.png"], scores["cat/cat0.png"]) == (1, 0)
    assert (scores["sandal/sandal1.png"], scores["cat/cat1.png"]) == (0, 1)
    picture(tmp_path / "new" / "monday" / "1.png")
    capsys.readouterr()
    made("images", tmp_path / "new", "--out", tmp_path / "day", "--like", tmp_path / "run")
    assert f"Next: esad score {tmp_path / 'run'} {tmp_path / 'day'}" in capsys.readouterr().err
    made("score", tmp_path / "run", tmp_path / "day", "--overlays", "none")
