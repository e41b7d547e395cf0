"""Scoring in pieces: by a cluster, by torchrun's processes, killed and continued, it ends in the bytes of one process."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import esad
import esad.pipeline.scoring.explanation
import esad.pipeline.scoring.scores_table
from esad.pipeline.cli.app import call
from esad.pipeline.score import score
from esad.pipeline.scoring.batches import each_batch, read_once
from esad.pipeline.scoring.work import WORK, _share
from esad.pipeline.stage.errors import UsageError
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store
from tests.forks import esad_as_torchrun, fork, wait
from tests.pipeline.clusters import score_slowly, when
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store
from tests.pipeline.test_score import everything

SHARDS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs on pictures and on rows of five shards each, and their scores by one process, with overlays of all pictures."""
    folder = tmp_path_factory.mktemp("pieces")
    for kind, settings in (("images", QUICK), ("table", QUICK_TABLE)):
        store = make_store(folder, kind, kind, shards=SHARDS)
        assert store.manifest["shard"].nunique() == SHARDS
        train(store.root, folder / f"{kind}-run", None, [{**settings, "checkpoint_seconds": 60}])
        score(folder / f"{kind}-run", out=folder / f"{kind}-once", overlays="all")
    return folder


def finished(out: Path) -> list[Path]:
    """The files of pieces that are done; what is being written has a hidden name."""
    return [path for path in (out / WORK).glob("*.npy") if not path.name.startswith(".")]


def assert_same(one: Path, other: Path) -> None:
    ours, theirs = everything(one), everything(other)
    assert ours.keys() == theirs.keys()
    differing = [name for name in ours if ours[name] != theirs[name] and name.name != "scores.json"]
    assert differing == []
    assert not (one / WORK).exists()


