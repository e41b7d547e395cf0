"""Following a training in MLflow: what is logged, going on in the same MLflow run, a server that fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

import esad.pipeline.monitoring.history
from esad.pipeline.cli.app import call
from esad.pipeline.monitoring.tracking import Tracker, check_address, metric_name, without_password
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'esad[mlflow]'")


def options(settings: dict) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def runs_at(uri: str) -> list:
    client = mlflow.MlflowClient(tracking_uri=uri)
    return client.search_runs([client.get_experiment_by_name("esad").experiment_id])


def logged(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    points = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(run_id, name)
    return [(point.step, point.value) for point in points]


def stated(run, name: str) -> list[tuple[int, float]]:
    """The same out of the run's own history."""
    table = pd.read_csv(run / "history.csv")
    table = table[table["term"] == name]
    return [(step + 1, value) for step, value in zip(table["step"], table["value"], strict=True)]


def check(uri: str, run, names=("loss", "z_rank", "reconstruction_unlabelled")) -> None:
    found = runs_at(uri)
    assert [each.info.status for each in found] == ["FINISHED"]
    for name in names:
        assert [step for step, _ in logged(uri, found[0].info.run_id, name)] == [
            s for s, _ in stated(run, name)
        ]
        assert [value for _, value in logged(uri, found[0].info.run_id, name)] == pytest.approx(
            [value for _, value in stated(run, name)]
        )
    data = found[0].data
    assert data.params["train.steps"] == "60"
    assert data.params["store.kind"] == "table"
    provenance = json.loads((run / "provenance.json").read_text())
    assert data.tags["git_revision"] == provenance["git_revision"]
    assert data.metrics["validation.auc"] == provenance["validation"]["auc"]


def test_a_file_store_gets_settings_terms_by_step_and_provenance(tmp_path):
    make_store(tmp_path)
    uri = (tmp_path / "mlruns").as_uri()
    command = ["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--mlflow", uri]
    assert call([*command, *options(QUICK_TABLE)]) == 0
    check(uri, tmp_path / "run")
    assert call([*command, *options(QUICK_TABLE)]) == 0  # finished: left alone
    assert len(runs_at(uri)) == 1


@pytest.mark.parametrize("sent", [True, False])
def test_a_stopped_training_goes_on_in_the_same_mlflow_run_without_a_gap_or_a_repeat(
    tmp_path, monkeypatch, sent
):
    make_store(tmp_path, "images")
    uri = (tmp_path / "mlruns").as_uri()
    settings = {**QUICK, "train.steps": 30, "train.warmup.steps": 10, "checkpoint_seconds": 0}
    original = esad.pipeline.monitoring.history.History.add

    def stops(self, number, *more):
        original(self, number, *more)
        if number == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(esad.pipeline.monitoring.history.History, "add", stops)
        if not sent:  # as after kill -9
            patch.setattr(Tracker, "flush", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "store", tmp_path / "run", None, [settings], mlflow=uri)
    assert [run.info.status for run in runs_at(uri)] == ["KILLED"]
    before = runs_at(uri)[0].info.run_id
    train(tmp_path / "store", tmp_path / "run", None, [settings], mlflow=uri)
    after = runs_at(uri)
    assert [run.info.run_id for run in after] == [before]
    assert [step for step, _ in logged(uri, before, "loss")] == [
        s for s, _ in stated(tmp_path / "run", "loss")
    ]


def test_a_training_that_starts_anew_gets_a_new_mlflow_run(tmp_path):
    make_store(tmp_path, "images")
    uri = (tmp_path / "mlruns").as_uri()
    wild = {**QUICK, "train.optimiser": "sgd", "train.learning_rate": 1e30, "train.restarts": 1}
    with pytest.raises(EsadError, match="not finite"):
        train(tmp_path / "store", tmp_path / "run", None, [wild], mlflow=uri)
    assert [run.info.status for run in runs_at(uri)] == ["FAILED", "FAILED"]


def test_an_address_where_nothing_answers_is_an_error_before_training(tmp_path, capsys):
    make_store(tmp_path)
    command = ["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), *options(QUICK_TABLE)]
    assert call([*command, "--mlflow", "http://user:secret@127.0.0.1:9"]) == 1
    error = capsys.readouterr().err
    assert "--mlflow http://127.0.0.1:9: cannot be used" in error
    assert "secret" not in error


@pytest.mark.parametrize(
    "word",
    ["foo", "", "mlruns/here", "localhost:5000", "http://", "http:///x", "http://host:port", "ftp://host", "sqlite://a",
     "sqlite:///", "file:", "databricks", "http://[::1", "C:\\mlruns"],
)  # fmt: skip
def test_a_word_that_is_no_address_is_refused_before_anything_is_read(tmp_path, capsys, word):
    assert call(["train", str(tmp_path), "--out", str(tmp_path / "run"), "--mlflow", word]) == 2
    error = capsys.readouterr().err
    assert (
        f"--mlflow {word!r}: expected http://HOST:PORT, https://HOST:PORT, file:FOLDER or sqlite:///FILE."
        in error
    )
    assert not (tmp_path / "run").exists()
    assert not list(Path.cwd().glob("foo"))


@pytest.mark.parametrize(
    "word",
    ["http://127.0.0.1:5000", "https://user:secret@mlflow.example.org/base", "file:mlruns", "file:///tmp/mlruns", "sqlite:///m.db",
     "sqlite:////tmp/m.db", "HTTP://host:1"],
)  # fmt: skip
def test_the_forms_that_the_manual_names_are_addresses(word):
    check_address(word)


def test_a_damaged_note_of_the_mlflow_run_costs_the_note(tmp_path, capsys):
    make_store(tmp_path)
    uri = (tmp_path / "mlruns").as_uri()
    command = ["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--mlflow", uri]
    assert call([*command, *options(QUICK_TABLE)]) == 0
    (tmp_path / "run" / "mlflow.json").write_text("{}")
    (tmp_path / "run" / "model.safetensors").unlink()
    assert call([*command, *options(QUICK_TABLE)]) == 0
    assert "mlflow.json: is damaged; a new MLflow run takes over" in capsys.readouterr().err


def test_a_server_that_fails_while_a_model_trains_costs_the_metrics_alone(tmp_path, monkeypatch, capsys):
    from mlflow.exceptions import MlflowException

    make_store(tmp_path)

    def fails(*_given, **_named):
        raise MlflowException("gone")

    original = Tracker.log

    def after_the_start(self, *given, **named):
        monkeypatch.setattr(self._client, "log_batch", fails)
        original(self, *given, **named)

    monkeypatch.setattr(Tracker, "log", after_the_start)
    train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE], mlflow=(tmp_path / "mlruns").as_uri())
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert capsys.readouterr().err.count("does not answer (gone)") == 1


def test_names_and_addresses_as_mlflow_and_people_may_see_them():
    assert metric_name("a loss: λ") == "a loss_ λ"
    assert without_password("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert without_password("file:/a/b") == "file:/a/b"


@pytest.mark.slow
def test_a_real_server_on_loopback_follows_a_training(tmp_path):
    make_store(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "art")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=5):
                    break
            except OSError:
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.5)
        train(tmp_path / "store", tmp_path / "run", None, [QUICK_TABLE], mlflow=uri)
        check(uri, tmp_path / "run")
        artifacts = mlflow.MlflowClient(tracking_uri=uri).list_artifacts(runs_at(uri)[0].info.run_id)
        assert {entry.path for entry in artifacts} == {"provenance.json"}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
