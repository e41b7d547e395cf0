"""Names of classes, groups and items, given labels and options that were read as something else without a word; driven as a user does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from esad.pipeline.cli.app import call
from esad.preprocessing.splits.labels import apply_labels
from esad.preprocessing.splits.semisupervised import labels_from_classes
from esad.preprocessing.splits.two_values import Stated, one_spelling, read_values
from esad.preprocessing.store.store import Store
from tests.pipeline.commands import made
from tests.pipeline.ingest.test_unseen import labels_of, picture


def rows(folder, *columns):
    names, lists = zip(*columns, strict=True)
    frame = pd.DataFrame(dict(zip(names, lists, strict=True)))
    frame.insert(0, "a", range(len(frame)))
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_a_class_of_two_spellings_is_one_and_unknown_is_none(tmp_path, capsys):
    written = ["Normal"] * 5 + ["normal "] * 4 + ["Adeno", "Squamous", "unknown", "?", "NORMAL"]
    made("tables", rows(tmp_path, ("y", written)), "--out", tmp_path / "out")
    assert "3 classes (Adeno (1), Normal (10), Squamous (1)), 2 without one" in capsys.readouterr().err
    items = Store(tmp_path / "out").manifest
    assert items["class_name"].dropna().unique().tolist() == ["Normal", "Adeno", "Squamous"]
    labels = labels_from_classes(items, ["normal"])
    assert labels.fillna(-1).tolist() == [0] * 9 + [1, 1, -1, -1, 0]


def test_classes_of_an_older_store_are_compared_without_case():
    items = pd.DataFrame(
        {"class_name": ["Normal", "normal", "unknown", "X"], "label": pd.array([None] * 4, dtype="Int8")}
    )
    assert labels_from_classes(items, ["Normal"]).fillna(-1).tolist() == [0, 0, -1, 1]


def test_single_letters_are_classes_of_their_own():
    letters = pd.Series(["A", "a", "B", "b", "b"], dtype="string")
    assert one_spelling(letters).tolist() == letters.tolist()
    assert "4 classes" in read_values(letters, None, Stated()).told
    assert labels_from_classes(
        pd.DataFrame({"class_name": letters, "label": pd.array([None] * 5, dtype="Int8")}), ["a"]
    ).tolist() == [1, 0, 1, 1, 1]  # fmt: skip


def tiles(label):
    return pd.DataFrame({
        "source": ["t.tif"] * 4 + ["n.tif"] * 2, "item_id": list("123456"), "label": pd.array(label, dtype="Int8"),
        "tumour_fraction": [1, 0, 0.1, 0, 0, np.nan],
    })  # fmt: skip


def test_the_label_of_a_slide_leaves_what_its_outlines_say_of_tiles():
    own = [1, 0, None, 0, 0, None]
    given = pd.DataFrame({"source": ["t.tif", "n.tif"], "label": [1, 1], "semi_label": [-1, -1]}).astype(
        {"label": "Int8", "semi_label": "Int8"}
    )
    found, _ = apply_labels(tiles(own), given)
    assert found["label"].fillna(-1).tolist() == [1, 0, -1, 0, 1, 1]
    assert found["semi_label"].fillna(0).tolist() == [-1, 0, 0, 0, -1, -1]
    by_item, _ = apply_labels(
        tiles(own), pd.DataFrame({"item_id": ["2"], "label": pd.array([1], dtype="Int8")})
    )
    assert by_item["label"].iloc[1] == 1


@pytest.mark.parametrize("given", [{"label": [0]}, {"label": [None], "semi_label": [1]}])
def test_a_normal_slide_with_an_outlined_tumour_is_refused(given):
    table = pd.DataFrame({"source": ["t.tif"], **given}).astype(dict.fromkeys(given, "Int8"))
    with pytest.raises(
        Exception, match=r"'t\.tif' is said to be normal, and its outlines enclose tumour in 2 of its tiles"
    ):
        apply_labels(tiles([1, 0, None, 0, 0, None]), table)


def test_an_option_that_stands_twice_is_refused(tmp_path, capsys):
    path = rows(tmp_path, ("y", [0, 1]))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("source,label\nt.csv,1\n")
    twice = [word for name in ("a.csv", "b.csv") for word in ("--labels", str(tmp_path / name))]
    assert call(["tables", str(path), "--out", str(tmp_path / "out"), *twice]) == 2
    assert "--labels is given twice" in capsys.readouterr().err
    assert call(["tables", str(path), *twice, "--help"]) == 0
    made("tables", path, "--out", tmp_path / "out", "--set", "missing=drop", "--set", "decimal=.")


def test_names_of_groups_and_items_stay_as_they_are_written(tmp_path):
    groups = ["00012", "12", "1E2", "100", "1234567890123456789", None, "1234567890123456788", "7.0"]
    path = rows(tmp_path, ("patient", groups), ("no", [f"{n:05d}" for n in range(8)]), ("y", [0, 1] * 4))
    made("tables", path, "--group", "patient", "--id", "no", "--out", tmp_path / "out")
    items = Store(tmp_path / "out").manifest
    assert items["group"].fillna("").tolist() == [*groups[:5], "", groups[6], "7"]
    assert items["id"].tolist() == [f"{n:05d}" for n in range(8)]


def test_a_group_column_in_another_case_is_found(tmp_path):
    path = rows(
        tmp_path,
        ("Group", [1, 1, 2]),
        ("SITE", ["n", "n", "s"]),
        ("Split", ["train", "train", "test"]),
        ("Y", [0, 0, 1]),
    )
    made("tables", path, "--out", tmp_path / "out")
    store = Store(tmp_path / "out")
    assert store.columns == ["a"]
    assert store.manifest[["group", "site", "split"]].to_numpy().tolist() == [
        ["1", "n", "train"], ["1", "n", "train"], ["2", "s", "test"],
    ]  # fmt: skip


def test_a_boolean_column_with_a_hole_is_a_column_of_numbers(tmp_path):
    path = rows(tmp_path, ("smoker", [True, None, False]), ("y", [0, 0, 1]))
    made("tables", path, "--missing", "median", "--out", tmp_path / "out")
    values = Store(tmp_path / "out").read()
    assert np.array_equal(values[:, 1], [1, np.nan, 0], equal_nan=True)


def test_signed_samples_of_8_bits_below_0_are_refused(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    ramp = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    tifffile.imwrite(tmp_path / "in" / "a.tif", ramp)
    tifffile.imwrite(tmp_path / "in" / "b.tif", np.abs(ramp // 2))
    assert call(["images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 3
    assert "a.tif: signed samples of 8 bits, down to -128" in capsys.readouterr().err
    assert list(labels_of(tmp_path / "out")) == ["b.tif"]


def test_folders_of_radiographs_that_are_called_as_classes_are_told(tmp_path, capsys):
    for number, source in enumerate(["train/NORMAL/1.png", "test/PNEUMONIA/2.png"]):
        picture(tmp_path / "in" / source, number)
    made("radiographs", tmp_path / "in", "--out", tmp_path / "out", "--size", "32")
    assert "Folders called NORMAL, test, train say nothing of a radiograph here" in capsys.readouterr().err


def test_outlines_do_not_get_lost_when_labels_are_given_anew(tmp_path, capsys):
    made("synthetic", "--out", tmp_path / "syn", "--slides", "2", "--radiographs", "0", "--size", "1024")
    command = [
        "tile",
        tmp_path / "syn" / "slides",
        "--out",
        tmp_path / "out",
        "--stain",
        "none",
        "--tile-size",
        "32",
    ]
    outlined = [*command, "--annotations", tmp_path / "syn" / "annotations"]
    made(*outlined)
    first = sorted(
        path.name for path in (tmp_path / "syn" / "slides").iterdir() if path.name.startswith("normal")
    )[0]
    (tmp_path / "labels.csv").write_text(f"source,label\n{first},0\n")
    again = ["--labels", str(tmp_path / "labels.csv"), "--force"]
    before = Store(tmp_path / "out").manifest["label"]
    assert call([*map(str, command), *again]) == 2
    assert "give --annotations again" in capsys.readouterr().err
    made(*outlined, *again)
    assert Store(tmp_path / "out").manifest["label"].equals(before)
