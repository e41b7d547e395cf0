"""idx files: the values as they lie, labels that belong to pictures, and a reason for what is no such file."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.natural.idx import (
    dimensions,
    is_idx_name,
    partner_names,
    read_idx,
    read_pictures,
    split_of_name,
)
from tests.preprocessing.natural.set_files import CLASSES, GREY, idx, write_idx


@pytest.mark.parametrize("packed", [True, False])
def test_pictures_and_labels_are_read_as_they_lie(tmp_path, packed):
    folder, end = write_idx(tmp_path, packed), "-ubyte.gz" if packed else "-ubyte"
    pictures, classes = read_pictures(folder / f"train-images-idx3{end}", folder / f"train-labels-idx1{end}")
    assert np.array_equal(pictures[..., 0], GREY)
    assert classes.tolist() == CLASSES
    assert dimensions(folder / f"t10k-images-idx3{end}") == 3
    assert dimensions(folder / f"t10k-labels-idx1{end}") == 1


def test_a_packed_file_under_the_name_of_an_unpacked_one_is_read(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(idx(GREY), mtime=0))
    assert np.array_equal(read_idx(tmp_path / "a"), GREY)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "begins with nothing"),
        (b"PK\3\4", "not an idx file"),
        (idx(GREY.astype(">f4"), 13), "floating numbers of 32 bits; expected unsigned bytes"),
        (idx(GREY[..., None]), "has 4 dimensions; expected 3"),
        (idx(GREY)[:-1], r"claims 12 x 8 x 6 values of one byte each and holds 575"),
        (idx(GREY) + b"x", "and holds more"),
        (idx(GREY)[:9], "not a readable idx file"),
        (b"\0\0\x08\3" + struct.pack(">3I", 1 << 31, 1 << 31, 1 << 31), "claims 9.9e.27 EB|claims 9"),
        (gzip.compress(idx(GREY), mtime=0)[:60], "not a readable idx file"),
    ],
)
def test_what_is_no_idx_file_of_bytes_is_refused(tmp_path, content, told):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match=rf"a-images-idx3-ubyte: .*({told})"):
        read_idx(tmp_path / "a-images-idx3-ubyte")


def test_a_wrong_checksum_of_gzip_is_noticed(tmp_path):
    content = bytearray(gzip.compress(idx(GREY), mtime=0))
    content[-8] ^= 1
    (tmp_path / "a").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a: not a readable idx file \(CRC"):
        read_idx(tmp_path / "a")


def test_counts_must_agree_and_each_file_be_what_it_is(tmp_path):
    pictures, labels = tmp_path / "p", tmp_path / "l"
    pictures.write_bytes(idx(GREY))
    labels.write_bytes(idx(np.zeros(11, np.uint8)))
    with pytest.raises(InputError, match="p: holds 12 pictures, l 11 labels; they do not belong together"):
        read_pictures(pictures, labels)
    with pytest.raises(InputError, match="l: holds labels and no pictures"):
        read_pictures(labels, None)
    with pytest.raises(InputError, match="p: has 3 dimensions; expected one, a label for each"):
        read_pictures(pictures, pictures)
    pictures.write_bytes(idx(GREY[:0]))
    with pytest.raises(InputError, match="holds no pictures"):
        read_pictures(pictures, None)


@pytest.mark.parametrize(
    ("name", "labels", "split"),
    [
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "train"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte", "test"),
        ("emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte", "test"),
        ("retrained-images-idx3-ubyte", "retrained-labels-idx1-ubyte", None),
    ],
)
def test_published_names_tell_partner_and_split(name, labels, split):
    assert is_idx_name(name)
    assert is_idx_name(labels)
    assert partner_names(name)[0] == labels
    assert partner_names(labels) == []
    assert split_of_name(name) == split


def test_other_names_tell_nothing():
    assert not is_idx_name("images.npz")
    assert partner_names("faces.idx") == []
