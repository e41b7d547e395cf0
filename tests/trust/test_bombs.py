"""Bombs of every format, each beside a good file: the bomb is refused in words, soon and in little memory; the good file is kept."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.pipeline.stores import make_store
from tests.preprocessing.radiographs.dicom_files import RAMP, write_dicom
from tests.trust import bombs, outlines
from tests.trust.own_folders import WORDS, call, made
from tests.trust.trial import Subject, attempt

READ_ALL_THE_SAME = {"png_just_below_the_limit", "png_text", "png_profile", "dicom_packed", "dicom_runs", "dicom_frames"}  # fmt: skip
"""What is a picture after all: it may be read or refused, and only has to be so soon and in little memory."""


def thrown(tmp_path, command, make, ending, good):
    """How `esad COMMAND` ends on a folder of a good file and a bomb; the store's sources."""
    folder = tmp_path / "good" / "archive"
    folder.mkdir(parents=True)
    good(folder)

    def drive(copy, seed):
        return call([*command, copy / "archive", "--out", copy / "new"])

    (folder / f"bomb{ending}").write_bytes(make())
    subject = Subject(make.__name__, ending, tmp_path / "good", f"archive/bomb{ending}", drive)
    end = attempt(subject, -1, tmp_path / "work")
    assert end.kind == "taken", end.told
    new = tmp_path / "work" / "case" / "new"
    return end, sorted(pd.read_parquet(new / "manifest.parquet")["source"].unique())


def good_picture(folder):
    numbers = np.random.default_rng(0)
    Image.fromarray(numbers.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / "good.png")


@pytest.mark.parametrize("name", bombs.PICTURES)
def test_pictures(tmp_path, name):
    end, sources = thrown(tmp_path, ["images", "--size", 32], *bombs.PICTURES[name], good_picture)
    assert "good.png" in sources
    if name not in READ_ALL_THE_SAME:
        assert sources == ["good.png"]
        assert "refused bomb" in end.told


@pytest.mark.parametrize("name", bombs.RADIOGRAPHS)
def test_radiographs(tmp_path, name):
    end, sources = thrown(
        tmp_path,
        ["radiographs"],
        *bombs.RADIOGRAPHS[name],
        lambda folder: write_dicom(folder / "good.dcm", np.tile(RAMP, (2, 2)), ViewPosition="PA"),
    )
    assert "good.dcm" in sources
    if name not in READ_ALL_THE_SAME:
        assert sources == ["good.dcm"]
        assert "refused bomb" in end.told


@pytest.mark.parametrize("name", bombs.TABLES)
def test_tables(tmp_path, name):
    end, sources = thrown(
        tmp_path,
        ["tables"],
        *bombs.TABLES[name],
        lambda folder: (folder / "good.csv").write_text("a,b\n1,2\n3,4\n"),
    )
    assert sources == ["good.csv"]
    assert "refused bomb" in end.told


@pytest.mark.parametrize("name", bombs.OUTLINES)
def test_outlines(tmp_path, name):
    make, ending = bombs.OUTLINES[name]
    outlines.prepare(tmp_path / "good")
    subject = next(
        each for each in outlines.subjects(tmp_path / "good") if each.file.endswith(ending.removeprefix("."))
    )
    end = attempt(subject, 0, tmp_path / "work", make())
    assert end.kind == "refused", end.told
    assert "root:" not in end.told
    assert end.peak < 500_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A store of rows and a run on it."""
    folder = tmp_path_factory.mktemp("small")
    store = make_store(folder).root
    made("train", store, "--out", folder / "run", *WORDS)
    return folder


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("bomb.yaml", ["train", "store", "--out", "new", "--config", "bomb.yaml"]),
        ("bomb.yaml", ["run", "bomb.yaml"]),
        ("bomb.yaml", ["benchmark", "bomb.yaml", "--data", ".", "--out", "new"]),
        ("run/config.yaml", ["score", "run", "--out", "new"]),
        ("run/config.yaml", ["report", "run"]),
        ("run/config.yaml", ["audit", "run"]),
    ],
    ids=["settings", "workflow", "grid", "score", "report", "audit"],
)
@pytest.mark.parametrize("name", bombs.SETTINGS)
def test_settings_workflows_and_grids(small, tmp_path, name, file, words):
    def drive(copy, seed):
        os.chdir(copy)
        return call(words)

    (tmp_path / "made").mkdir()
    shutil.copytree(small, tmp_path / "made" / "good")
    subject = Subject(name, "yaml", tmp_path / "made" / "good", file, drive)
    end = attempt(subject, 0, tmp_path / "work", bombs.SETTINGS[name][0]())
    assert end.kind == "refused", end.told
    assert len(end.told) < 3000
    assert not list(tmp_path.rglob("RAN"))
    assert end.peak < 500_000_000


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.pt"])
def test_weights(small, tmp_path, name):
    def drive(copy, seed):
        return call(["score", copy / "run", "--out", copy / "new"])

    subject = Subject("weights", name, small, "run/model.safetensors", drive)
    end = attempt(subject, 0, tmp_path / "work", bombs.safetensors_claims())
    assert end.kind == "refused", end.told
    assert end.peak < 500_000_000


@pytest.mark.parametrize("make", [bombs.hdf5_never_written, bombs.zarr_never_written])
def test_vectors_that_were_never_written(tmp_path, make):
    ending = ".h5" if "hdf5" in make.__name__ else ".zarr"
    (tmp_path / "good").mkdir()
    make(tmp_path / "good" / f"bomb{ending}")
    np.savez(tmp_path / "good" / "good.npz", features=np.ones((4, 3), np.float32))

    def drive(copy, seed):
        return call(["embeddings", copy, "--out", copy / "new"])

    end = attempt(Subject("vectors", ending, tmp_path / "good", "good.npz", drive), -1, tmp_path / "work")
    assert end.kind in ("taken", "refused"), end.told
    assert f"refused bomb{ending}" in end.told
    assert end.peak < 500_000_000


def test_pictures_of_an_idx_file_that_says_too_much(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "train-images-idx3-ubyte").write_bytes(bombs.idx_claims())

    def drive(copy, seed):
        return call(["images", copy / "train-images-idx3-ubyte", "--out", copy / "new"])

    end = attempt(
        Subject("idx", "idx", tmp_path / "good", "train-images-idx3-ubyte", drive), -1, tmp_path / "work"
    )
    assert end.kind == "refused", end.told
    assert end.peak < 500_000_000
