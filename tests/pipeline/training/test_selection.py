"""What the validation part may decide: off by default; the best weights; an end; the same after a kill and in processes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from ignite.engine import Events
from safetensors.torch import load_file

import esad
import esad.pipeline.monitoring.watch
from esad.pipeline.monitoring.validation import ValidationWatch
from esad.pipeline.stage.errors import Stopped, UsageError
from tests.pipeline.stores import QUICK_TABLE, make_store

CURVE = [0.6, 0.9, 0.7, 0.9, 0.8, 0.85, 0.5, 0.5]
"""Validation AUC of the reports, after 10, 20, … steps."""
SETTINGS = {
    **QUICK_TABLE, "data.validation_share": 0.4, "train.warmup.steps": 0, "train.steps": 80, "checkpoint_seconds": 1000,
}  # fmt: skip


class WeightsAt:
    """Keeps the weights after given steps; stops the engine after `last`."""

    def __init__(self, *steps, last=None):
        self.wanted, self.last, self.found = set(steps), last, {}

    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.look)

    def look(self, engine):
        step = engine.state.iteration
        if step in self.wanted:
            self.found[step] = {name: value.clone() for name, value in engine.network.state_dict().items()}
        if step == self.last:
            engine.terminate()


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store whose validation figures go along CURVE, a report every ten steps."""
    monkeypatch.setattr(esad.pipeline.monitoring.watch, "_interval", lambda step, number: 10)
    original = ValidationWatch._made

    def made(self):
        evaluator = original(self)

        def figure():
            step = self.reports = getattr(self, "reports", self.first_report) + 1
            evaluator.state.metrics.update(validation_auc=CURVE[step - 1], validation_ap=1 - CURVE[step - 1])

        evaluator.add_event_handler(Events.EPOCH_COMPLETED, figure)
        return evaluator

    monkeypatch.setattr(ValidationWatch, "first_report", 0, raising=False)
    monkeypatch.setattr(ValidationWatch, "_made", made)
    return make_store(tmp_path)


def weights(run):
    return load_file(run.root / "model.safetensors")


def equal(ours, theirs):
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def selected(run):
    return json.loads((run.root / "provenance.json").read_text()).get("selection")


def test_by_default_the_last_weights_are_kept_and_nothing_ends(store, tmp_path):
    seen = WeightsAt(80)
    run = esad.train(store, tmp_path / "run", settings=SETTINGS, handlers=[seen])
    assert equal(weights(run), seen.found[80])
    assert selected(run) is None


def test_the_first_of_the_best_weights_are_kept(store, tmp_path, capsys):
    seen = WeightsAt(20, 80)
    run = esad.train(
        store, tmp_path / "run", settings={**SETTINGS, "selection.weights": "best"}, handlers=[seen]
    )
    assert equal(weights(run), seen.found[20])
    assert not equal(weights(run), seen.found[80])
    assert selected(run) == {
        "by": "auc", "weights_of_step": 20, "best_step": 20, "best": 0.9, "ended_at": None,
    }  # fmt: skip
    assert "Keeping the weights of step 20: validation AUC 0.900" in capsys.readouterr().err


def test_another_figure_may_be_chosen_by(store, tmp_path):
    settings = {**SETTINGS, "selection.weights": "best", "selection.by": "average_precision"}
    run = esad.train(store, tmp_path / "run", settings=settings)
    assert selected(run)["weights_of_step"] == 70


@pytest.mark.parametrize(("patience", "gain", "end"), [(2, 0.0, 40), (4, 0.0, 60), (1, 0.4, 20)])
def test_training_ends_after_reports_without_a_gain(store, tmp_path, patience, gain, end, capsys):
    seen = WeightsAt(end)
    settings = {**SETTINGS, "selection.early_stop": patience, "selection.min_gain": gain}
    run = esad.train(store, tmp_path / "run", settings=settings, handlers=[seen])
    assert equal(weights(run), seen.found[end])
    assert selected(run)["ended_at"] == end
    assert pd.read_csv(run.root / "history.csv")["step"].max() == end - 1
    told = capsys.readouterr().err
    assert f"Training ends after step {end} of 80: no gain" in told
    assert "EarlyStopping" not in told  # ignite's own word for it


@pytest.mark.parametrize("last", [5, 20, 35])
def test_a_training_that_was_stopped_decides_as_an_undisturbed_one(store, tmp_path, last, monkeypatch):
    settings = {**SETTINGS, "selection.early_stop": 3, "selection.weights": "best"}
    whole = esad.train(store, tmp_path / "whole", settings=settings)
    with pytest.raises(Stopped):
        esad.train(store, tmp_path / "run", settings=settings, handlers=[WeightsAt(last=last)])
    monkeypatch.setattr(ValidationWatch, "first_report", last // 10)
    run = esad.train(store, tmp_path / "run", settings=settings)
    assert selected(run) == selected(whole)
    assert selected(run)["ended_at"] == 50
    assert run.digest == whole.digest


def test_a_run_killed_after_its_training_ended_early_trains_no_further(store, tmp_path, monkeypatch):
    import esad.pipeline.training.references

    settings = {**SETTINGS, "selection.early_stop": 2, "selection.weights": "best"}
    whole = esad.train(store, tmp_path / "whole", settings=settings)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(esad.pipeline.training.references, "write_references", killed)
        with pytest.raises(KeyboardInterrupt):
            esad.train(store, tmp_path / "run", settings=settings)
    seen = WeightsAt(*range(81))
    run = esad.train(store, tmp_path / "run", settings=settings, handlers=[seen])
    assert seen.found == {}
    assert run.digest == whole.digest
    assert selected(run) == selected(whole)


@pytest.mark.parametrize("settings", [{"selection.early_stop": 2}, {"selection.weights": "best"}])
def test_without_anything_to_choose_by_it_is_refused(tmp_path, settings):
    make_store(tmp_path)
    with pytest.raises(UsageError, match=r"0 known anomalies.*data\.validation_share"):
        esad.train(
            tmp_path / "store",
            tmp_path / "run",
            settings={**SETTINGS, "data.validation_share": 0, **settings},
        )


def test_a_method_fitted_at_once_has_nothing_to_choose_from(tmp_path):
    make_store(tmp_path)
    settings = {"method": "isolation_forest", "data.validation_share": 0.4, "selection.weights": "best"}
    with pytest.raises(UsageError, match="fitted at once"):
        esad.train(tmp_path / "store", tmp_path / "run", settings=settings)
