"""The curve of the validation part: the figures of the finished run at its end, for both kinds of score."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import esad
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store


def curve(run, name):
    history = pd.read_csv(run / "history.csv")
    return history[history["term"] == name].set_index("step")["value"]


@pytest.mark.parametrize(("kind", "score"), [("table", "eq9"), ("table", "standardised"), ("images", "eq9")])
def test_the_curve_ends_with_the_runs_own_figure(tmp_path, kind, score, capsys):
    make_store(tmp_path, kind)
    quick = QUICK_TABLE if kind == "table" else QUICK
    settings = {**quick, "data.validation_share": 0.4, "score.kind": score, "train.steps": 250}
    run = esad.train(tmp_path / "store", tmp_path / "run", settings=settings)
    figures = json.loads((run.root / "provenance.json").read_text())["validation"]
    found = curve(run.root, "validation_auc")
    assert len(found) >= 2
    assert found.iloc[-1] == pytest.approx(figures["auc"], abs=1e-6)
    assert found.between(0, 1).all()
    assert curve(run.root, "validation_ap").between(0, 1).all()
    assert (
        pd.read_csv(run.root / "history.csv").query("phase == 'warmup'")["term"] != "validation_auc"
    ).all()
    events = EventAccumulator(str(run.root / "log" / "events")).Reload()
    shown = {event.step - 1: event.value for event in events.Scalars("validation_auc")}
    assert np.allclose([shown[step] for step in found.index], found)
    assert "validation AUC / AP" in capsys.readouterr().err


def test_without_labelled_anomalies_in_it_there_is_no_curve(tmp_path):
    make_store(tmp_path, "table")
    run = esad.train(
        tmp_path / "store", tmp_path / "run", settings={**QUICK_TABLE, "data.validation_share": 0}
    )
    assert curve(run.root, "validation_auc").empty
