"""`esad embeddings`: files of vectors to a store that trains, scores and is shown as one of tiles is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.store.store import Store
from tests.pipeline.commands import made, words
from tests.preprocessing.embeddings.vector_files import (
    CLAM,
    SIDE,
    TRIDENT,
    corners,
    labels,
    vectors,
    write_all,
    write_h5,
    write_zarr,
)

QUICK = words(
    {
        "train.steps": 4,
        "train.warmup.steps": 4,
        "network.width": 0.1,
        "train.batch_size": 16,
        "data.validation_share": 0.3,
    }
)


def slides(folder: Path, attributes: dict | None, count: int = 4) -> Path:
    """`count` slides' files of vectors with labels."""
    folder.mkdir()
    for number in range(count):
        write_h5(folder / f"slide_{number}.h5", vectors(number), attributes, label=labels())
    return folder


@pytest.fixture(scope="module")
def trident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of four slides, a run on it and its scores."""
    root = tmp_path_factory.mktemp("trident")
    made("embeddings", slides(root / "files", TRIDENT), "--out", root / "store", "--encoder", "uni")
    made("train", root / "store", "--out", root / "run", *QUICK)
    made("score", root / "run", "--out", root / "scores")
    return root


def test_the_store_keeps_half_precision_places_and_labels(trident):
    store = Store(trident / "store")
    assert (store.kind, store.shape, store.description["dtype"]) == ("embeddings", (12,), "float16")
    assert store.of_slides
    assert np.load(trident / "store" / "shards" / "00000.npy").dtype == np.float16
    assert store.read(np.arange(3)).dtype == np.float32
    assert np.array_equal(store.read(np.arange(40)), vectors(0).astype(np.float32))
    items = store.manifest
    assert np.array_equal(items[["x", "y"]].to_numpy()[:40], corners())
    assert set(items["width"]) == set(items["height"]) == {SIDE}
    assert items["label"].tolist() == labels().tolist() * 4
    assert items["group"].unique().tolist() == [f"slide_{number}" for number in range(4)]
    row = store.sources.iloc[0]
    assert (row["width"], row["height"], row["slide_mpp"], row["tile_side"], row["tile_step"]) == (
        8192,
        6144,
        0.25,
        SIDE,
        SIDE,
    )


def test_names_in_attributes_are_left_where_they_are(trident):
    for path in (trident / "store").rglob("*"):
        assert not path.is_file() or b"Jane" not in path.read_bytes(), path


def test_scores_have_maps_of_slides_and_candidates(trident):
    scores = pd.read_parquet(trident / "scores" / "scores.parquet")
    assert len(scores) == 160
    assert scores["score"].notna().all()
    slides = pd.read_parquet(trident / "scores" / "slides.parquet")
    assert slides["map_step"].tolist() == [SIDE] * 4
    assert slides["map_tile"].tolist() == [SIDE] * 4
    drawn = np.load(trident / "scores" / "slides" / "slide_2.npy")
    of_slide = scores[scores["source"] == "slide_2.h5"]
    assert np.array_equal(drawn.reshape(-1), of_slide["score"].to_numpy(np.float32))
    assert (trident / "scores" / "candidates.parquet").is_file()
    assert json.loads((trident / "scores" / "scores.json").read_text())["slides"] is True


def test_evaluation_report_and_annotations_take_them_for_slides(trident):
    made("evaluate", trident / "scores")
    made("report", trident / "scores")
    assert json.loads((trident / "scores" / "metrics.json").read_text())["kind"] == "embeddings"
    made(
        "annotations",
        trident / "scores",
        "--out",
        trident / "annotations",
        "--format",
        "qupath",
    )
    found = json.loads((trident / "annotations" / "qupath" / "slide_0.geojson").read_text())
    assert found["features"]


def test_a_run_refuses_vectors_of_another_encoder(trident, tmp_path, capsys):
    made("embeddings", trident / "files", "--out", tmp_path / "other", "--encoder", "virchow")
    made("score", trident / "run", tmp_path / "other", status=1)
    assert "encoder: 'uni' -> 'virchow'" in capsys.readouterr().err


def test_an_audit_finds_nothing(trident):
    made("audit", trident / "run")


def test_clam_without_attributes_is_asked_about_and_then_taken(tmp_path, capsys):
    files = slides(tmp_path / "files", None, 2)
    made("embeddings", files, "--out", tmp_path / "store", status=1)
    assert "Give their side in level-0 pixels with --tile-side N" in capsys.readouterr().err
    made("embeddings", files, "--out", tmp_path / "store", "--tile-side", 1024)
    row = Store(tmp_path / "store").sources.iloc[0]
    assert (row["tile_side"], row["tile_step"]) == (1024, SIDE)  # tiles overlap, as they lie
    assert np.isnan(row["width"])


def test_clam_says_level_and_downsample(tmp_path):
    made("embeddings", slides(tmp_path / "files", CLAM, 1), "--out", tmp_path / "store")
    assert Store(tmp_path / "store").sources.iloc[0]["tile_side"] == SIDE


def test_a_file_of_another_slide_and_one_with_a_hole_are_refused_alone(tmp_path, capsys):
    files = slides(tmp_path / "files", TRIDENT, 3)
    with h5py.File(files / "slide_1.h5", "r+") as file:
        file["features"][5, 3] = np.nan
    with h5py.File(files / "slide_2.h5", "r+") as file:
        file["coords"][2] = (8192, 0)
    made("embeddings", files, "--out", tmp_path / "store", status=3)
    told = pd.read_csv(tmp_path / "store" / "failures.csv")["reason"].tolist()
    assert "slide_1.h5: row 5 holds a number that is missing or infinite." in told[0]
    assert "slide_2.h5: row 2 lies at (8192, 0), outside of its slide of 8192 x 6144 pixels" in told[1]
    assert len(Store(tmp_path / "store")) == 40
    assert not (tmp_path / "store" / "shards" / "00001.npy").exists()


def test_places_of_all_files_or_of_none(tmp_path, capsys):
    files = slides(tmp_path / "files", TRIDENT, 1)
    np.save(files / "z.npy", vectors())
    made("embeddings", files, "--out", tmp_path / "store", status=1)
    assert "slide_0.h5 says where its tiles lie, z.npy does not" in capsys.readouterr().err
    made("embeddings", files, "--out", tmp_path / "without", "--coords", "none", "--label", "none")
    assert not Store(tmp_path / "without").of_slides


def test_every_format_in_one_call_and_mixed_precision_is_said(tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    write_all(folder)
    np.save(folder / "single.npy", vectors().astype(np.float32))
    made("embeddings", folder, "--out", tmp_path / "store", "--coords", "none")
    told = capsys.readouterr().err
    assert "8 of 9 files hold float16: all are kept as float32." in told
    assert "Each of 9 files is a group" in told
    store = Store(tmp_path / "store")
    assert (len(store), store.description["dtype"]) == (360, "float32")
    assert set(store.sources["source"]) >= {"two.zarr", "three.zarr"}
    for start in range(0, 360, 40):
        assert np.array_equal(store.read(np.arange(start, start + 40)), vectors().astype(np.float32))


def test_a_finished_store_is_left_alone_and_a_changed_folder_is_read_again(tmp_path, capsys):
    write_zarr(tmp_path / "a.zarr", vectors(), 3)
    words = ["embeddings", tmp_path / "a.zarr", "--out", tmp_path / "store", "--coords", "none"]
    made(*words)
    made(*words)
    assert "Left alone" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "a.zarr")
    write_zarr(tmp_path / "a.zarr", vectors(9), 3)
    made(*words)
    assert np.array_equal(Store(tmp_path / "store").read(), vectors(9).astype(np.float32))


def test_a_label_column_of_another_name_is_asked_about(tmp_path, capsys):
    write_h5(tmp_path / "a.h5", vectors(), TRIDENT, diagnosis=labels())
    made("embeddings", tmp_path / "a.h5", "--out", tmp_path / "store", status=2)
    assert "but one called 'diagnosis': say --label diagnosis" in capsys.readouterr().err
    made("embeddings", tmp_path / "a.h5", "--out", tmp_path / "store", "--label", "diagnosis")
    assert Store(tmp_path / "store").manifest["label"].sum() == 4


def test_without_names(tmp_path):
    """No file of the store holds the name of a file or of a site, neither as source nor as group."""
    (tmp_path / "files").mkdir()
    sites = np.array(["jane hospital"] * 40, dtype="S")
    for number in range(2):
        path = tmp_path / "files" / f"jane-{number}.h5"
        write_h5(path, vectors(number), TRIDENT, label=labels(), scanner=sites)
    words = ["embeddings", tmp_path / "files", "--out", tmp_path / "store", "--site-column", "scanner"]
    made(*words, "--anonymous", "--group-key", tmp_path / "key")
    items = Store(tmp_path / "store").manifest
    assert (items["group"].nunique(), items["site"].nunique()) == (2, 1)
    for path in (tmp_path / "store").rglob("*"):
        assert not path.is_file() or b"jane" not in path.read_bytes(), path


def test_methods_of_pictures_refuse_vectors(trident, tmp_path, capsys):
    made("train", trident / "store", "--out", tmp_path / "run", "--set", "method=dpa", status=2)
    assert "is for pictures, this store has rows of numbers" in capsys.readouterr().err
