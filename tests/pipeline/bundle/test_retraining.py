"""An exported bundle trains, evaluates and is checked by MONAI's own commands, and comes to what `esad` itself comes to."""

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

from esad.pipeline.cli.app import call
from esad.pipeline.stage.errors import EsadError
from tests import ROOT
from tests.forks import as_torchrun, wait
from tests.pipeline.bundle.folders import SET, assert_same, run_bundle, run_of, weights, write_pictures

DATA = "pictures"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures, the store and the run of them, and its bundle."""
    out = tmp_path_factory.mktemp("bundles")
    write_pictures(out / DATA)
    run_of(out / DATA, out)
    assert call(["export", str(out / "run"), "--to", "bundle", "--out", str(out / "bundle")]) == 0
    return out


@pytest.fixture
def bundle(folder, tmp_path):
    """A copy without weights: what is there afterwards was trained."""
    shutil.copytree(folder / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "models" / "model.pt").unlink()
    return tmp_path / "bundle"


def train(bundle: Path, folder: Path, **override):
    return run_bundle(bundle, "train.json", dataset_dir=str(folder / DATA), **override)


def test_the_command_of_monai_trains_the_weights_of_esad_train(folder, bundle):
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.json", "--bundle_root", ".",
        "--dataset_dir", str(folder / DATA),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=bundle, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(weights(bundle), weights(folder / "bundle"))
    assert "train_loss" in done.stdout + done.stderr
    assert "refused good/damaged.png" in done.stderr
    assert "1 masks" in done.stderr
    assert list((bundle / "training").glob("events.*"))


def test_the_trained_bundle_has_the_components_that_monai_asks_for(folder, bundle):
    from monai.bundle import ConfigWorkflow
    from monai.data import Dataset
    from monai.engines import Trainer

    for names in (["train.json"], ["train.json", "evaluate.json"]):
        files = [str(bundle / "configs" / name) for name in names]
        workflow = ConfigWorkflow(
            files, logging_file=False, bundle_root=str(bundle), dataset_dir=str(folder / DATA)
        )
        workflow.initialize()
        assert workflow.check_properties() == []
        assert isinstance(workflow.trainer, Trainer)
        assert isinstance(workflow.train_dataset, Dataset)
        assert isinstance(workflow.evaluator.data_loader.dataset, Dataset)
    test = {entry["item_id"] for entry in workflow.val_dataset.data}
    assert test.isdisjoint(entry["item_id"] for entry in workflow.train_dataset.data)


def test_overrides_take_effect(folder, bundle):
    base = weights(folder / "bundle")
    shorter = train(bundle, folder, **{"settings#train#steps": 7}).trainer.state
    assert shorter.iteration == 30 + 7
    short = weights(bundle)
    assert any(not torch.equal(base[name], short[name]) for name in base)
    train(bundle, folder, **{"settings#train#steps": 7, "seed": 4})
    assert any(not torch.equal(short[name], value) for name, value in weights(bundle).items())
    for override in ({"epochs": 2}, {"train#trainer#max_epochs": 2}):
        state = train(bundle, folder, **override).trainer.state
        assert (state.iteration, state.epoch) == (30 + 2 * state.epoch_length, state.max_epochs)
    train(bundle, folder, **{"train#handlers": [], "epochs": 1, "ckpt_dir": str(bundle / "other")})
    assert not (bundle / "other").exists()
    train(
        bundle,
        folder,
        **{"epochs": 1, "ckpt_dir": str(bundle / "other"), "settings#network#width": 0.125},
    )
    assert sum(map(torch.numel, weights_of(bundle / "other").values())) > sum(map(torch.numel, base.values()))


def weights_of(place: Path) -> dict[str, torch.Tensor]:
    return torch.load(place / "model.pt", weights_only=True)


def test_overridden_settings_train_what_esad_train_does_with_them(folder, bundle):
    more = [
        "--set=train.optimiser=adam",
        "--set=train.learning_rate=0.001",
        "--set=data.split_seed=9",
        "--set=score.kind=eq9",
    ]
    out = folder / "adam"
    assert call(["train", str(folder / "store"), "--out", str(out), *SET, *more]) == 0
    assert call(["export", str(out), "--to", "bundle"]) == 0
    train(
        bundle, folder, score="eq9",
        **{"settings#train#optimiser": "adam", "settings#train#learning_rate": 0.001, "data#split_seed": 9},
    )  # fmt: skip
    assert_same(weights(bundle), weights(out / "export" / "bundle"))


def test_validation_while_it_trains_changes_no_bit(folder, bundle, capfd):
    train(bundle, folder, val_interval=0)
    assert_same(weights(bundle), weights(folder / "bundle"))
    workflow = train(bundle, folder, val_interval=2)
    assert_same(weights(bundle), weights(folder / "bundle"))
    assert 0 <= workflow.evaluator.state.metrics["auc"] <= 1


def test_a_training_that_fails_leaves_the_weights_that_are_there(folder, bundle):
    shutil.copy(folder / "bundle" / "models" / "model.pt", bundle / "models")
    wild = {"settings#train#optimiser": "sgd", "settings#train#learning_rate": 1e30}
    with pytest.raises(RuntimeError) as failed:
        train(bundle, folder, **wild)
    cause = failed.value.__cause__
    assert isinstance(cause, EsadError)
    assert "not finite" in str(cause)
    assert_same(weights(bundle), weights(folder / "bundle"))


def test_a_run_that_started_anew_is_repeated_at_its_rate(folder, bundle, monkeypatch):
    """provenance.json says how often; the exported rate is that of the last start."""
    shutil.copytree(folder / "run", bundle.parent / "again", ignore=shutil.ignore_patterns("export"))
    path = bundle.parent / "again" / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "restarts": 2}))
    assert call(["export", str(bundle.parent / "again"), "--to", "bundle"]) == 0
    config = json.loads(
        (bundle.parent / "again" / "export" / "bundle" / "configs" / "train.json").read_text()
    )
    assert config["train"]["trainer"]["rate"] == 0.25


def in_two(command) -> list[int]:
    """`command` as torchrun starts it twice; how both ended."""
    return [wait(number) for number in as_torchrun(command)]


def test_two_processes_train_the_weights_of_esad_train_under_torchrun(folder, bundle):
    def ours():
        run_bundle(bundle, "train.json", "multi_gpu_train.json", dataset_dir=str(folder / DATA))

    def theirs():
        os._exit(call(["train", str(folder / "store"), "--out", str(folder / "two"), *SET]))

    assert in_two(ours) == [0, 0]
    assert in_two(theirs) == [0, 0]
    assert call(["export", str(folder / "two"), "--to", "bundle"]) == 0
    assert_same(weights(bundle), weights(folder / "two" / "export" / "bundle"))
    alone = weights(folder / "bundle")
    assert any(not torch.equal(alone[name], value) for name, value in weights(bundle).items())
    assert (
        len(list((bundle / "training").glob("events.*"))) == 2
    )  # of training and validation, by the first alone


def test_evaluation_gives_the_figures_of_esad_evaluate(folder):
    assert call(["score", str(folder / "run"), "--overlays", "none"]) == 0
    assert call(["evaluate", str(folder / "run")]) == 0
    scores = folder / "run" / "scores" / "store"
    items = json.loads((scores / "metrics.json").read_text())
    run_bundle(folder / "bundle", "train.json", "evaluate.json", dataset_dir=str(folder / DATA))
    found = figures(folder / "bundle" / "eval")
    assert found["auc"] == pytest.approx(items["auc"], abs=1e-9)
    assert found["average_precision"] == pytest.approx(items["average_precision"], abs=1e-9)
    assert 0.5 < found["auc"] < 1
    table = pd.read_csv(folder / "bundle" / "eval" / "scores.csv")
    assert len(table) == items["normal"] + items["anomaly"]


def figures(place: Path) -> dict[str, float]:
    lines = (line.split(",") for line in (place / "metrics.csv").read_text().split())
    return {name: float(value) for name, value in lines}


def test_a_folder_that_is_new_to_the_model_is_evaluated_whole(folder, tmp_path):
    write_pictures(tmp_path / "new", seed=5, normal=30, anomalies=20)
    call(["images", str(tmp_path / "new"), "--like", str(folder / "run"), "--out", str(tmp_path / "store")])
    assert (
        call(
            [
                "score",
                str(folder / "run"),
                str(tmp_path / "store"),
                "--out",
                str(tmp_path / "scores"),
                "--overlays",
                "none",
            ]
        )
        == 0
    )
    assert call(["evaluate", str(tmp_path / "scores")]) == 0
    items = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    run_bundle(
        folder / "bundle", "train.json", "evaluate.json", dataset_dir=str(tmp_path / "new"), part="all",
        output_dir=str(tmp_path / "eval"),
    )  # fmt: skip
    assert figures(tmp_path / "eval")["auc"] == pytest.approx(items["auc"], abs=1e-9)
    assert len(pd.read_csv(tmp_path / "eval" / "scores.csv")) == items["normal"] + items["anomaly"]


def test_a_trained_bundle_scores_by_inference_json(folder, bundle):
    train(bundle, folder)
    out = bundle / "scored"
    run_bundle(
        bundle,
        "inference.json",
        dataset_dir=str(folder / DATA / "bad"),
        output_dir=str(out),
        workflow_type="inference",
    )
    assert call(["score", str(folder / "run"), "--overlays", "none", "--out", str(folder / "again")]) == 0
    own = pd.read_parquet(folder / "again" / "scores.parquet")
    found = pd.read_csv(out / "scores.csv")
    names = found["file"].map(lambda path: Path(path).relative_to(folder / DATA).as_posix())
    by_source = own.set_index("source")["score"] if "source" in own else None
    assert by_source is not None
    np.testing.assert_allclose(found["score"], by_source.loc[names], rtol=1e-4)


def test_scoring_a_folder_that_is_not_there_fails(bundle):
    with pytest.raises(RuntimeError) as told:
        run_bundle(
            bundle,
            "inference.json",
            dataset_dir=str(bundle / "gone"),
            output_dir=str(bundle / "scored"),
            workflow_type="inference",
        )
    causes = [told.value]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    assert "gone: no such file or folder" in str(causes[-1])


def test_its_networks_are_as_the_metadata_say(folder):
    from monai.bundle.scripts import verify_net_in_out

    configs = folder / "bundle" / "configs"
    for name in ("inference.json", "train.json"):
        verify_net_in_out(
            "network_def",
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / name),
            device="cpu",
        )
