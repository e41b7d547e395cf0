"""Files of vectors, of every format: the same numbers, places and facts; what is damaged or not understood is refused in words."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esad.preprocessing.embeddings.arrays import CHUNK_BYTES, Choice, rows_at_once
from esad.preprocessing.embeddings.layouts import facts_of
from esad.preprocessing.embeddings.reading import as_stored, is_vectors, places_of, read_head, read_vectors
from esad.preprocessing.embeddings.zarr_store import is_zarr
from esad.preprocessing.errors import InputError
from tests.preprocessing.embeddings.vector_files import (
    CLAM,
    TRIDENT,
    corners,
    labels,
    vectors,
    write_all,
    write_h5,
    write_parquet,
)

FORMATS = ("trident", "clam", "npy", "npz", "parquet", "lists", "zarr2", "zarr3")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("vectors"))


def whole(path: Path, choice: Choice = Choice()) -> np.ndarray:
    return np.concatenate(list(read_vectors(path, read_head(path, choice))))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_vectors_in_half_precision(files, name):
    path = files[name]
    assert is_vectors(path) or is_zarr(path)
    found = whole(path)
    assert found.dtype == np.float16
    assert np.array_equal(found, vectors())
    head = read_head(path, Choice(coords="left, top") if name == "parquet" else Choice())
    if name not in ("npy", "lists"):
        assert np.array_equal(places_of(head.items), corners())
    if name != "npy":
        assert head.items["label"].tolist() == labels().tolist()


def test_rows_come_in_parts_that_are_the_whole(files, monkeypatch):
    monkeypatch.setattr("esad.preprocessing.embeddings.arrays.CHUNK_BYTES", 12 * 2 * 11)
    for name in FORMATS:
        head = read_head(files[name], Choice())
        parts = list(read_vectors(files[name], head))
        assert len(parts) > 3, name
        assert np.array_equal(np.concatenate(parts), vectors()), name


def test_whole_chunks_of_a_file_are_read_at_once():
    assert rows_at_once(1024, 2) == CHUNK_BYTES // 2048
    assert rows_at_once(1024, 2, 1000) % 1000 == 0
    assert rows_at_once(1, 1, 100 * CHUNK_BYTES) == CHUNK_BYTES  # a chunk that is too large is read in pieces


def test_facts_of_trident_and_clam():
    assert facts_of(TRIDENT) == {
        "side": 512.0,
        "width": 8192.0,
        "height": 6144.0,
        "slide_mpp": 0.25,
        "mpp": 0.5,
    }
    assert facts_of({**TRIDENT, "overlap": 64})["step"] == 384
    assert facts_of(CLAM) == {"side": 512.0, "width": 8192.0, "height": 6144.0}
    assert facts_of({"patch_size": 256, "patch_level": 0}) == {"side": 256.0}
    assert facts_of({"patch_size": 256}) == {}  # of which level is not said
    assert (
        facts_of({"patch_size_level0": float("nan"), "level0_width": "wide", "downsample": [1, 2, 3]}) == {}
    )


def test_which_array_is_meant_is_asked_where_it_is_not_plain(tmp_path):
    path = tmp_path / "two.npz"
    np.savez(path, first=vectors(), second=vectors(1))
    with pytest.raises(
        InputError,
        match=r"two.npz: which array holds the features is not plain; it has first \(40 x 12\), second",
    ):
        read_head(path, Choice())
    assert np.array_equal(whole(path, Choice(features="second")), vectors(1))
    with pytest.raises(InputError, match="has no array 'third'"):
        read_head(path, Choice(features="third"))
    with pytest.raises(InputError, match="has no array 'places'"):
        read_head(path, Choice(features="first", coords="places"))


def test_places_may_be_left_out_and_must_be_places(tmp_path):
    path = write_h5(tmp_path / "a.h5", vectors())
    assert places_of(read_head(path, Choice(coords="none")).items) is None
    with h5py.File(path, "r+") as file:
        file["coords"][3] = (-1, 5)
    with pytest.raises(InputError, match=r"a.h5: coords, row 3: \(-1.0, 5.0\) is no place on a slide"):
        read_head(path, Choice())


@pytest.mark.parametrize(
    ("value", "dtype", "told"),
    [
        (np.nan, "float16", "row 17 holds a number that is missing"),
        (np.inf, "float32", "missing or infinite"),
        (1e6, "float16", "1e\\+06"),
    ],
)
def test_a_number_that_is_not_finite_is_named_by_its_row(value, dtype, told):
    x = vectors().astype(np.float32)
    x[7, 2] = value
    with pytest.raises(InputError, match=told):
        as_stored(x, dtype, Path("a.npy"), 10)


def test_a_vector_of_another_length_is_named_by_its_row(tmp_path):
    rows = [list(map(float, row)) for row in vectors()]
    rows[23] = rows[23][:5]
    pq.write_table(pa.table({"v": rows}), tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=r"a\.parquet: row 23 of 'v' holds a vector of 5 numbers; expected 12"
    ):
        whole(tmp_path / "a.parquet")
    rows[23] = None
    pq.write_table(pa.table({"v": rows}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: row 23 of 'v' holds no vector"):
        whole(tmp_path / "b.parquet")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("features", (10**7, 1024), "f2", chunks=(1000, 1024), compression="gzip")
    with pytest.raises(InputError, match=r"bomb\.h5: claims 20\.5 GB"):
        read_head(tmp_path / "bomb.h5", Choice())


def test_values_in_other_files_are_not_followed(tmp_path):
    """An HDF5 file may point to any file of the machine; nobody named that one."""
    write_h5(tmp_path / "other.h5", vectors())
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["features"] = h5py.ExternalLink("other.h5", "features")
    with pytest.raises(InputError, match=r"link\.h5: no array of vectors is in it"):
        read_head(tmp_path / "link.h5", Choice())
    layout = h5py.VirtualLayout((40, 12), "f2")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "features", (40, 12))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("features", layout)
    with pytest.raises(InputError, match="keeps its values in another file"):
        read_head(tmp_path / "virtual.h5", Choice())


def test_objects_in_an_npz_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz: no array of vectors"):
        read_head(tmp_path / "a.npz", Choice())


def test_a_file_that_is_cut_short_is_refused(tmp_path, files):
    content = files["npy"].read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-7])
    with pytest.raises(InputError, match=r"a\.npy: claims float16"):
        read_head(tmp_path / "a.npy", Choice())
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("features.npy", content[:-7])
    with pytest.raises(InputError, match=r"b\.npz: features claims float16"):
        read_head(tmp_path / "b.npz", Choice())


def test_a_file_of_torch_is_refused_with_what_to_take_instead(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"a\.pt: a file of torch.*h5_files"):
        read_head(tmp_path / "a.pt", Choice())


def test_texts_in_an_hdf5_file_are_values_of_rows(tmp_path):
    words = np.array(["normal", "tumour"])[labels()]
    path = write_h5(tmp_path / "a.h5", vectors(), label=words.astype("S"))
    assert read_head(path, Choice()).items["label"].tolist() == words.tolist()


def test_a_column_of_integers_is_a_vector_too(tmp_path):
    x = (vectors() * 10).astype(np.int8)
    write_parquet(tmp_path / "a.parquet", x)
    assert np.array_equal(whole(tmp_path / "a.parquet"), x)