@pytest.mark.parametrize("kind", ["images", "table"])
def test_a_cluster_gives_the_bytes_of_one_process(folder, dask_cluster, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(folder)  # relative paths are of this folder, not of the workers'
    words = ["score", f"{kind}-run", "--out", str(tmp_path / "there"), "--overlays", "all"]
    assert call([*words, "--scheduler", dask_cluster.scheduler_address]) == 0
    assert_same(tmp_path / "there", folder / f"{kind}-once")


def test_the_workers_do_the_work(folder, dask_cluster, tmp_path, monkeypatch):
    for name in ("scores_table.score_shard", "explanation.HeatMaps"):
        monkeypatch.setattr(f"esad.pipeline.scoring.{name.replace('score_shard', 'raw_terms')}", None)
    score(
        folder / "images-run",
        out=tmp_path / "there",
        overlays="worst:3",
        scheduler=dask_cluster.scheduler_address,
    )
    assert len(pd.read_parquet(tmp_path / "there" / "scores.parquet")) == 120


@pytest.mark.parametrize("kind", ["images", "table"])
def test_where_a_cluster_computes_the_device_need_not_be_here(
    folder, dask_cluster, tmp_path, monkeypatch, kind
):
    def without_it(name):
        if name != "cpu":
            raise UsageError(f"device {name}: there is none.")
        return torch.device("cpu")

    monkeypatch.setattr("esad.pipeline.scoring.work.resolve_device", without_it)
    out, scheduler = tmp_path / "there", dask_cluster.scheduler_address
    score(folder / f"{kind}-run", out=out, overlays="all", device="auto", scheduler=scheduler)
    assert_same(out, folder / f"{kind}-once")


def test_a_worker_killed_in_mid_work_costs_its_shard(folder, tmp_path, monkeypatch):
    from distributed import Client, LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        with Client(cluster) as client:
            numbers = list(client.run(os.getpid).values())
            client.run(score_slowly)
        out = tmp_path / "there"
        killer = when(lambda: finished(out), lambda: os.kill(numbers[0], signal.SIGKILL))
        score(folder / "images-run", out=out, overlays="all", scheduler=cluster.scheduler_address)
        killer.join()
    with pytest.raises(ProcessLookupError):
        os.kill(numbers[0], 0)
    assert_same(out, folder / "images-once")


def test_two_threads_of_one_worker_take_turns(folder, tmp_path, capsys):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        score(
            folder / "images-run", out=tmp_path / "there", overlays="all", scheduler=cluster.scheduler_address
        )
    assert "has 2 threads and scores one shard at a time all the same" in capsys.readouterr().err
    assert_same(tmp_path / "there", folder / "images-once")


@pytest.mark.parametrize("kind", ["images", "table"])
def test_two_processes_of_torchrun_give_the_bytes_of_one(folder, tmp_path, capfd, kind):
    words = [str(folder / f"{kind}-run"), "--out", str(tmp_path / "there"), "--overlays", "all", "--json"]
    assert [wait(number) for number in esad_as_torchrun(["score", *words])] == [0, 0]
    told = capfd.readouterr()
    assert_same(tmp_path / "there", folder / f"{kind}-once")
    assert told.err.count("Wrote") == 1
    assert told.out.count('"items": 120') == 1
    assert [wait(number) for number in esad_as_torchrun(["score", *words])] == [0, 0]
    assert capfd.readouterr().err.count("Left alone") == 1


def test_when_one_of_torchruns_processes_is_killed_the_shards_that_are_done_are_kept(folder, tmp_path, capfd):
    out = tmp_path / "there"
    words = [str(folder / "images-run"), "--out", str(out), "--overlays", "all"]
    numbers = esad_as_torchrun(["score", *words], before=score_slowly)
    deadline = time.monotonic() + 60
    while not finished(out) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(numbers[1], signal.SIGKILL)
    assert [wait(number) for number in numbers] == [1, -signal.SIGKILL]
    assert "Another process of this call is gone" in capfd.readouterr().err
    assert finished(out)
    assert [wait(number) for number in esad_as_torchrun(["score", *words])] == [0, 0]
    assert_same(out, folder / "images-once")


def counted(monkeypatch, name: str) -> list[object]:
    """The pieces that a function of the room is called with from now on."""
    module, function = name.rsplit(".", 1)
    holder = getattr(esad.pipeline.scoring, module)
    original, seen = getattr(holder, function), []

    def watched(opened, piece, advance):
        seen.append(piece)
        return original(opened, piece, advance)

    monkeypatch.setattr(holder, function, watched)
    return seen


def test_killed_while_it_scores_it_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    out = tmp_path / "there"

    def command():
        score_slowly(0.3)
        score(folder / "images-run", out=out, overlays="all")

    number = fork(command)
    deadline = time.monotonic() + 60
    while len(finished(out)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(number, signal.SIGKILL)
    assert wait(number) == -signal.SIGKILL
    there = len(finished(out))
    assert 2 <= there < SHARDS
    seen = counted(monkeypatch, "scores_table.score_shard")
    score(folder / "images-run", out=out, overlays="all")
    assert len(seen) == SHARDS - there
    assert_same(out, folder / "images-once")


def test_stopped_while_overlays_are_drawn_it_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    out, drawn = tmp_path / "there", []
    original = esad.pipeline.scoring.explanation.draw_items

    def stops(*words):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(1)
        return original(*words)

    monkeypatch.setattr(esad.pipeline.scoring.explanation, "draw_items", stops)
    with pytest.raises(KeyboardInterrupt):
        score(folder / "images-run", out=out, overlays="all")
    monkeypatch.undo()
    seen = counted(monkeypatch, "explanation.draw_items")
    score(folder / "images-run", out=out, overlays="all")
    assert len(seen) == 1  # of 120 items in pieces of 64
    assert_same(out, folder / "images-once")


def test_what_was_begun_with_another_model_or_is_forced_is_not_gone_on_with(folder, tmp_path, monkeypatch):
    out = tmp_path / "there"

    def stop(*_):
        raise KeyboardInterrupt

    for changed in ({"model": "another"}, {}):
        monkeypatch.setattr("esad.pipeline.scoring.scores_folder.write_tables", stop)
        with pytest.raises(KeyboardInterrupt):
            score(folder / "images-run", out=out, overlays="none")
        monkeypatch.undo()
        mark = out / WORK / "of.json"
        if changed:
            mark.write_text(mark.read_text().replace('"model": "', '"model": "another'))
        for path in finished(out):
            np.save(path, np.full_like(np.load(path), 7))
        score(folder / "images-run", out=out, overlays="none", force=not changed)
        table, once = (pd.read_parquet(at / "scores.parquet") for at in (out, folder / "images-once"))
        assert table["score"].equals(once["score"])
        (out / "scores.json").unlink()


def test_damaged_files_of_pieces_are_done_again_and_the_others_kept(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "there"

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("esad.pipeline.scoring.scores_folder.write_tables", stop)
    with pytest.raises(KeyboardInterrupt):
        score(folder / "images-run", out=out, overlays="none")
    monkeypatch.undo()
    short, empty, number, whole, _ = sorted(finished(out))
    np.save(short, np.load(short)[1:])
    empty.write_bytes(b"")
    np.save(number, np.float32(1))
    whole.write_bytes(whole.read_bytes()[:-1])
    seen = counted(monkeypatch, "scores_table.score_shard")
    score(folder / "images-run", out=out, overlays="none")
    assert len(seen) == 4
    table, once = (pd.read_parquet(at / "scores.parquet") for at in (out, folder / "images-once"))
    assert table["score"].equals(once["score"])
    assert f"{empty}: is damaged, and is done again." in capsys.readouterr().err


def test_work_that_another_call_cleared_away_is_said_at_once(folder, tmp_path, monkeypatch):
    out = tmp_path / "there"
    original = esad.pipeline.scoring.scores_table.score_shard

    def another_ended(opened, number, advance):
        found = original(opened, number, advance)
        shutil.rmtree(out / WORK)
        return found

    monkeypatch.setattr(esad.pipeline.scoring.scores_table, "score_shard", another_ended)
    began = time.monotonic()
    with pytest.raises(esad.EsadError, match=r"00000\.npy: .*run the same command again$"):
        score(folder / "images-run", out=out, overlays="none")
    assert time.monotonic() - began < 60


def test_what_a_kill_at_the_very_end_leaves_is_cleared_away(folder, tmp_path, monkeypatch):
    out = tmp_path / "there"
    monkeypatch.setattr("esad.pipeline.scoring.scores_folder.shutil.rmtree", lambda *_, **__: None)
    score(folder / "images-run", out=out, overlays="worst:3")
    monkeypatch.undo()
    assert (out / WORK).is_dir()
    score(folder / "images-run", out=out, overlays="worst:3")
    assert not (out / WORK).exists()


def test_a_cluster_under_torchrun_is_wrong_use(folder, tmp_path, capfd):
    words = [str(folder / "images-run"), "--out", str(tmp_path / "there"), "--scheduler", "tcp://127.0.0.1:9"]
    assert [wait(number) for number in esad_as_torchrun(["score", *words])] == [2, 2]
    assert "take one of them" in capfd.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_piece_is_one_processs_and_none_has_much_more_than_another(count):
    sizes = {
        f"{number:05d}": int(size)
        for number, size in enumerate(np.random.default_rng(0).integers(1, 900, 40))
    }
    shares = [_share(list(sizes), sizes, rank, count) for rank in range(count)]
    assert sorted(name for share in shares for name in share) == sorted(sizes)
    loads = [sum(sizes[name] for name in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes.values())


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order_one_thread_each_and_leave_the_number_of_threads_alone(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = list(
            each_batch(
                np.arange(23), 5, lambda chosen: (time.sleep(0.01 * (4 - chosen[0] // 5)), torch.get_num_threads()),
                torch.device("cpu"),
            )
        )  # fmt: skip
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.concatenate([chosen for chosen, _ in found]).tolist() == list(range(23))
    assert {count for _, (_, count) in found} == {1}


def test_items_read_once_are_the_stores_and_their_pages_are_given_back(folder, monkeypatch):
    monkeypatch.setattr("esad.pipeline.scoring.batches.RELEASED_BYTES", 16 * 16 * 20)
    store, whole = Store(folder / "images"), Store(folder / "images").read()
    items, mapped = read_once(store, torch.device("cpu")), []
    for begin in range(0, 120, 8):
        assert np.array_equal(items(np.arange(begin, begin + 8)).numpy(), whole[begin : begin + 8])
        mapped.append(len(store._shards))
    assert mapped.count(0) == 5  # every third batch
    assert max(mapped[3:]) <= 2  # before, those that the store looked at as it was opened
