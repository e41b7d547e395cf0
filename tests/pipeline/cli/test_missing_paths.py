"""A path that is not there is wrong use, status 2, of every command and option, before anything is written."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esad.pipeline.cli.app import app, call
from tests.pipeline.slide_scores_folder import scores_folder, tiles_of
from tests.pipeline.stores import QUICK_TABLE, make_store
from tests.pipeline.test_radiographs import nih_archive
from tests.pipeline.test_report import complete
from tests.pipeline.test_tile import stained, write_slide

SETTINGS = [word for name, value in QUICK_TABLE.items() for word in ("--set", f"{name}={value}")]
WORDS = {
    ("annotations", "scores"): "annotations ? --out new",
    ("annotations", "archive"): "annotations tile-scores --archive ? --out new",
    ("audit", "path"): "audit ?",
    ("benchmark", "data"): "benchmark table3 --data ? --out new",
    ("combine", "paths"): "combine ? radiographs-scores --out new",
    ("dicom", "scores"): "dicom ? --archive pictures --out new",
    ("dicom", "archive"): "dicom radiographs-scores --archive ? --out new",
    ("embed", "store"): "embed ? --encoder imagenet --out new",
    ("embeddings", "archive"): "embeddings vectors --archive ? --out new",
    ("evaluate", "path"): "evaluate ?",
    ("evaluate", "annotations"): "evaluate tile-scores --annotations ?",
    ("evaluate", "reference"): "evaluate tile-scores --reference ?",
    ("export", "run"): "export ? --to onnx",
    ("figures", "paths"): "figures ? --out new",
    ("plan", "inputs"): "plan ?",
    ("report", "paths"): "report ? --out new/report.html",
    ("report", "figures"): "report radiographs-scores --figures ? --out new/report.html",
    ("run", "workflow"): "run ? --out new",
    ("score", "run"): "score ? --out new",
    ("score", "store"): "score run ? --out new",
    ("suggest", "path"): "suggest ? --out new",
    ("suggest", "labels"): "suggest radiographs-scores --labels ? --out new",
    ("sweep", "store"): "sweep ? --over loss.lambda1=1,2 --out new",
    ("sweep", "config"): "sweep store --over loss.lambda1=1,2 --config ? --out new",
    ("train", "store"): "train ? --out new",
    ("train", "labels"): "train store --labels ? --out new",
    ("train", "config"): "train store --config ? --out new",
    ("verify", "run"): "verify ?",
    ("view", "paths"): "view ? --no-browser",
    ("view", "archive"): "view tile-scores --archive ? --no-browser",
    ("view", "annotations"): "view tile-scores --annotations ? --no-browser",
    ("verify", "store"): "verify run ?",
    ("tile", "annotations"): "tile slides --annotations ? --out new",
    ("tile", "tile_list"): "tile slides --tile-list ? --out new",
    ("tile", "stain_target"): "tile slides --stain-target ? --out new",
    ("radiographs", "metadata"): "radiographs pictures --metadata ? --out new",
    (
        "radiographs",
        "subset_list",
    ): "radiographs nih --protocol nih-subset --metadata nih --subset-list ? --out new",
    ("plan", "metadata"): "plan --protocol nih-subset --metadata ?",
    ("plan", "subset_list"): "plan --protocol nih-subset --metadata nih --subset-list ?",
    ("plan", "tile_list"): "plan --protocol camelyon16 --tile-list ?",
    **{
        (stage, "inputs"): f"{stage} ? --out new"
        for stage in ("tile", "radiographs", "images", "tables", "embeddings")
    },
    **{
        (stage, name): f"{stage} {folder} --{name} ? --out new"
        for stage, folder in (
            ("tile", "slides"),
            ("radiographs", "pictures"),
            ("images", "pictures"),
            ("tables", "tables"),
            ("embeddings", "vectors"),
        )
        for name in ("labels", "like")
    },
}
"""(command, argument or option) -> words with ? for the path that is not there."""
MADE = {"out", "group_key", "marks"}
"""Paths that a command makes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures, a table, a store and a run on it."""
    folder = tmp_path_factory.mktemp("paths")
    (folder / "pictures").mkdir()
    (folder / "tables").mkdir()
    (folder / "vectors").mkdir()
    np.save(folder / "vectors" / "a.npy", np.ones((4, 2)))
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "pictures" / "a.png")
    np.savez(folder / "tables" / "t.npz", X=np.zeros((4, 2)), y=[0, 1, 0, 1])
    (folder / "slides").mkdir()
    write_slide(folder / "slides" / "a.tif", stained(512, 0))
    nih_archive(folder / "nih")
    make_store(folder)
    shutil.copytree(complete(folder / "a", "radiographs") / "scores" / "store", folder / "radiographs-scores")
    shutil.copytree(
        scores_folder(folder / "b", tiles_of("a.svs", {})) / "scores" / "store", folder / "tile-scores"
    )
    assert call(["train", str(folder / "store"), "--out", str(folder / "run"), *SETTINGS]) == 0
    return folder


def test_every_path_of_every_command_is_tried():
    named = {
        (str(command.name), name)
        for command in app.registered_commands
        for name, parameter in inspect.signature(command.callback).parameters.items()  # type: ignore[arg-type]
        if "Path" in str(parameter.annotation) and name not in MADE
    }
    assert named - set(WORDS) == set()


@pytest.mark.parametrize("which", WORDS, ids="-".join)
def test_a_path_that_is_not_there_is_wrong_use(folder, tmp_path, capsys, which):
    places = {
        "?": tmp_path / "not there",
        "new": tmp_path / "new",
        "new/report.html": tmp_path / "new" / "report.html",
    }
    command, *words = WORDS[which].split()
    given = [str(places.get(word) or (folder / word if (folder / word).exists() else word)) for word in words]
    status = call([command, *given])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 2, error
    assert str(tmp_path / "not there") in error
    assert not (tmp_path / "new").exists()
