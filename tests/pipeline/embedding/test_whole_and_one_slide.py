"""Files of vectors that are not what they look like: several slides in one, chunks that are not there, places in groups."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from esad.pipeline.cli.app import call
from esad.preprocessing.embeddings.arrays import Choice
from esad.preprocessing.embeddings.reading import read_head
from esad.preprocessing.errors import InputError

CORNERS = [(x, y) for y in range(0, 1024, 256) for x in range(0, 1024, 256)]


def parquet(path: Path, slides: list[str], **more: list) -> Path:
    """The tiles of `slides`, all in one file."""
    rows = [(slide, x, y) for slide in slides for x, y in CORNERS]
    vectors = np.random.default_rng(0).normal(size=(len(rows), 8)).astype("float32")
    columns = {
        "slide_id": [row[0] for row in rows],
        "x": [row[1] for row in rows],
        "y": [row[2] for row in rows],
    }
    pq.write_table(pa.table({**columns, "embedding": vectors.tolist(), **more}), path)
    return path


def say(*words, capsys):
    status = call([str(word) for word in words])
    return status, capsys.readouterr().err


def placed(path, store, group):
    """Words that read the file as the tiles of one slide."""
    sides = ("--coords", "x,y", "--tile-side", 256, "--slide-mpp", 0.5)
    return ("embeddings", path, "--out", store, *sides, "--group", group)


@pytest.mark.parametrize(
    ("group", "told"), [("slide_id", "holds 3 groups"), ("none", r"holds two vectors at (0, 0)")]
)
def test_tiles_of_several_slides_in_one_file_are_refused(tmp_path, capsys, group, told):
    path = parquet(tmp_path / "all.parquet", ["A", "B", "C"])
    status, said = say(*placed(path, tmp_path / "store", group), capsys=capsys)
    assert status == 1
    assert told in said
    assert "Write a file a slide" in said
    words = [
        "embeddings",
        path,
        "--out",
        tmp_path / "store",
        "--coords",
        "none",
        "--group",
        group,
        "--label",
        "none",
    ]
    status, said = say(*words, "--force", capsys=capsys)
    assert (status, "48 embeddings" in said) == (0, True), said


def test_one_slide_in_a_file_is_taken(tmp_path, capsys):
    path = parquet(tmp_path / "a.parquet", ["A"])
    assert say(*placed(path, tmp_path / "store", "slide_id"), capsys=capsys)[0] == 0
    assert pd.read_parquet(tmp_path / "store/manifest.parquet")["group"].tolist() == ["A"] * 16


def zarr_store(folder: Path, form: int) -> Path:
    """Eight vectors in chunks of four, places and labels; the first four labels are 0, whose chunk Zarr does not write."""
    group = zarr.open_group(folder / "s.zarr", mode="w", zarr_format=form)
    arrays = {
        "features": np.random.default_rng(0).normal(size=(8, 4)).astype("float32"),
        "coords": np.array([[256 * n, 0] for n in range(8)]),
        "label": np.repeat([0, 1], 4),
    }
    for name, array in arrays.items():
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=(4, *array.shape[1:]))[:] = (
            array
        )
    return folder / "s.zarr"


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("name", ["features", "coords"])
def test_a_zarr_store_without_all_its_chunks_is_refused(tmp_path, form, name):
    store = zarr_store(tmp_path, form)
    assert read_head(store, Choice()).count == 8
    chunks = sorted(
        path
        for path in (store / name).rglob("*")
        if path.is_file() and path.suffix != ".json" and path.name[0] != "."
    )
    assert len(chunks) == 2
    chunks[1].unlink()
    with pytest.raises(
        InputError, match=f"{name}: 1 of 2 chunks are not stored, and read as 0.*Copy the store again"
    ):
        read_head(store, Choice())


@pytest.mark.parametrize("form", [2, 3])
def test_labels_that_zarr_does_not_store_are_told(tmp_path, form):
    head = read_head(zarr_store(tmp_path, form), Choice())
    assert head.items["label"].tolist() == [0] * 4 + [1] * 4
    assert head.notes == ("label: 1 of 2 chunks are not stored, and read as 0",)


def test_places_are_those_beside_the_features(tmp_path):
    corners = np.array([[256 * n, 512] for n in range(5)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/features"] = np.ones((5, 4), "float32")
        file["data/coords"] = corners
        file["other/coords"] = np.zeros((5, 2), int)
    for choice in (Choice(), Choice("data/features")):
        head = read_head(tmp_path / "a.h5", choice)
        assert head.name == "data/features"
        assert head.items[["place_x", "place_y"]].to_numpy().tolist() == corners.tolist()


def test_features_in_two_groups_are_asked_about(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["low/features"] = np.ones((5, 4), "float32")
        file["high/features"] = np.ones((5, 8), "float32")
    with pytest.raises(InputError, match="which array holds the features is not plain"):
        read_head(tmp_path / "a.h5", Choice())


def test_chunks_of_some_columns_may_be_nothing_but_0(tmp_path):
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=2)
    vectors = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
    vectors[:, 4:] = 0
    group.create_array("features", shape=(8, 8), dtype="float32", chunks=(4, 4))[:] = vectors
    corners = np.array([[0, 256 * n] for n in range(8)])
    group.create_array("coords", shape=(8, 2), dtype="int64", chunks=(8, 1))[:] = corners
    head = read_head(tmp_path / "s.zarr", Choice())
    assert head.items[["place_x", "place_y"]].to_numpy().tolist() == corners.tolist()
    assert head.notes == (
        "features: 2 of 4 chunks are not stored, and read as 0.0", "coords: 1 of 2 chunks are not stored, and read as 0",
    )  # fmt: skip
