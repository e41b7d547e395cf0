"""`esad images` on published sets: files find their labels and names, classes stay, and no two copies of a set are read."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from esad.preprocessing.natural.sets import UNLABELLED, UNNAMED
from esad.preprocessing.store.store import Store
from tests.preprocessing.natural.set_files import (
    CLASSES,
    COLOUR,
    GREY,
    NAMES,
    binary_files,
    encoded,
    idx,
    python_files,
    tar_of,
    write_folder,
    write_idx,
    write_parquet,
)


def made(tmp_path, *words) -> Store:
    out = tmp_path / "out"
    assert call(["images", *map(str, words), "--out", str(out)]) == 0
    return Store(out)


def columns(store, *names):
    return {name: store.manifest[name].tolist() for name in names}


def test_a_folder_of_idx_files_is_pictures_with_classes_and_parts(tmp_path, capsys):
    store = made(tmp_path, write_idx(tmp_path / "mnist"))
    test, train = (store.manifest[store.manifest["split"] == part].index for part in ("test", "train"))
    assert np.array_equal(store.read(train.to_numpy())[..., 0], GREY)
    assert np.array_equal(store.read(test.to_numpy())[..., 0], GREY[:5])
    assert store.manifest["class_name"][train].tolist() == [str(number) for number in CLASSES]
    assert store.manifest["label"].isna().all()
    assert store.sources["source"].tolist() == ["t10k-images-idx3-ubyte.gz", "train-images-idx3-ubyte.gz"]
    assert set(store.sources["notes"]) == {UNNAMED}
    told = capsys.readouterr().err
    assert "classes in the files: 10 classes (0 (3), 1 (3), 2 (2)" in told
    assert "17 images from 2 of 2 inputs (10 classes; training is told which are normal)" in told
    assert "--set 'data.normal_classes=[\"0\"]'" in told
    assert (
        "Noted: 2 with classes by number, no names of them beside it (idx: classes.txt, one a line)." in told
    )
    assert "without label" not in told


def test_names_beside_idx_files_are_the_names_of_classes(tmp_path):
    folder = write_idx(tmp_path / "mnist")
    (folder / "classes.txt").write_text("\n".join(NAMES))
    assert set(made(tmp_path, folder).manifest["class_name"]) == set(NAMES)
    (folder / "classes.txt").write_text("only\ntwo\n")
    assert call(["images", str(folder), "--out", str(tmp_path / "other")]) == 1


def test_pictures_alone_find_labels_beside_and_go_without(tmp_path, capsys):
    folder = write_idx(tmp_path / "mnist")
    store = made(tmp_path, folder / "train-images-idx3-ubyte.gz")
    assert store.manifest["class_name"].tolist() == [str(number) for number in CLASSES]
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    assert call(["images", str(folder / "train-images-idx3-ubyte.gz"), "--out", str(tmp_path / "none")]) == 0
    assert Store(tmp_path / "none").sources["notes"].tolist() == [UNLABELLED]
    assert "Noted: 1 without a file of labels beside it" in capsys.readouterr().err


def test_two_files_of_any_names_belong_together(tmp_path):
    (tmp_path / "digits.idx").write_bytes(idx(GREY))
    (tmp_path / "answers.idx").write_bytes(gzip.compress(idx(np.array(CLASSES, np.uint8))))
    store = made(tmp_path, tmp_path / "digits.idx", tmp_path / "answers.idx")
    assert store.manifest["class_name"].tolist() == [str(number) for number in CLASSES]
    assert store.sources["source"].tolist() == ["digits.idx"]


def test_labels_of_another_part_are_no_labels(tmp_path, capsys):
    folder = write_idx(tmp_path / "mnist")
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    assert call(["images", str(folder), "--out", str(tmp_path / "out")]) == 3
    assert Store(tmp_path / "out").manifest.get("class_name") is None
    assert "t10k-labels-idx1-ubyte.gz: holds labels and no pictures" in capsys.readouterr().err


def test_counts_that_differ_refuse_the_pictures(tmp_path, capsys):
    folder = write_idx(tmp_path / "mnist")
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(11, np.uint8))))
    assert call(["images", str(folder), "--out", str(tmp_path / "out")]) == 3
    assert len(Store(tmp_path / "out")) == 5
    assert "holds 12 pictures, train-labels-idx1-ubyte.gz 11 labels" in capsys.readouterr().err


def test_other_labels_beside_the_same_pictures_are_noticed(tmp_path, capsys):
    folder = write_idx(tmp_path / "mnist")
    made(tmp_path, folder)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.full(12, 7, np.uint8))))
    store = made(tmp_path, folder)
    assert "1 inputs have changed since they were read and are read again" in capsys.readouterr().err
    assert set(store.manifest["class_name"][store.manifest["split"] == "train"]) == {"7"}


def test_a_set_that_lies_there_twice_is_read_once(tmp_path, capsys):
    folder = write_idx(tmp_path / "mnist")
    write_idx(folder, packed=False)
    assert len(made(tmp_path, folder)) == 17
    assert "4 packed files are left out" in capsys.readouterr().err
    cifar = write_folder(tmp_path / "c" / "cifar-10-batches-py", python_files()).parent
    (cifar / "cifar-10-python.tar.gz").write_bytes(tar_of(python_files()))
    assert call(["images", str(cifar), "--out", str(tmp_path / "cifar")]) == 0
    assert len(Store(tmp_path / "cifar")) == 12
    assert "1 packed files are left out" in capsys.readouterr().err


def cifar_inputs(tmp_path):
    tar = tmp_path / "tar" / "cifar-10-python.tar.gz"
    tar.parent.mkdir()
    tar.write_bytes(tar_of(python_files()))
    binary_tar = tmp_path / "tar2" / "cifar-10-binary.tar.gz"
    binary_tar.parent.mkdir()
    binary_tar.write_bytes(tar_of(binary_files()))
    return [
        write_folder(tmp_path / "py", python_files()),
        write_folder(tmp_path / "bin", binary_files()),
        tar.parent,
        binary_tar,
    ]


@pytest.mark.parametrize("form", range(4))
def test_cifar_in_every_form_is_the_same_store(tmp_path, form):
    store = made(tmp_path, cifar_inputs(tmp_path)[form])
    assert store.shape == (32, 32, 3)
    assert np.array_equal(store.read(), COLOUR)
    assert columns(store, "class_name", "split") == {
        "class_name": [NAMES[number] for number in CLASSES],
        "split": ["train"] * 8 + ["test"] * 4,
    }
    assert store.manifest["item_id"].is_unique


def test_groups_of_classes_are_kept_as_a_column(tmp_path):
    store = made(tmp_path, write_folder(tmp_path / "bin", binary_files(2)))
    coarse = dict(zip(store.manifest["class_name"], store.manifest["coarse_class"], strict=True))
    assert coarse["airplane"] == "machine"
    assert coarse["automobile"] == "beast"


def test_a_batch_that_would_run_something_is_refused_alone(tmp_path, capsys):
    folder = write_folder(
        tmp_path / "py", {**python_files(), "data_batch_2": b"cposix\nsystem\n(S'touch /tmp/esad-ran'\ntR."}
    )
    assert call(["images", str(folder), "--out", str(tmp_path / "out")]) == 3
    assert len(Store(tmp_path / "out")) == 12
    assert "data_batch_2: refused, its pickle holds the name 'posix.system'" in capsys.readouterr().err


def test_parquet_of_pictures_is_read_and_mixes_with_npz(tmp_path, capsys):
    folder = tmp_path / "hub"
    folder.mkdir()
    write_parquet(folder / "train-00000-of-00001.parquet")
    np.savez(folder / "b.npz", x=COLOUR[:3], y=np.array(["dog", "cat", "owl"]))
    store = made(tmp_path, folder)
    assert np.array_equal(store.read(), np.concatenate([COLOUR[:3], COLOUR]))
    assert store.manifest["class_name"].tolist() == [
        "dog",
        "cat",
        "owl",
        *(NAMES[number] for number in CLASSES),
    ]
    assert "labels in column 'label': 11 classes" in capsys.readouterr().err


def test_the_column_that_gave_labels_is_kept_with_its_file_and_told(tmp_path, capsys):
    folder = tmp_path / "hub"
    folder.mkdir()
    write_parquet(folder / "train-0.parquet")
    write_parquet(
        folder / "test-0.parquet", names=False, y=[NAMES[number] for number in CLASSES], label=[0] * 12
    )
    store = made(tmp_path, folder)
    found = store.sources.set_index("source")["label_column"].to_dict()
    assert found == {"test-0.parquet": "y", "train-0.parquet": "label"}
    assert store.sources["notes"].isna().all()
    assert "labels in column 'label, y': 10 classes" in capsys.readouterr().err


def test_a_label_column_of_parquet_that_says_normal_gives_labels(tmp_path):
    cells = [encoded(picture) for picture in COLOUR]
    write_parquet(tmp_path / "a.parquet", cells, names=False, finding=["ok"] * 8 + ["scratch"] * 4)
    store = made(tmp_path, tmp_path / "a.parquet", "--label", "finding")
    assert store.manifest["label"].tolist() == [0] * 8 + [1] * 4


def test_a_set_is_made_grey_small_and_nameless_on_request(tmp_path):
    folder = write_folder(tmp_path / "py", python_files())
    words = ["--size", "16", "--colour", "grey", "--anonymous", "--group-key", tmp_path / "key"]
    store = made(tmp_path, folder, *words)
    assert store.shape == (16, 16, 1)
    assert not store.sources["source"].str.contains("batch").any()
    assert made(tmp_path, folder, *words).manifest.equals(store.manifest)


def test_the_classes_are_there_from_store_to_report(tmp_path, capsys):
    numbers = np.random.default_rng(3)
    classes = np.repeat(np.arange(3, dtype=np.uint8), 40)
    pictures = np.clip(numbers.normal(60 + 60 * classes[:, None, None], 20, (120, 16, 16)), 0, 255).astype(
        np.uint8
    )
    folder = tmp_path / "set"
    folder.mkdir()
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pictures))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(classes))
        pictures = np.roll(pictures, 1, axis=2)
    (folder / "classes.txt").write_text("coat\nshirt\nankle boot\n")
    store, run = tmp_path / "out", tmp_path / "run"
    made(tmp_path, folder)
    small = ["--set", "train.steps=2", "--set", "train.warmup.steps=2", "--set", "network.width=0.125"]
    assert (
        call(["train", str(store), "--out", str(run), "--set", 'data.normal_classes=["coat"]', *small]) == 0
    )
    assert call(["score", str(run), "--out", str(tmp_path / "scores")]) == 0
    table = pd.read_parquet(tmp_path / "scores" / "scores.parquet")
    assert set(table["class_name"]) == {"coat", "shirt", "ankle boot"}
    assert set(table.loc[table["class_name"] == "coat", "label"]) == {0}
    assert call(["evaluate", str(tmp_path / "scores"), "--json"]) == 0
    told = capsys.readouterr()
    metrics = json.loads(told.out)
    assert metrics["normal"] == 40
    shirts = metrics["by"]["class"]["shirt"]
    assert (shirts["items"], shirts["normal"], shirts["anomaly"]) == (40, 0, 40)
    assert 0 <= shirts["auc"] <= 1
    boots = metrics["by"]["class"]["ankle boot"]
    assert shirts["labelled"] + boots["labelled"] == 72  # a tenth of 80 validates
    assert metrics["by"]["class"]["coat"]["labelled"] == 0
    assert "AUC of each of 2 classes against the normal items: from " in told.err
    assert call(["report", str(tmp_path / "scores")]) == 0
    page = (tmp_path / "scores" / "report.html").read_text()
    page = re.sub(' data-by="[^"]*"', "", page)
    assert '<th scope="row">coat (normal)</th><td></td><td></td><td>40</td><td>no</td>' in page
    assert f'<th scope="row">ankle boot</th><td>{boots["auc"]:.3f}</td>' in page
    assert f"<td>40</td><td>{boots['labelled']}</td>" in page
    assert "class shirt: score" in page


def test_a_run_on_classes_without_a_meaning_says_what_is_missing(tmp_path, capsys):
    store, run = tmp_path / "out", tmp_path / "run"
    made(tmp_path, write_idx(tmp_path / "mnist"))
    small = ["--set", "train.steps=2", "--set", "train.warmup.steps=2", "--set", "network.width=0.125"]
    assert call(["train", str(store), "--out", str(run), *small]) == 0
    assert "data.normal_classes does not say which are normal" in capsys.readouterr().err
    assert call(["score", str(run), "--overlays", "none"]) == 0
    assert call(["evaluate", str(run)]) == 0
    told = capsys.readouterr().err
    assert "no figures of items, because nothing says which of the 10 classes are normal" in told
    assert "--set 'data.normal_classes=[\"0\"]'" in told
    assert "without label" not in told
    assert call(["report", str(run)]) == 0
    page = (run / "scores" / "out" / "report.html").read_text()
    assert "There are no figures of items, because nothing says which of the 10 classes are normal" in page


def test_a_few_labels_beside_classes_are_counted_and_the_rest_is_known_by_its_class(tmp_path, capsys):
    folder = write_idx(tmp_path / "mnist")
    labels = tmp_path / "labels.csv"
    store = made(tmp_path, folder)
    labels.write_text(f"item_id,label\n{store.manifest['item_id'][0]},0\n{store.manifest['item_id'][1]},1\n")
    assert call(["images", str(folder), "--out", str(tmp_path / "some"), "--labels", str(labels)]) == 0
    assert "(1 normal, 1 anomaly, 15 known by their class alone)" in capsys.readouterr().err


@pytest.mark.data
def test_fashion_mnist_as_it_is_published(tmp_path, data):
    store = made(tmp_path, data / "images" / "fashion-mnist")
    assert len(store) == 70000
    assert store.manifest.groupby(["split", "class_name"]).size().to_dict() == {
        (part, str(number)): count
        for part, count in (("train", 6000), ("test", 1000))
        for number in range(10)
    }
    shutil.rmtree(store.root)


def test_a_zip_of_windows_is_read_as_its_folder(tmp_path):
    """Backslashes in names, which some programs write against the format, and both marks in one name."""
    picture = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("data\\normal\\0.png", "data/normal\\1.png", "data/tumor/2.png"):
            archive.writestr(name, picture.getvalue())
    items = made(tmp_path, tmp_path / "a.zip").manifest
    assert sorted(items["class_name"]) == ["normal", "normal", "tumor"]
    assert sorted(items["label"]) == [0, 0, 1]
