"""`esad embed`: a store of pictures through a frozen encoder, row by row, to a store of embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from esad.models.encoders.loading import load_encoder
from esad.models.encoders.request import EncoderRequest
from esad.preprocessing.store.store import Store
from tests.pipeline.commands import made
from tests.pipeline.stores import make_store
from tests.pipeline.tiny_encoders import (
    MEAN,
    SCALE,
    STATED,
    WIDTH,
    embedding,
    timm,
    write_onnx,
    write_weights,
)

__all__ = ["timm"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of grey pictures in three shards, and an encoder beside it."""
    root = tmp_path_factory.mktemp("pictures")
    make_store(root, "radiographs", shards=3)
    write_onnx(root / "tiny.onnx")
    return root


@pytest.fixture(scope="module")
def embedded(pictures: Path) -> Path:
    made(*embedding(pictures / "store", pictures / "tiny.onnx", pictures / "vectors", *STATED))
    return pictures / "vectors"


def test_rows_labels_groups_and_columns_are_those_of_the_source(pictures, embedded):
    source, store = Store(pictures / "store"), Store(embedded)
    assert (store.kind, store.shape, store.description["dtype"]) == ("embeddings", (WIDTH,), "float16")
    names = [name for name in source.manifest if name != "index"]
    pd.testing.assert_frame_equal(store.manifest[names], source.manifest[names])
    encoder = load_encoder(
        EncoderRequest(str(pictures / "tiny.onnx"), mean=MEAN, scale=SCALE), torch.device("cpu")
    )
    wanted = encoder(torch.from_numpy(source.read())).numpy()
    assert np.allclose(store.read(), wanted, atol=2e-3 * np.abs(wanted).max())


def test_the_store_says_what_made_it(pictures, embedded):
    settings = Store(embedded).settings
    assert settings["encoder"].startswith("tiny.onnx sha256 ")
    assert settings["input"]["mean"] == list(MEAN)
    assert settings["of"]["kind"] == "radiographs"
    assert Store(embedded).description["made_of"]["path"] == str((pictures / "store").resolve())


def test_an_audit_of_it_finds_nothing(embedded):
    made("audit", embedded, status=3)  # it has no parts to look at


def test_it_goes_on_where_it_was_and_ends_the_same(pictures, embedded, tmp_path, capsys):
    words = embedding(pictures / "store", pictures / "tiny.onnx", tmp_path / "vectors", *STATED)
    made(*words)
    (tmp_path / "vectors" / "store.json").unlink()
    (tmp_path / "vectors" / "shards" / "00001.npy").unlink()
    np.save(tmp_path / "vectors" / "shards" / "00002.npy", np.zeros((1, 2)))
    made(*words)
    assert "00002.npy: is damaged, and is done again" in capsys.readouterr().err
    for path in embedded.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "vectors" / path.relative_to(embedded)).read_bytes(), path
    made(*words)
    assert "Left alone (finished before)" in capsys.readouterr().err
    made(*words, "--precision", "float32", status=1)
    assert "made with other settings (settings.precision" in capsys.readouterr().err
    made(*words, "--precision", "float32", "--force")
    assert Store(tmp_path / "vectors").description["dtype"] == "float32"


def test_a_run_takes_vectors_of_its_own_encoder_alone(pictures, embedded, tmp_path, capsys):
    made(
        "train",
        embedded,
        "--out",
        tmp_path / "run",
        "--set",
        "train.steps=2",
        "--set",
        "train.warmup.steps=2",
    )
    write_onnx(tmp_path / "tiny.onnx", seed=1)
    made(*embedding(pictures / "store", tmp_path / "tiny.onnx", tmp_path / "other", *STATED))
    made("score", tmp_path / "run", tmp_path / "other", status=1)
    told = capsys.readouterr().err
    assert "does not fit" in told
    assert "encoder: 'tiny.onnx sha256" in told
    make_store(tmp_path, "radiographs", "resized", {"size": 32}, shards=3)
    made(*embedding(tmp_path / "resized", pictures / "tiny.onnx", tmp_path / "unlike", *STATED))
    made("score", tmp_path / "run", tmp_path / "unlike", status=1)
    assert "of.size: None -> 32" in capsys.readouterr().err
    made("score", tmp_path / "run", embedded, "--out", tmp_path / "scores")
    assert json.loads((tmp_path / "scores" / "scores.json").read_text())["kind"] == "embeddings"


def test_tables_and_encoders_that_say_too_little_are_refused(pictures, tmp_path, capsys):
    make_store(tmp_path, "table", "table")
    made(*embedding(tmp_path / "table", pictures / "tiny.onnx", tmp_path / "vectors"), status=2)
    assert "a store of table; an encoder takes tiles, radiographs or images" in capsys.readouterr().err
    made(*embedding(pictures / "store", pictures / "tiny.onnx", tmp_path / "vectors"), status=2)
    assert "does not say by which mean and scale" in capsys.readouterr().err
    made(
        *embedding(pictures / "store", pictures / "tiny.onnx", tmp_path / "vectors", "--mean", "a,b"),
        status=2,
    )
    assert "--mean a,b: expected a number" in capsys.readouterr().err
    assert not (tmp_path / "vectors").exists()


def test_weights_and_an_architecture(pictures, tmp_path, timm):
    path = write_weights(tmp_path / "tiny.safetensors")
    made(
        *embedding(
            pictures / "store", path, tmp_path / "vectors", "--architecture", "tiny", "--layers", "stem,block"
        )
    )
    assert Store(tmp_path / "vectors").shape == (WIDTH + 4,)


def test_a_vector_that_is_not_finite_names_its_item(pictures, tmp_path, capsys):
    path = write_onnx(tmp_path / "tiny.onnx")
    made(
        *embedding(pictures / "store", path, tmp_path / "vectors", "--mean", "0", "--scale", "1e-7"), status=1
    )
    assert "too large for float16; try --precision float32" in capsys.readouterr().err


def test_a_cluster_gives_the_same_bits(pictures, embedded, tmp_path, dask_cluster):
    words = embedding(pictures / "store", pictures / "tiny.onnx", tmp_path / "vectors", *STATED)
    made(*words, "--scheduler", dask_cluster.scheduler_address)
    for path in (embedded / "shards").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "vectors" / "shards" / path.name).read_bytes()
    assert Store(tmp_path / "vectors").description == Store(embedded).description


def test_from_python(pictures, embedded, tmp_path):
    from esad import embed, embeddings

    store = embed(
        pictures / "store", pictures / "tiny.onnx", tmp_path / "vectors", mean=list(MEAN), scale=list(SCALE)
    )
    assert np.array_equal(store.read(), Store(embedded).read())
    np.save(tmp_path / "v.npy", store.read())
    assert embeddings(tmp_path / "v.npy", tmp_path / "again").shape == (WIDTH,)
