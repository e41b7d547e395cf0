"""A thousand damaged files of each format: refused in words or read, and nothing dies; fifty of each in CI."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from esad.preprocessing.embeddings import reading
from esad.preprocessing.embeddings.arrays import Choice
from esad.preprocessing.embeddings.reading import as_stored, read_head, read_vectors
from esad.preprocessing.errors import InputError
from tests import mutations
from tests.preprocessing.embeddings.vector_files import write_all

SUFFIX = {"trident": ".h5", "npy": ".npy", "npz": ".npz", "parquet": ".parquet"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 runs in circles on some damaged files, and is stopped."""
    monkeypatch.setattr(reading, "HEAD_SECONDS", 5.0)
    monkeypatch.setattr(reading, "PART_SECONDS", 5.0)


def read(path: Path) -> None:
    head = read_head(path, Choice())
    for rows in read_vectors(path, head):
        as_stored(rows, "float32", path, 0)


def mutated(tmp_path: Path, name: str, count: int) -> None:
    good = write_all(tmp_path)[name].read_bytes()
    counts = mutations.run(good, tmp_path / f"mutated{SUFFIX[name]}", read, count)
    assert counts["refused"] > count // 20
    assert sum(counts.values()) == count


@pytest.mark.parametrize("name", SUFFIX)
def test_fifty_damaged_files(tmp_path, name):
    mutated(tmp_path, name, 50)


@pytest.mark.parametrize("name", SUFFIX)
def test_a_thousand_damaged_files(tmp_path, name):
    mutated(tmp_path, name, mutations.COUNT)


def damaged_zarr(tmp_path: Path, count: int) -> None:
    """One file of the folder is changed at a time: its description, or a chunk."""
    store = write_all(tmp_path)["zarr3"]
    files = sorted(path for path in store.rglob("*") if path.is_file())
    content = [path.read_bytes() for path in files]
    told: list[str] = []
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    for number, (path, good) in enumerate(zip(files, content, strict=True)):
        for seed in range(count // len(files) + (number < count % len(files))):
            path.write_bytes(mutations.mutated(good, seed))
            try:
                read(store)
            except InputError as error:
                told.append(str(error))
        path.write_bytes(good)
    assert len(told) > count // 20
    assert [reason for reason in told if store.name not in reason] == []
    assert np.array_equal(
        *(np.concatenate(list(read_vectors(each, read_head(each, Choice())))) for each in (store, whole))
    )


def test_thirty_damaged_zarr_folders(tmp_path):
    damaged_zarr(tmp_path, 30)


def test_a_thousand_damaged_zarr_folders(tmp_path):
    damaged_zarr(tmp_path, mutations.COUNT)
