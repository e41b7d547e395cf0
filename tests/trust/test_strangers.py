"""Folders and files of strangers: whatever is planted in them, none of their code runs, and no other file is read or written."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from onnx import TensorProto, helper
from PIL import Image

from esad.models.encoders.preparation import UnknownEncoder
from esad.pipeline.cli.app import call
from tests.models.encoders.test_onnx_model import STATED, loaded
from tests.pipeline.stores import make_store
from tests.trust.own_folders import WORDS, made

MODULES = [
    "json", "re", "struct", "io", "pickle", "socket", "selectors", "multiprocessing", "numpy", "pandas", "torch", "yaml",
    "pydicom", "PIL", "scipy", "h5py", "zarr", "pyarrow", "sitecustomize", "usercustomize", "esad",
]  # fmt: skip
CONSOLE = Path(sys.executable).with_name("esad")


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch '{self.path}'",))


def planted_modules(folder: Path, ran: Path) -> None:
    """Modules in `folder` with the names of what Python and esad import; each says that it ran."""
    ran.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(
            f"open({str(ran / name)!r}, 'w').close()\nraise ImportError({name!r})\n"
        )


@pytest.fixture
def pictures(tmp_path):
    """Two folders of pictures, one a class."""
    numbers = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(3):
            pixels = numbers.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.skipif(not CONSOLE.exists(), reason="esad is not installed as a command here")
def test_modules_in_the_folder_where_one_works_are_not_imported(tmp_path, pictures):
    ran, place = tmp_path / "ran", tmp_path / "place"
    place.mkdir()
    planted_modules(place, ran)
    words = ["images", pictures, "--out", tmp_path / "store", "--class", "a=normal", "--class", "b=anomaly"]
    end = subprocess.run([CONSOLE, *words], cwd=place, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stderr
    assert os.listdir(ran) == []


@pytest.mark.skipif(not CONSOLE.exists(), reason="esad is not installed as a command here")
@pytest.mark.parametrize("words", [["score", "."], ["audit", "."]])
def test_nor_are_those_in_a_run_that_one_works_in(honest, tmp_path, words):
    shutil.copytree(honest, tmp_path / "all")
    plant(tmp_path / "all" / "run", tmp_path / "ran")
    end = subprocess.run(
        [CONSOLE, *words], cwd=tmp_path / "all" / "run", capture_output=True, text=True, check=False
    )
    assert end.returncode == 0, end.stderr
    assert os.listdir(tmp_path / "ran") == []


def test_nor_are_they_by_the_processes_of_several_workers(tmp_path):
    ran, place = tmp_path / "ran", tmp_path / "place"
    place.mkdir()
    planted_modules(place, ran)
    code = (
        "from pathlib import Path\n"
        "from esad.pipeline.ingest.workers import process_here\n"
        "units = [Path('a'), Path('b'), Path('c')]\n"
        "assert sorted(map(str, (unit for unit, why in process_here(Path('x'), units, Path.joinpath, 2)))) == ['a', 'b', 'c']\n"
    )
    (tmp_path / "script.py").write_text(f"if __name__ == '__main__':\n{textwrap.indent(code, '    ')}")
    end = subprocess.run(
        [sys.executable, tmp_path / "script.py"], cwd=place, capture_output=True, text=True, check=False
    )
    assert end.returncode == 0, end.stderr
    assert os.listdir(ran) == []


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A store and a run that is not finished with its checkpoint, and scores."""
    folder = tmp_path_factory.mktemp("honest")
    store = make_store(folder).root
    made("train", store, "--out", folder / "run", *WORDS)
    made("score", folder / "run")
    return folder


def edited(run: Path, **values: object) -> None:
    """Change entries of RUN/config.yaml, named by dotted paths with `__` for a dot."""
    content = yaml.safe_load((run / "config.yaml").read_text())
    for name, value in values.items():
        *path, last = name.split("__")
        place = content
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(content))


