"""A store that grew since it was scored: only the new shards are scored, and the bytes are those of scoring all at once."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.scoring import scores_table
from tests.pipeline.commands import made, words
from tests.pipeline.stores import QUICK_TABLE
from tests.preprocessing.radiographs.dicom_files import write_dicom

SHORT = {**QUICK_TABLE, "train.steps": 4, "train.warmup.steps": 2}


def rows(archive, name, seed, count=12):
    archive.mkdir(exist_ok=True)
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(count, 4)), columns=list("abcd"))
    frame.to_csv(archive / name, index=False)


@pytest.fixture
def grown(tmp_path):
    """RUN, and the STORE of two files that was scored and has a third one since."""
    for number in range(3):
        rows(tmp_path / "known", f"{number}.csv", number, 40)
    made("tables", tmp_path / "known", "--out", tmp_path / "training")
    made("train", tmp_path / "training", "--out", tmp_path / "run", *words(SHORT))
    archive = tmp_path / "queue"
    rows(archive, "a.csv", 10)
    rows(archive, "b.csv", 11)
    made("tables", archive, "--out", tmp_path / "day")
    made("score", tmp_path / "run", tmp_path / "day", "--overlays", "worst:3")
    rows(archive, "c.csv", 12)
    made("tables", archive, "--out", tmp_path / "day")
    return tmp_path


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "log" not in path.parts
    }


def scored_at_once(folder, overlays="worst:3"):
    """The files of scores of the whole store."""
    out = folder / "run" / "scores" / "whole"
    made("score", folder / "run", folder / "day", "--overlays", overlays, "--out", out)
    return files_of(out)


def scored(monkeypatch):
    """The numbers of items that are scored from now on."""
    counts, work = [], scores_table.raw_terms

    def counted(method, items, positions, *more):
        counts.append(len(positions))
        return work(method, items, positions, *more)

    monkeypatch.setattr(scores_table, "raw_terms", counted)
    return counts


def test_only_what_is_new_is_scored_and_all_bytes_are_those_of_a_whole(grown, monkeypatch, capsys):
    counts, day = scored(monkeypatch), grown / "run" / "scores" / "day"
    capsys.readouterr()
    made("score", grown / "run", grown / "day", "--overlays", "worst:3")
    assert counts == [12]
    assert "24 of 36 rows have their scores" in capsys.readouterr().err
    whole = scored_at_once(grown)
    assert counts == [12, 36] or sum(counts) == 48
    assert files_of(day) == whole
    made("score", grown / "run", grown / "day", "--overlays", "worst:3")
    assert sum(counts) == 48


@pytest.mark.parametrize("at", ["write_tables", "write_row_heat", "finish_scores"])
def test_stopped_anywhere_it_goes_on(grown, monkeypatch, at):
    from esad.pipeline.scoring import scores_folder
    from esad.pipeline.scoring.columns import explained_rows

    class Stop(BaseException):
        pass

    def stop(*_):
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(explained_rows if at == "write_row_heat" else scores_folder, at, stop)
        with pytest.raises(Stop):
            call(["score", str(grown / "run"), str(grown / "day"), "--overlays", "worst:3"])
    counts = scored(monkeypatch)
    made("score", grown / "run", grown / "day", "--overlays", "worst:3")
    assert counts == []
    whole = scored_at_once(grown)
    assert files_of(grown / "run" / "scores" / "day") == whole


def test_a_store_that_lost_or_changed_something_is_still_refused(grown, capsys):
    rows(grown / "queue", "a.csv", 99)
    made("tables", grown / "queue", "--out", grown / "day")
    before = files_of(grown / "run" / "scores" / "day")
    assert call(["score", str(grown / "run"), str(grown / "day")]) == 1
    assert "holds other scores (inputs" in capsys.readouterr().err
    assert files_of(grown / "run" / "scores" / "day") == before


def test_a_shard_that_lost_an_item_is_refused_though_its_file_is_the_same(grown, capsys):
    """A source of the first shard is gone, and a larger one came: more items than before, and none of the shards is another."""
    (grown / "queue" / "a.csv").unlink()
    rows(grown / "queue", "d.csv", 13, 40)
    made("tables", grown / "queue", "--out", grown / "day")
    assert call(["score", str(grown / "run"), str(grown / "day")]) == 1
    assert "holds other scores (inputs" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"shards": {}}, {"model": "x"}, {"shards": None}])
def test_scores_of_another_model_or_of_an_earlier_version_are_refused(grown, capsys, change):
    path = grown / "run" / "scores" / "day" / "scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert call(["score", str(grown / "run"), str(grown / "day")]) == 1
    assert "holds other scores" in capsys.readouterr().err


def test_on_another_device_or_in_other_batches_nothing_is_kept(grown, capsys):
    path = grown / "run" / "scores" / "day" / "scores.json"
    good = json.loads(path.read_text())
    for change in ({"device": "cuda"}, {"batches": [1, 2, 3, 4, 5]}):
        path.write_text(json.dumps({**good, "shards": {**good["shards"], **change}}))
        assert call(["score", str(grown / "run"), str(grown / "day")]) == 1
        assert "holds other scores" in capsys.readouterr().err


def test_a_days_queue_of_radiographs(tmp_path, monkeypatch):
    """Images arrive in three lots; store and scores grow with each, overlays are those of the whole day."""

    def arrive(folder, first, last):
        folder.mkdir(exist_ok=True)
        for number in range(first, last):
            pixels = np.random.default_rng(number).integers(0, 4096, (96, 96), dtype=np.uint16)
            write_dicom(folder / f"{number:03}.dcm", pixels, ViewPosition="PA", PatientID=f"P{number}")

    key = ("--group-key", tmp_path / "key")
    arrive(tmp_path / "known", 0, 24)
    made("radiographs", tmp_path / "known", "--out", tmp_path / "training", *key)
    made(
        "train", tmp_path / "training", "--out", tmp_path / "run", *words({**SHORT, "network.width": 0.0625})
    )
    counts = scored(monkeypatch)
    for last in (105, 109, 112):
        arrive(tmp_path / "queue", 100, last)
        made("radiographs", tmp_path / "queue", "--out", tmp_path / "day", *key)
        made("score", tmp_path / "run", tmp_path / "day", "--overlays", "worst:4")
    assert counts == [5, 4, 3]
    assert files_of(tmp_path / "run" / "scores" / "day") == scored_at_once(tmp_path, "worst:4")
    assert len(list((tmp_path / "run" / "scores" / "day" / "overlays").glob("*.png"))) == 4
