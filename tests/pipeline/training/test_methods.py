"""Every method through the stages as a user drives them; going on after a stop in a method that computes buffers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from esad.models.methods.registry import METHODS
from esad.models.training.fit import TrainingStep
from esad.pipeline.cli.app import app
from esad.pipeline.report import report
from esad.pipeline.settings.presets import PAPER_SETS, PRESETS, preset_settings
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store

SHORT = ["--set", "train.steps=6", "--set", "train.warmup.steps=4", "--set", "train.batch_size=16"]
SMALL = ["--set", "network.width=0.0625"]
HYBRID = ["oc_svm", "isolation_forest", "ssad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table and pictures."""
    out = tmp_path_factory.mktemp("methods")
    make_store(out, "table", "table")
    make_store(out, "images", "images")
    return out


def esad(*words: object) -> dict:
    """What a command prints with --json; it must succeed."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("kind", ["table", "images"])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in {"esad", "cae"}])
def test_a_method_is_one_setting_of_train_and_the_other_stages_do_not_mind(folder, kind, method):
    run = folder / f"{kind}-{method}"
    own = [] if kind == "table" else SMALL
    own += ["--set", f"{method}.input=hybrid"] if method in HYBRID and kind == "images" else []
    esad("train", folder / kind, "--out", run, "--set", f"method={method}", *SHORT, *own)
    esad("score", run, "--overlays", "worst:1")
    table = pd.read_parquet(run / "scores" / kind / "scores.parquet")
    assert len(table) == 120
    assert np.isfinite(table[["score", "norm", "standardised"]]).all(axis=None)
    weights = load_file(run / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_overlays_have_the_panels_that_a_method_has(folder):
    """A forest has neither a reconstruction nor a gradient, Deep SAD a gradient."""
    widths = {}
    for method in ("deep_sad", "isolation_forest"):
        run = folder / f"panels-{method}"
        own = ["--set", f"method={method}", "--set", "isolation_forest.trees=10"]
        esad("train", folder / "images", "--out", run, *own, *SHORT, *SMALL)
        esad("score", run, "--overlays", "worst:1")
        strip = next((run / "scores" / "images" / "overlays").glob("*.png"))
        widths[method] = Image.open(strip).size[0]
        table = pd.read_parquet(run / "scores" / "images" / "scores.parquet")
        assert table["hot_x"].notna().any() == (method == "deep_sad")
        assert table["error_x"].isna().all()
        page = report([run / "scores" / "images"]).out.read_text()
        assert ("contribution to the score" in page) == (method == "deep_sad")
    assert widths == {"deep_sad": 2 * 256 + 8, "isolation_forest": 256}


def test_settings_follow_the_method_and_a_person_still_has_the_last_word(folder):
    chosen = [{"method": "deep_sad", "deep_sad.eta": 2.0, "train.epochs": 0.5, "train.warmup.epochs": 1}]
    run = folder / "settings"
    train(folder / "table", run, None, chosen)
    import yaml

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["network"]["bias"], config["network"]["width"]) == (False, 1.0)
    assert config["train"]["batches"] == "joint"
    assert (config["train"]["epochs"], config["deep_sad"]["eta"]) == (0.5, 2.0)
    with pytest.raises(UsageError, match="method"):
        train(folder / "table", folder / "none", None, [{"method": "deepsad"}])


def test_what_a_method_cannot_do_is_said_with_the_setting_or_the_lack(folder):
    with pytest.raises(EsadError, match=r"table: ssad\.kappa = 1000 is too much .* lower it"):
        train(folder / "table", folder / "kappa", None, [{"method": "ssad", "ssad.kappa": 1000}])
    unlabelled = {"method": "supervised", "data.labelled": "ratio", "data.gamma_l": 0}
    with pytest.raises(EsadError, match=r"table: no labelled anomaly .* supervised"):
        train(folder / "table", folder / "none", None, [unlabelled])


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_every_preset_has_settings_for_the_other_methods_too(preset):
    from esad.pipeline.settings.config import RunSettings, resolve

    kinds, _ = PAPER_SETS.get(preset, ({"table", "radiographs"}, {}))
    for kind in kinds:
        settings = resolve(RunSettings, *preset_settings(kind, preset, "deep_sad"), {"method": "deep_sad"})
        assert settings.train.steps or settings.train.epochs
        assert settings.train.warmup.steps or settings.train.warmup.epochs
        assert (settings.train.optimiser, settings.train.batches) == ("adam", "joint")
        assert settings.score.kind == "eq9"


@pytest.mark.parametrize(("kind", "stop"), [("table", 4), ("table", 9), ("images", 4)])
def test_deep_sad_goes_on_to_the_same_bits_from_before_and_after_its_centre(folder, monkeypatch, kind, stop):
    """4 steps of pre-training and 8 with the centre, which a run that goes on inside these must not compute anew."""
    from esad.models.methods.deep_sad import DeepSadMethod

    quick = {**(QUICK_TABLE if kind == "table" else QUICK), "method": "deep_sad", "checkpoint_seconds": 0}
    quick |= {"train.steps": 8, "train.warmup.steps": 4}
    whole, run = folder / f"whole-{kind}", folder / f"stopped-{kind}-{stop}"
    train(folder / kind, whole, None, [quick])
    step, begin, begun = TrainingStep.__call__, DeepSadMethod.begin, []

    def stops(self, number):
        if number == stop:
            raise KeyboardInterrupt
        return step(self, number)

    def counts(self, phase, *pools):
        begun.append(phase)
        begin(self, phase, *pools)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", stops)
        with pytest.raises(KeyboardInterrupt):
            train(folder / kind, run, None, [quick])
    monkeypatch.setattr(DeepSadMethod, "begin", counts)
    train(folder / kind, run, None, [quick])
    assert begun == (["train"] if stop == 4 else [])
    ours, theirs = (load_file(path / "model.safetensors") for path in (run, whole))
    assert np.abs(ours["centre"]).max() > 0
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