def plant(run: Path, ran: Path) -> None:
    """Everything in a run that a careless reader would run."""
    planted_modules(run, ran)
    touch = Touch(ran / "pickle")
    for name in ("checkpoint.pt", "model.pt", "model.pkl", "model.pth", "scores.pkl", "best.ckpt"):
        (run / name).write_bytes(pickle.dumps(touch))
    torch.save({"model": touch}, run / "last.pt")
    np.save(run / "normals.npy", np.array([touch], dtype=object), allow_pickle=True)
    (run / "conftest.py").write_text(f"open({str(ran / 'conftest')!r}, 'w')\n")
    (run / "log").mkdir(exist_ok=True)
    (run / "mlflow.json").write_text(json.dumps({"run_id": "../../../x", "where": "http://198.51.100.1:9"}))


@pytest.mark.parametrize(
    "command", ["score", "evaluate", "report", "audit", "export", "train", "suggest", "figures"]
)
def test_a_run_from_a_stranger_runs_no_code_of_theirs(honest, tmp_path, monkeypatch, command):
    ran = tmp_path / "ran"
    shutil.copytree(honest, tmp_path / "all")
    run = tmp_path / "all" / "run"
    plant(run, ran)
    monkeypatch.chdir(run)
    words = {
        "train": ["train", str(honest / "store"), "--out", ".", "--resume", *WORDS],
        "export": ["export", ".", "--to", "onnx", "--out", str(tmp_path / "model")],
        "score": ["score", ".", "--force"],
        "figures": ["figures", ".", "--out", str(tmp_path / "figures")],
    }.get(command, [command, "."])
    assert call(words) == 0
    assert os.listdir(ran) == []


@pytest.mark.parametrize(
    "text",
    [
        '!!python/object/apply:os.system ["touch {ran}/yaml"]',
        '!!python/object/new:subprocess.Popen [["touch", "{ran}/yaml"]]',
        '!!python/name:os.system ""',
        '!!python/module:os ""',
    ],
)
@pytest.mark.parametrize("name", ["config.yaml", "provenance.yaml"])
def test_tags_of_python_in_its_settings_make_nothing(honest, tmp_path, capsys, name, text):
    ran = tmp_path / "ran"
    ran.mkdir()
    shutil.copytree(honest, tmp_path / "all")
    file = tmp_path / "all" / "run" / name
    file.write_text(f"planted: {text.format(ran=ran)}\n" + (file.read_text() if file.exists() else ""))
    status = call(["score", str(tmp_path / "all" / "run"), "--out", str(tmp_path / "new")])
    assert os.listdir(ran) == []
    assert status == 1 or name != "config.yaml", capsys.readouterr().err


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.eval", "subprocess.Popen", "$import os; os.system('touch x')", "pickle.loads"],
)
def test_targets_in_a_runs_settings_are_no_names_of_code(honest, tmp_path, monkeypatch, capsys, target):
    shutil.copytree(honest, tmp_path / "all")
    run = tmp_path / "all" / "run"
    edited(run, network___target_=target, network__args=["touch x"])
    monkeypatch.chdir(tmp_path)
    assert call(["score", str(run), "--out", str(tmp_path / "new")]) == 1
    assert "_target_" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_methods_and_forms_are_words_of_closed_sets(honest, tmp_path, capsys):
    for number, change in enumerate(
        ({"method": "os"}, {"method": "../../x"}, {"network__form": "os.system"})
    ):
        shutil.copytree(honest, tmp_path / f"all{number}")
        run = tmp_path / f"all{number}" / "run"
        edited(run, **change)
        assert call(["score", str(run), "--out", str(tmp_path / "new")]) == 1
        assert "config.yaml" in capsys.readouterr().err


def zarr_header(array, dtype="<f4", filters=None, compressor=None):
    """A Zarr array of 4 x 8 in one chunk that is not there yet."""
    array.mkdir()
    shape = {"shape": [4, 8], "chunks": [4, 8], "dtype": dtype, "fill_value": None, "order": "C"}
    how = {"filters": filters, "compressor": compressor}
    (array / ".zarray").write_text(json.dumps({"zarr_format": 2, **shape, **how}))
    return array


