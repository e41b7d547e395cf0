"""Every method through the stages as a user drives them; going on after a stop in a method that computes buffers."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from esad.models.methods.registry import METHODS
from esad.models.training.fit import TrainingStep
from esad.pipeline.cli.app import app, call
from esad.pipeline.report import report
from esad.pipeline.settings.budgets import BUDGETS, PUBLISHED_FOR
from esad.pipeline.settings.config import RunSettings, resolve
from esad.pipeline.settings.presets import PAPER_SETS, PRESETS, preset_settings, run_settings
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store
from tests.models.small_data import tiny
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


CASES = [
    (kind, name) for name, method in METHODS.items() if name not in {"esad", "cae"}
    for kind in ("table", "images") if kind == "images" or not method.pictures_only
]  # fmt: skip


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_a_method_is_one_setting_of_train_and_the_other_stages_do_not_mind(folder, kind, method):
    run = folder / f"{kind}-{method}"
    own = [] if kind == "table" else SMALL
    own += ["--set", f"{method}.input=hybrid"] if method in HYBRID and kind == "images" else []
    own += [word for name, value in tiny(method).items() for word in ("--set", f"{name}={json.dumps(value)}")]
    esad("train", folder / kind, "--out", run, "--set", f"method={method}", *SHORT, *own)
    esad("score", run, "--overlays", "worst:1")
    table = pd.read_parquet(run / "scores" / kind / "scores.parquet")
    assert len(table) == 120
    assert np.isfinite(table[["score", "norm", "standardised"]]).all(axis=None)
    weights = load_file(run / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.pictures_only])
def test_a_method_of_pictures_alone_refuses_a_table_as_wrong_use(folder, capsys, method):
    run = folder / f"refused-{method}"
    assert call(["train", str(folder / "table"), "--out", str(run), "--set", f"method={method}"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"method {method} is for pictures, this store has rows of a table" in said
    assert not run.exists()


@pytest.mark.parametrize(
    ("preset", "column"), [(None, 1), ("cpu", 1), ("demo", 1), ("paper", 0), ("paper-nih-ap", 0)]
)
@pytest.mark.parametrize("method", BUDGETS)
def test_a_method_with_a_training_of_its_own_has_it_as_published_and_for_a_cpu(method, preset, column):
    name = method.partition(",")[0]
    settings = resolve(RunSettings, *preset_settings("radiographs", preset, method), {"method": name})
    chosen = {**BUDGETS[method][column], **({"train.steps": 300} if preset == "demo" else {})}
    chosen |= PUBLISHED_FOR.get((method, preset), {})
    if "train.steps" in chosen and chosen["train.steps"] is not None:
        chosen["train.epochs"] = None
    for dotted, value in chosen.items():
        assert reduce(getattr, dotted.split("."), settings) == value, dotted
    assert settings.train.steps or settings.train.epochs
    assert settings.score.kind == "eq9"


def test_the_two_games_of_anogan_have_each_its_own_training(folder):
    store = Store(folder / "images")
    for stated, beta1 in (
        ({}, 0.5),
        ({"anogan": {"search": "encoder"}}, 0.0),
        ({"anogan.search": "encoder"}, 0.0),
    ):
        assert run_settings(store, None, [{"method": "anogan", **stated}]).train.beta1 == beta1


def test_a_run_whose_backbone_is_gone_says_so_when_it_scores(folder, tmp_path):
    own = tiny("dif")
    weights = tmp_path / "weights.pth"
    weights.write_bytes(Path(str(own["backbone.weights"])).read_bytes())
    train(
        folder / "images",
        tmp_path / "run",
        None,
        [{"method": "dif", **own, "backbone.weights": str(weights)}],
    )
    weights.unlink()
    result = CliRunner().invoke(app, ["score", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert isinstance(result.exception, EsadError)
    assert "weights.pth: cannot be read" in str(result.exception)


def test_overlays_have_the_panels_that_a_method_has(folder):
    """Neither reconstructs; what contributes is told of both, of a forest by taking pixels away where it has no gradient."""
    for method in ("deep_sad", "isolation_forest"):
        run = folder / f"panels-{method}"
        own = ["--set", f"method={method}", "--set", "isolation_forest.trees=10"]
        esad("train", folder / "images", "--out", run, *own, *SHORT, *SMALL)
        esad("score", run, "--overlays", "worst:1")
        strip = next((run / "scores" / "images" / "overlays").glob("*.png"))
        table = pd.read_parquet(run / "scores" / "images" / "scores.parquet")
        assert table["hot_x"].notna().any()
        assert table["error_x"].isna().all()
        page = report([run / "scores" / "images"]).out.read_text()
        assert "contribution to the score" in page
        assert Image.open(strip).size[0] == 2 * 256 + 8


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


@pytest.mark.parametrize(("method", "stop"), [("ganomaly", 5), ("p_kdgan", 9), ("adgan", 3)])
def test_players_go_on_from_a_checkpoint_to_the_same_bits(folder, monkeypatch, method, stop):
    """Optimisers of all players are in the checkpoint; P-KDGAN stops inside its second phase."""
    quick = {**QUICK, **tiny(method), "method": method, "checkpoint_seconds": 0, "train.steps": 6}
    whole, run = folder / f"whole-{method}", folder / f"stopped-{method}"
    train(folder / "images", whole, None, [quick])
    step, done = TrainingStep.__call__, []

    def stops(self, number):
        if number == stop and stop not in done:
            done.append(stop)
            raise KeyboardInterrupt
        done.append(number)
        return step(self, number)

    monkeypatch.setattr(TrainingStep, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        train(folder / "images", run, None, [quick])
    train(folder / "images", run, None, [quick])
    assert done.count(stop) == 2
    assert done.count(0) == 1
    ours, theirs = (load_file(path / "model.safetensors") for path in (run, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"data.labelled": "ratio", "data.gamma_l": 0.0}, True),
        ({"data.labelled": "ratio", "data.gamma_l": 0.0, "loss.score_lambda1": None}, False),
        ({}, False),
    ],
)
def test_a_norm_that_no_labelled_anomaly_teaches_is_warned_of(folder, tmp_path, capsys, changes, warned):
    settings = {**QUICK, "loss.score_lambda1": 1.0, "score.kind": "eq9", "train.steps": 2, **changes}
    train(folder / "images", tmp_path / "run", None, [settings])
    assert ("no training anomaly is labelled" in capsys.readouterr().err) is warned
