"""A thousand damaged files of each published form: each is read or refused in words, in under a gigabyte."""

from __future__ import annotations

import gzip
import pickle

import numpy as np
import pytest

from esad.preprocessing.natural.sets import find_sets, read_set
from esad.preprocessing.tables.columns import Columns
from tests import mutations
from tests.preprocessing.natural.set_files import (
    CLASSES,
    GREY,
    binary_files,
    encoded,
    idx,
    planes,
    python_files,
    tar_of,
    write_parquet,
)

LABELS = np.array(CLASSES, np.uint8)


def parquet(tmp_path) -> bytes:
    return write_parquet(tmp_path / "made.parquet", [encoded(picture) for picture in GREY]).read_bytes()


FORMS = {
    "a-images-idx3-ubyte": lambda _: ({"a-labels-idx1-ubyte": idx(LABELS)}, idx(GREY)),
    "a-images-idx3-ubyte.gz": lambda _: ({}, gzip.compress(idx(GREY))),
    "data_batch_1": lambda _: (python_files(), python_files()["data_batch_1"][:900] + python_files()["data_batch_1"][900:]),
    "data_batch_2": lambda _: (python_files(), pickle.dumps({"data": planes()[:1, :48].copy(), "labels": [3]}, protocol=4)),
    "data_batch_1.bin": lambda _: (binary_files(), binary_files()["data_batch_1.bin"][:3073]),
    "cifar.tar": lambda _: ({}, tar_of({"data_batch_1": pickle.dumps({"data": planes()[:2, :12].copy(), "labels": [3, 4]})}, mode="w")),
    "cifar.tar.gz": lambda _: ({}, tar_of(python_files())),
    "a.parquet": lambda tmp_path: ({}, parquet(tmp_path)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_set_is_read_or_refused(tmp_path, name, record_property):
    beside, good = FORMS[name](tmp_path)
    (tmp_path / "set").mkdir()
    for each, content in beside.items():
        (tmp_path / "set" / each).write_bytes(content)
    path = tmp_path / "set" / name
    path.write_bytes(good)

    def read(path):
        found = find_sets(path.parent, [path.name])
        return read_set(path.parent, path.name, found.sets[path.name], Columns(), None, "rgb")

    whole = read(path)[0]
    counts = mutations.run(good, path, read)
    record_property("counts", counts)
    assert sum(counts.values()) == mutations.COUNT
    assert counts["refused"] > mutations.COUNT // 20
    path.write_bytes(good)
    assert np.array_equal(read(path)[0], whole)


@pytest.mark.parametrize("name", ["batches.meta", "batches.meta.txt"])
def test_damaged_names_of_classes_are_read_or_refused(tmp_path, name, record_property):
    files = python_files() if name == "batches.meta" else binary_files()
    for each, content in files.items():
        (tmp_path / each).write_bytes(content)
    batch = "test_batch" if name == "batches.meta" else "test_batch.bin"

    def read(_):
        found = find_sets(tmp_path, [batch])
        return read_set(tmp_path, batch, found.sets[batch], Columns(), None, "rgb")

    counts = mutations.run(files[name], tmp_path / name, read)
    record_property("counts", counts)
    assert counts["refused"] > 0
