"""CIFAR's batches in all their forms: colours, classes and names as published; what does not fit together is refused."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.natural.cifar import is_batch, read_batch_file, read_batch_tar
from tests.preprocessing.natural.set_files import (
    CLASSES,
    COLOUR,
    NAMES,
    binary_files,
    planes,
    python_files,
    tar_of,
    write_folder,
)


def test_a_python_batch_and_the_names_beside_it(tmp_path):
    write_folder(tmp_path, python_files())
    read = read_batch_file(tmp_path / "data_batch_1", tmp_path / "batches.meta", None)
    batch = read.batches["data_batch_1"]
    assert np.array_equal(batch.pictures, COLOUR[:8])
    assert batch.classes.tolist() == CLASSES[:8]
    assert list(read.names.fine) == NAMES


def test_cifar_100_has_two_classes_a_picture(tmp_path):
    write_folder(tmp_path, binary_files(2))
    read = read_batch_file(
        tmp_path / "test.bin", tmp_path / "fine_label_names.txt", tmp_path / "coarse_label_names.txt"
    )
    binary = read.batches["test.bin"]
    content = {
        b"data": planes()[8:],
        b"fine_labels": CLASSES[8:],
        b"coarse_labels": [c % 3 for c in CLASSES[8:]],
    }
    (tmp_path / "test").write_bytes(pickle.dumps(content))
    meta = {
        b"fine_label_names": [name.encode() for name in NAMES],
        b"coarse_label_names": [b"machine", b"beast", b"other"],
    }
    (tmp_path / "meta").write_bytes(pickle.dumps(meta))
    python = read_batch_file(tmp_path / "test", tmp_path / "meta", None)
    for batch in (binary, python.batches["test"]):
        assert np.array_equal(batch.pictures, COLOUR[8:])
        assert batch.classes.tolist() == CLASSES[8:]
        assert batch.coarse.tolist() == [c % 3 for c in CLASSES[8:]]
    assert (read.names.fine, read.names.coarse) == (python.names.fine, python.names.coarse)


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("files", [python_files(), binary_files()])
def test_a_tar_is_read_as_its_folder(tmp_path, files, mode):
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(tar_of({**files, "readme.html": b"<p>"}, mode=mode))
    read = read_batch_tar(path)
    assert [name.split(".")[0] for name in read.batches] == ["data_batch_1", "test_batch"]
    assert np.array_equal(np.concatenate([batch.pictures for batch in read.batches.values()]), COLOUR)
    assert list(read.names.fine) == NAMES


def member(name: str, content: bytes = b"x", **more) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        for key, value in more.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (member("../data_batch_1"), "points out of the archive"),
        (member("/data_batch_1"), "points out of the archive"),
        (member("good/a.png"), "holds no batches of CIFAR"),
        (member("data_batch_1", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0), "holds no batches"),
        (
            tar_of({"data_batch_1": b"no pickle"}),
            "c.tar.gz/cifar-10-batches-py/data_batch_1: not a readable batch",
        ),
        (tar_of(python_files())[:400], "not a readable tar"),
        (b"no tar", "not a readable tar"),
        (tar_of({**python_files(), "more/data_batch_2": b""}), "batches of several folders"),
    ],
)
def test_a_tar_that_is_none_of_cifar_is_refused(tmp_path, content, told):
    (tmp_path / "c.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_batch_tar(tmp_path / "c.tar.gz")


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ([1], "holds a list; expected a dict"),
        ({"labels": [1]}, "holds no array data"),
        ({"data": planes(), "label": CLASSES}, "holds no labels .*; it has data, label"),
        ({"data": planes(), "labels": CLASSES[:5]}, "holds 12 pictures and 5 labels"),
        ({"data": planes(), "labels": ["cat"] * 12}, "labels are not a list of whole numbers"),
        ({"data": planes(), "labels": [True] * 12}, "labels are not a list of whole numbers"),
        ({"data": planes()[:, 1:], "labels": CLASSES}, "three planes of a square picture"),
        ({"data": planes(), "labels": [10] * 12}, "has a label 10, and batches.meta the names of 10 classes"),
    ],
)
def test_a_batch_whose_parts_do_not_fit_is_refused(tmp_path, batch, told):
    write_folder(tmp_path, {**python_files(), "data_batch_1": pickle.dumps(batch)})
    with pytest.raises(InputError, match=f"data_batch_1: .*{told}"):
        read_batch_file(tmp_path / "data_batch_1", tmp_path / "batches.meta", None)


def test_binary_batches_of_another_length_or_with_other_labels_are_refused(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(binary_files()["data_batch_1.bin"][1:])
    with pytest.raises(InputError, match=r"data_batch_1\.bin: is 24583 bytes long; expected records of 3073"):
        read_batch_file(path, None, None)
    path.write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(InputError, match="has a label 10; expected 0 to 9"):
        read_batch_file(path, None, None)


@pytest.mark.parametrize("names", [b"", b"a\n\nb\n", b"a\na\n", b"\xff\xfe"])
def test_names_that_are_no_list_of_names_are_refused(tmp_path, names):
    write_folder(tmp_path, {**binary_files(), "batches.meta.txt": names})
    with pytest.raises(InputError, match=r"batches\.meta\.txt: "):
        read_batch_file(tmp_path / "test_batch.bin", tmp_path / "batches.meta.txt", None)


def test_train_and_test_are_batches_only_beside_names_of_classes(tmp_path):
    assert is_batch(tmp_path / "data_batch_3")
    assert not is_batch(tmp_path / "train")
    assert not is_batch(tmp_path / "test.bin")
    (tmp_path / "meta").touch()
    (tmp_path / "fine_label_names.txt").touch()
    assert is_batch(tmp_path / "train")
    assert is_batch(tmp_path / "test.bin")
    assert not is_batch(tmp_path / "training")
