"""A damaged file of a store, run or scores folder ends every stage in one line that names it, with what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from tests.pipeline.stores import QUICK, make_store

DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "halved": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "junk": lambda path: path.write_bytes(b"{}"),
    "text": lambda path: path.write_bytes(b"\x93NUMPY PAR1 [1, 2] not what it was\n" * 3),
    "gone": lambda path: path.unlink(),
}
STORE_FILES = ("store.json", "manifest.parquet", "sources.parquet", "shards/00000.npy")
RUN_READ = {
    "config.yaml": ("score", "evaluate", "report", "export", "audit"),
    "model.safetensors": ("score", "export", "train"),
    "assignments.parquet": ("score", "report", "train"),
    "normals.parquet": ("score",),
    "heat.json": ("score",),
    "mean_normal.npy": ("score",),
    "provenance.json": ("report",),
    "history.csv": ("report",),
}
"""File of a run -> the stages that cannot do without it."""
TOLD_OTHERWISE = {
    ("model.safetensors", "gone"),  # a training that has not ended
    ("assignments.parquet", "train", "gone"),
    ("config.yaml", "audit", "gone"),  # no run
}
RUN_CASES = [
    (name, stage, damage)
    for name, stages in RUN_READ.items()
    for stage in stages
    for damage in DAMAGES
    if not {(name, damage), (name, stage, damage)} & TOLD_OTHERWISE
]
SCORES_READ = {
    "scores.json": ("evaluate", "report", "dicom"),
    "scores.parquet": ("evaluate", "report", "dicom", "score"),
    "metrics.json": ("report",),
}
SETTINGS = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """A folder with store, run and scores of radiographs."""
    folder = tmp_path_factory.mktemp("clean")
    make_store(
        folder, "radiographs", settings={"resizing": "box", "crop": 1.0, "size": 16, "equalise": False}
    )
    assert call(["train", str(folder / "store"), "--out", str(folder / "run"), *SETTINGS]) == 0
    assert call(["score", str(folder / "run"), "--overlays", "worst:2"]) == 0
    assert call(["evaluate", str(folder / "run")]) == 0
    return folder


def words_of(stage: str, run: Path, folder: Path) -> list[str]:
    """A stage that reads the run."""
    new = folder / "new"
    store = str(folder / "store")
    return {
        "score": ["score", str(run), store, "--out", str(new)],
        "evaluate": ["evaluate", str(run)],
        "report": ["report", str(run), "--out", str(new / "report.html")],
        "export": ["export", str(run), "--to", "onnx", "--out", str(new)],
        "audit": ["audit", str(run)],
        "train": ["train", store, "--out", str(run), *SETTINGS],
        "dicom": ["dicom", str(run), "--archive", str(folder / "archive-store"), "--out", str(new)],
    }[stage]


@pytest.fixture
def copy(clean, tmp_path) -> Path:
    """The run and its scores, to be damaged; the store stays where it is."""
    shutil.copytree(clean / "run", tmp_path / "run")
    return tmp_path / "run"


def refused(words: list[str], path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said, where the stage fails with one line that names the file."""
    capsys.readouterr()
    status = call(words)
    error = capsys.readouterr().err.strip().splitlines()
    assert status == 1, (words, error)
    told = [line for line in error if line.startswith("error: ")]
    assert len(told) == 1, error
    assert "a fault of esad itself" not in told[0]
    assert str(path) in told[0], (words, error)
    assert any(word in told[0] for word in ("--force", "esad ", "ingest stage"))
    return told[0]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", STORE_FILES)
def test_a_damaged_store_is_named_by_every_stage_that_opens_it(clean, tmp_path, capsys, name, damage):
    store = tmp_path / "store"
    shutil.copytree(clean / "store", store)
    DAMAGES[damage](store / name)
    new = str(tmp_path / "new")
    told = [
        refused(["train", str(store), "--out", new, *SETTINGS], store / name, capsys)
        if name != "store.json" or damage != "gone"
        else "",
        refused(["score", str(clean / "run"), str(store), "--out", new], store, capsys),
    ]
    assert all("ingest stage" in each for each in told if each)
    assert not (tmp_path / "new").exists()
    if name != "store.json" and not (name.startswith("shards")):
        refused(["audit", str(store)], store / name, capsys)


