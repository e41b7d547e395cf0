"""Ingest on a real Dask cluster of two processes: equal bits, killed workers, a deadly unit, stop and restart."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.stage import cluster
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.store import Store
from tests.pipeline.array_jobs import at_once, deadly, held, ingest, lost_when_done, once_for_a_minute
from tests.pipeline.clusters import when
from tests.pipeline.test_tile import contents, stained, write_slide


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        np.save(folder / f"{number}.npy", np.full((3, 8, 8, 1), number, np.uint8))
    return folder


def test_slides_through_a_cluster_are_bit_equal(dask_cluster, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for number in range(2):
        write_slide(tmp_path / "in" / f"slide_{number}.tif", stained(1024, number))
    (tmp_path / "in" / "note.svs").write_text("no slide")
    monkeypatch.chdir(tmp_path)  # relative paths are of this folder, not of the workers'
    address = dask_cluster.scheduler_address
    assert call(["tile", "in", "--out", "there", "--scheduler", address]) == 3
    assert call(["tile", "in", "--out", "here", "--workers", "1"]) == 3
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert len(Store(tmp_path / "there").sources) == 3


def test_a_worker_killed_in_mid_work_costs_nothing(dask_cluster, archive, tmp_path):
    mark = tmp_path / "mark.json"
    killer = when(mark.exists, lambda: os.kill(int(mark.read_text()), signal.SIGKILL))
    outcome = ingest(
        archive, tmp_path / "there", partial(once_for_a_minute, mark), dask_cluster.scheduler_address
    )
    killer.join()
    assert outcome.refused == 0
    ingest(archive, tmp_path / "here")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_worker_killed_after_its_work_and_before_we_look_costs_nothing(
    dask_cluster, archive, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 2)
    mark = tmp_path / "mark.json"
    outcome = ingest(
        archive, tmp_path / "there", partial(lost_when_done, mark), dask_cluster.scheduler_address
    )
    assert mark.with_suffix(".killed").exists()
    assert outcome.refused == 0
    ingest(archive, tmp_path / "here")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_unit_that_kills_its_workers_is_refused_and_the_others_go_on(dask_cluster, archive, tmp_path):
    dask_cluster.scheduler.allowed_failures = 0
    try:
        outcome = ingest(archive, tmp_path / "out", deadly, dask_cluster.scheduler_address)
    finally:
        dask_cluster.scheduler.allowed_failures = 3
    assert (outcome.refused, outcome.summary["items"]) == (1, 15)
    refused = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert refused["source"].tolist() == ["2.npy"]
    assert refused["reason"][0].startswith("1 workers died while they worked on it")
    outcome = ingest(archive, tmp_path / "out", at_once, dask_cluster.scheduler_address)
    assert (outcome.refused, outcome.summary["items"]) == (0, 18)
    assert Store(tmp_path / "out").sources["attempts"].tolist() == [1, 1, 2, 1, 1, 1]


def test_the_same_goes_for_processes_of_this_machine(archive, tmp_path):
    for number in (0, 3, 4, 5):
        (archive / f"{number}.npy").unlink()
    outcome = ingest(archive, tmp_path / "out", deadly, workers=2)
    assert (outcome.refused, outcome.summary["items"]) == (1, 3)
    refused = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert refused["source"].tolist() == ["2.npy"]
    assert refused["reason"][0].startswith("the process that worked on it died")


def test_a_stop_and_a_restart_end_in_the_same_bits(dask_cluster, archive, tmp_path, monkeypatch):
    hold, out = tmp_path / "hold", tmp_path / "there"
    hold.touch()
    before = partial(held, hold)
    stopper = when(lambda: list(out.glob("parts/sources-*")), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        ingest(archive, out, before, dask_cluster.scheduler_address)
    stopper.join()
    assert not (out / "store.json").exists()
    waiting = threading.Event()
    monkeypatch.setattr(
        cluster, "say", lambda message: waiting.set() if "an earlier call" in message else None
    )
    letting_go = when(waiting.is_set, hold.unlink)
    ingest(archive, out, before, dask_cluster.scheduler_address)
    letting_go.join()
    assert waiting.is_set()
    ingest(archive, tmp_path / "here")
    assert contents(out) == contents(tmp_path / "here")


def test_where_no_scheduler_is_and_two_engines_at_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text("a\n1\n")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    command = ["tables", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out"), "--scheduler"]
    assert call([*command, "tcp://127.0.0.1:9"]) == 2
    assert "tcp://127.0.0.1:9: no Dask scheduler answers there" in capsys.readouterr().err
    assert call([*command, "tcp://127.0.0.1:9", "--workers", "2"]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_fault_of_the_stage_is_not_taken_for_the_workers(dask_cluster, archive, tmp_path):
    def fault(source):
        raise EsadError(f"{source}: mixed sizes.")

    with pytest.raises(EsadError, match="mixed sizes"):
        ingest(archive, tmp_path / "out", fault, dask_cluster.scheduler_address)
