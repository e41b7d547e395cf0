"""Names of classes, groups and items, given labels and options that were read as something else without a word; driven as a user does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from esad.pipeline.cli.app import call
from esad.pipeline.settings.config import RunSettings, parse_assignments, resolve
from esad.preprocessing.splits.labels import apply_labels
from esad.preprocessing.splits.semisupervised import labels_from_classes
from esad.preprocessing.splits.two_values import Stated, one_spelling, read_values
from esad.preprocessing.store.store import Store, edges_fingerprint
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
    assert (
        "3 classes (Adeno (1), Normal (10), Squamous (1)), unknown (1), ? (1) without one"
        in capsys.readouterr().err
    )
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


def test_a_label_corrected_in_the_middle_of_a_long_table_is_read_again(tmp_path, capsys):
    path = rows(tmp_path, ("b", np.linspace(1, 2, 8000).tolist()), ("y", [0] * 7990 + [1] * 10))
    made("tables", path, "--out", tmp_path / "out")
    lines = path.read_text().splitlines(keepends=True)
    lines[4000] = lines[4000].rstrip()[:-1] + "1\n"
    path.write_text("".join(lines))
    assert path.stat().st_size > 140_000
    capsys.readouterr()
    made("tables", path, "--out", tmp_path / "out")
    assert "1 inputs have changed since they were read" in capsys.readouterr().err
    assert int(Store(tmp_path / "out").manifest["label"].sum()) == 11


def test_a_store_of_an_earlier_version_is_not_read_again(tmp_path, capsys):
    path = rows(tmp_path, ("b", np.linspace(1, 2, 8000).tolist()), ("y", [0, 1] * 4000))
    made("tables", path, "--out", tmp_path / "out")
    for part in [tmp_path / "out" / "sources.parquet", *(tmp_path / "out" / "parts").glob("sources-*")]:
        pd.read_parquet(part).assign(fingerprint=edges_fingerprint(path)).to_parquet(part)
    capsys.readouterr()
    made("tables", path, "--out", tmp_path / "out")
    assert "have changed" not in capsys.readouterr().err


@pytest.mark.parametrize("other", ["normal", "class_0"])
def test_the_complement_of_the_label_is_no_feature(tmp_path, capsys, other):
    label = [0, 1, 0, 0] * 6
    path = rows(tmp_path, (other, [1 - value for value in label]), ("b", list(range(24))), ("anomaly", label))
    assert call(["tables", str(path), "--label", "anomaly", "--out", str(tmp_path / "out")]) == 2
    assert f"column '{other}' has one value for each label in every row" in capsys.readouterr().err
    made("tables", path, "--label", "anomaly", "--drop", other, "--out", tmp_path / "out")
    assert Store(tmp_path / "out").columns == ["a", "b"]


def test_values_that_float32_would_flatten_are_refused(tmp_path, capsys):
    path = rows(tmp_path, ("time", [1e9 + n / 1000 for n in range(8)]), ("y", [0, 1] * 4))
    assert call(["tables", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "of which float32 keeps steps of 64: subtract an offset" in capsys.readouterr().err


def test_names_of_sites_are_texts():
    assert parse_assignments(["data.site=01", "data.validation_site=[1e3, no]", "data.where={view: 1}"]) == {
        "data.site": "01", "data.validation_site": ["1e3", "no"], "data.where": {"view": 1},
    }  # fmt: skip
    assert resolve(RunSettings, {"data.split": "leave-site-out", "data.site": "1e3"}).data.site == ["1e3"]


def test_metadata_of_which_no_row_fits_is_refused(tmp_path, capsys):
    picture(tmp_path / "in" / "1.jpg")
    (tmp_path / "regions.csv").write_text("source,x,y,width,height\n9.png,1,2,3,4\n")
    command = [
        "radiographs",
        tmp_path / "in",
        "--metadata",
        tmp_path / "regions.csv",
        "--out",
        tmp_path / "out",
    ]
    assert call([*map(str, command)]) == 2
    assert (
        "none of its 1 rows is of one of the 1 radiographs; a radiograph here is called 1.jpg"
        in capsys.readouterr().err
    )


def test_training_items_are_known_in_a_renamed_or_moved_archive(tmp_path, capsys):
    made(
        "tables",
        rows(tmp_path, ("b", list(range(200))), ("y", [int(n % 5 == 0) for n in range(200)])),
        "--out",
        tmp_path / "own",
    )
    made("train", tmp_path / "own", "--out", tmp_path / "run", "--set", "method=isolation_forest")
    (tmp_path / "moved").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "moved" / "data_v2.csv")
    (tmp_path / "moved" / "more.csv").write_text(
        "a,b,y\n" + "\n".join(f"{n + 0.5},{n + 0.25},0" for n in range(30))
    )
    made("tables", tmp_path / "moved", "--out", tmp_path / "other")
    made("score", tmp_path / "run", tmp_path / "other", "--overlays", "none")
    used = pd.read_parquet(tmp_path / "run" / "assignments.parquet")["part"].value_counts()
    table = pd.read_parquet(tmp_path / "run" / "scores" / "other" / "scores.parquet")
    assert table["part"].value_counts().to_dict() == {name: used[name] for name in ("train", "validation")}
    old = Store(tmp_path / "own")
    row_of = dict(zip(old.manifest["item_id"], range(len(old)), strict=True))
    trained = pd.read_parquet(tmp_path / "run" / "assignments.parquet").query("part == 'train'")["item_id"]
    other = Store(tmp_path / "other")
    rows_here = (
        other.manifest["source"].eq("data_v2.csv").to_numpy()
        & table["part"].eq("train").fillna(False).to_numpy()
    )
    assert sorted(other.read()[rows_here, 0]) == sorted(float(row_of[name]) for name in trained)
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "t.csv").write_text(
        (tmp_path / "moved" / "data_v2.csv").read_text() + "500,1.5,0\n"
    )
    made("tables", tmp_path / "third", "--out", tmp_path / "grown")
    made("score", tmp_path / "run", tmp_path / "grown", "--overlays", "none")
    assert "1 inputs are called as inputs of training are, and hold something else" in capsys.readouterr().err
