"""Folders that can be two things, or that are not read: asked about, refused alone, or told; driven as a user does."""

from __future__ import annotations

import zipfile

import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.preprocessing.store.store import Store
from tests.pipeline.ingest.test_unseen import labels_of, picture


def images(folder, *more):
    return call(["images", str(folder), "--out", str(folder.parent / "out"), *more])


def test_a_class_above_the_split_is_read(tmp_path):
    for number, source in enumerate(
        ["bad/train/1.png", "bad/test/2.png", "good/train/3.png", "good/test/4.png"]
    ):
        picture(tmp_path / "in" / source, number)
    assert images(tmp_path / "in") == 0
    items = Store(tmp_path / "out").manifest.set_index("source")
    assert items["label"].tolist() == [1 if source.startswith("bad") else 0 for source in items.index]
    assert items.loc["good/test/4.png", "split"] == "test"


def test_other_folders_above_the_split_are_told(tmp_path, capsys):
    for number, source in enumerate(["cat/train/1.png", "dog/train/2.png"]):
        picture(tmp_path / "in" / source, number)
    assert images(tmp_path / "in") == 0
    assert "the folders above the parts (cat, dog) are not read as classes" in capsys.readouterr().err


def test_valid_beside_invalid_is_asked_about(tmp_path, capsys):
    for number, source in enumerate(["valid/1.png", "invalid/2.png"]):
        picture(tmp_path / "in" / source, number)
    assert images(tmp_path / "in") == 2
    assert "a folder 'valid' lies beside one of the opposite name" in capsys.readouterr().err


def test_a_picture_of_two_meanings_is_refused_alone(tmp_path):
    for number, source in enumerate(
        ["tumor/normal/1.png", "tumor/2.png", "normal/tumor/3.png", "normal/p1/4.png"]
    ):
        picture(tmp_path / "in" / source, number)
    assert images(tmp_path / "in") == 3
    assert labels_of(tmp_path / "out") == {"tumor/2.png": 1, "normal/p1/4.png": 0}
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert failures["reason"].str.contains("is it normal or an anomaly").all()
    assert len(failures) == 2


@pytest.mark.parametrize("source", ["tumor/normal/train/1.png", "tumor/Miller_Ann/normal/1.png"])
def test_contradicting_folders_in_a_zip_or_above_the_part_name_no_path(tmp_path, capsys, source):
    for number, name in enumerate([source, "good/train/2.png"]):
        picture(tmp_path / "loose" / name, number)
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "z.zip", "w") as file:
        for name in (source, "good/train/2.png"):
            file.write(tmp_path / "loose" / name, name)
    assert images(tmp_path / "in", "--anonymous", "--group-key", str(tmp_path / "key")) == 3
    out = tmp_path / "out"
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert "is it normal or an anomaly" in (said := capsys.readouterr().err)
    assert "Miller" not in said
    assert not any(b"Miller" in content for content in written)


def test_a_zip_of_class_folders_is_no_class_itself(tmp_path, capsys):
    picture(tmp_path / "1.png")
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "z.zip", "w") as file:
        for name in ("good/1.png", "good/2.png", "bad/3.png"):
            file.write(tmp_path / "1.png", name)
    assert images(tmp_path / "in") == 0
    assert "these say nothing" not in capsys.readouterr().err
    assert sorted(labels_of(tmp_path / "out").values()) == [0, 0, 1]


def test_class_words_below_the_class_are_told(tmp_path, capsys):
    for number, source in enumerate(
        ["p1/tumor/1.png", "p1/normal/2.png", "p2/normal/3.png", "p3/normal/4.png"]
    ):
        picture(tmp_path / "in" / source, number)
    images(tmp_path / "in")
    assert (
        "4 pictures lie in folders such as 'normal, tumor' below that of their class"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("anonymous", [False, True])
def test_links_are_named_only_where_names_may_be_said(tmp_path, capsys, anonymous):
    picture(tmp_path / "in" / "1.png")
    picture(tmp_path / "else" / "Miller_Ann.png", 1)
    (tmp_path / "in" / "Miller_Ann").symlink_to(tmp_path / "else")
    (tmp_path / "in" / "Miller_Ann.png").symlink_to(tmp_path / "else" / "Miller_Ann.png")
    key = ["--anonymous", "--group-key", str(tmp_path / "key")] if anonymous else []
    assert images(tmp_path / "in", *key) == 0
    said = capsys.readouterr().err
    assert ("Miller" in said) is not anonymous
    assert ("2 links to folders or to places outside the archive are left out" in said) is anonymous


@pytest.mark.parametrize("name", ["Patient", "patient_id", "subject id"])
def test_a_labels_file_whose_patients_would_be_passed_over_is_refused(tmp_path, capsys, name):
    picture(tmp_path / "in" / "1.png")
    (tmp_path / "labels.csv").write_text(f"source,label,{name}\n1.png,1,A\n")
    assert images(tmp_path / "in", "--labels", str(tmp_path / "labels.csv")) == 2
    assert f"a column is called '{name}', and would not be read; call it 'group'" in capsys.readouterr().err