@pytest.mark.parametrize(
    ("filters", "compressor", "dtype"),
    [
        ([{"id": "pickle"}], None, "<f4"),
        (None, {"id": "pickle"}, "<f4"),
        ([{"id": "pickle"}], None, "|O"),
        ([{"id": "vlen-utf8"}, {"id": "pickle"}], None, "|O"),
        ([{"id": "vlen-utf8"}], {"id": "pickle"}, "|O"),
        ([{"id": "delta", "dtype": "<f4"}, {"id": "pickle"}], None, "<f4"),
    ],
)
def test_codecs_of_zarr_that_unpickle_are_refused(tmp_path, capsys, filters, compressor, dtype):
    pytest.importorskip("zarr", reason="Zarr stores are read by an extra")
    array = zarr_header(tmp_path / "x.zarr", dtype, filters, compressor)
    (array / "0.0").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    assert call(["embeddings", str(array), "--out", str(tmp_path / "store")]) == 1
    assert "pickle" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_a_pickled_array_that_a_consolidated_header_calls_attributes_is_refused(tmp_path, capsys):
    pytest.importorskip("zarr", reason="Zarr stores are read by an extra")
    of_array = {
        "node_type": "array",
        "codecs": [{"name": "numcodecs.pickle"}],
        "attributes": {"codecs": ["pickle is my word"]},
    }
    header = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"filters": [{"id": "pickle, says its owner"}]},
    }
    (tmp_path / "x.zarr").mkdir()
    for names, refused in (
        ({"attributes": of_array, "node_type": of_array}, True),
        ({"x": {**of_array, "codecs": []}}, False),
    ):
        content = {**header, "consolidated_metadata": {"kind": "inline", "metadata": names}}
        (tmp_path / "x.zarr" / "zarr.json").write_text(json.dumps(content))
        assert call(["embeddings", str(tmp_path / "x.zarr"), "--out", str(tmp_path / "store")]) == 1
        assert ("pickles are never loaded" in capsys.readouterr().err) == refused


def test_a_chunk_of_zarr_that_is_a_link_out_of_it_is_refused(tmp_path, capsys):
    pytest.importorskip("zarr", reason="Zarr stores are read by an extra")
    (tmp_path / "secret").write_bytes(np.full((4, 8), 7, np.float32).tobytes())
    array = zarr_header(tmp_path / "x.zarr")
    (array / "0.0").symlink_to(tmp_path / "secret")
    assert call(["embeddings", str(array), "--out", str(tmp_path / "store")]) == 1
    assert "a link" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("../secret", "only files beside it"), ("/etc/hostname", "only files beside it"), ("link.bin", "only files beside it"),
        ("none.bin", "not beside it"), ("beside.bin", None),
    ],
)  # fmt: skip
def test_weights_of_an_encoder_lie_beside_it_and_are_part_of_its_digest(tmp_path, place, told):

    (tmp_path / "secret").write_bytes(np.ones(768 * 4, np.float32).tobytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "beside.bin").write_bytes((tmp_path / "secret").read_bytes())
    weights = helper.make_tensor("w", TensorProto.FLOAT, [768, 4], bytes(768 * 4 * 4), raw=True)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", str(768 * 4 * 4))):
        weights.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "models" / "encoder.onnx"
    path.write_bytes(model.SerializeToString())
    (tmp_path / "models" / "link.bin").symlink_to(tmp_path / "secret")
    if told is not None:
        with pytest.raises(UnknownEncoder, match=told):
            loaded(path, **STATED)
        return
    before = loaded(path, **STATED).digest
    (path.parent / place).write_bytes(bytes(768 * 4 * 4))
    assert loaded(path, **STATED).digest != before


def test_formulas_are_text_in_every_table_that_a_spreadsheet_opens(tmp_path):
    """The reader's own cells: what begins a formula stands behind an apostrophe."""
    names = ["=HYPERLINK(1)", "+1", "-1+2", "@SUM(1)", "\tx", "\rx"]
    store = make_store(tmp_path).root
    table = pd.read_parquet(store / "manifest.parquet")
    table["group"] = [names[number % len(names)] for number in range(len(table))]
    table.to_parquet(store / "manifest.parquet")
    made("train", store, "--out", tmp_path / "run", *WORDS)
    made("score", tmp_path / "run")
    made("evaluate", tmp_path / "run")
    found = [path for path in (tmp_path / "run").rglob("*.csv")]
    assert found
    for path in found:
        cells = pd.read_csv(io.StringIO(path.read_text()), dtype=str).stack()
        begun = cells[cells.str.match(r"[=@\t\r]|[+-](?![\d.])")]
        assert begun.empty, f"{path}: {begun.iloc[0]}"