@pytest.mark.parametrize(("name", "stage", "damage"), RUN_CASES)
def test_a_damaged_run_is_named_by_every_stage_that_opens_it(clean, copy, capsys, name, stage, damage):
    DAMAGES[damage](copy / name)
    at = copy if name == "config.yaml" and damage == "gone" else copy / name
    refused(
        [word.replace(str(clean / "new"), str(copy.parent / "new")) for word in words_of(stage, copy, clean)],
        at,
        capsys,
    )


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name, stages in SCORES_READ.items() for stage in stages]
)
def test_damaged_scores_are_named_by_every_stage_that_opens_them(clean, copy, capsys, name, stage, damage):
    path = copy / "scores" / "store" / name
    DAMAGES[damage](path)
    words = words_of(stage, copy, clean)
    words = [word.replace(str(clean / "new"), str(copy.parent / "new")) for word in words]
    if stage == "score":
        words = ["score", str(copy), str(clean / "store"), "--overlays", "worst:2"]
    if damage == "gone" and name != "scores.parquet":
        assert call(words) in (0, 1)
        return
    refused(words, path, capsys)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    ["store.json", "manifest.parquet", "sources.parquet", "shards/00000.npy", "parts/settings.json", "parts/units.json",
     "parts/sources-00000.parquet", "parts/items-00000.parquet"],
)  # fmt: skip
def test_a_damaged_store_is_made_anew_with_force(pictures, tmp_path, capsys, name, damage):
    words = ["images", str(pictures), "--out", str(tmp_path / "store")]
    assert call(words) == 0
    undisturbed = files_of(tmp_path / "store")
    DAMAGES[damage](tmp_path / "store" / name)
    status = call(words)
    assert "a fault of esad itself" not in capsys.readouterr().err
    assert status in (0, 1)  # the store's own tables are joined anew from its parts
    assert call([*words, "--force"]) == 0
    assert files_of(tmp_path / "store") == undisturbed


@pytest.mark.parametrize("value", [0.5, 7, "normal"])
@pytest.mark.parametrize("stage", ["evaluate", "report", "dicom", "score"])
def test_scores_with_a_label_that_is_none_are_refused(clean, copy, capsys, stage, value):
    path = copy / "scores" / "store" / "scores.parquet"
    table = pd.read_parquet(path)
    labels = table["label"].astype(object)
    labels.iloc[:] = value
    table.assign(label=labels.infer_objects()).to_parquet(path, index=False)
    words = [
        word.replace(str(clean / "new"), str(copy.parent / "new")) for word in words_of(stage, copy, clean)
    ]
    if stage == "score":
        words = ["score", str(copy), str(clean / "store"), "--overlays", "worst:3"]
    assert "column 'label' holds" in refused(words, path, capsys)


@pytest.mark.parametrize("value", [0.5, 7])
def test_a_store_with_a_label_that_is_none_is_refused_by_every_stage(clean, tmp_path, capsys, value):
    shutil.copytree(clean / "store", tmp_path / "store")
    path = tmp_path / "store" / "manifest.parquet"
    pd.read_parquet(path).assign(label=value).to_parquet(path, index=False)
    for words in (["score", str(clean / "run"), str(tmp_path / "store")], ["train", str(tmp_path / "store")]):
        told = refused([*words, "--out", str(tmp_path / "new")], path, capsys)
        assert f"column 'label' holds {value}; expected 0, 1 or empty" in told


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Six small grey pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    numbers = np.random.default_rng(0)
    for number in range(6):
        picture = numbers.integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ({"index": -1}, "index -1 in shard 0, which has items 0 to 119"),
        ({"index": 120}, "index 120 in shard 0"),
        ({"shard": 7}, "00007.npy: is missing"),
    ],
)
def test_items_at_no_place_of_their_shard_are_refused(clean, tmp_path, capsys, spoil, told):
    shutil.copytree(clean / "store", tmp_path / "store")
    table = pd.read_parquet(tmp_path / "store" / "manifest.parquet")
    for name, value in spoil.items():
        table.loc[3, name] = value
    table.to_parquet(tmp_path / "store" / "manifest.parquet", index=False)
    assert told in refused(["score", str(clean / "run"), str(tmp_path / "store")], tmp_path / "store", capsys)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((120, 16, 16, 1), np.float32),
        np.zeros((120, 8, 8, 1), np.uint8),
        np.zeros((9, 16, 16, 1), np.uint8),
    ],
    ids=["type", "shape", "length"],
)
def test_a_shard_of_another_type_shape_or_length_is_refused(clean, tmp_path, capsys, array):
    shutil.copytree(clean / "store", tmp_path / "store")
    np.save(tmp_path / "store" / "shards" / "00000.npy", array)
    refused(["score", str(clean / "run"), str(tmp_path / "store")], tmp_path / "store", capsys)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "radiographs"', '"kind": "sounds"'),
        ('"dtype": "uint8"', '"dtype": "float64"'),
        ('"dtype": "uint8"', '"dtype": 8'),
        ('"kind": "radiographs",', ""),
        ('"inputs": "', '"inputs": 3, "x": "'),
    ],
)
def test_facts_of_a_store_that_no_store_has_are_refused(clean, tmp_path, capsys, old, new):
    shutil.copytree(clean / "store", tmp_path / "store")
    path = tmp_path / "store" / "store.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    refused(["score", str(clean / "run"), str(tmp_path / "store")], path, capsys)
