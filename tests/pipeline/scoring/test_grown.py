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


class Stop(BaseException):
    """In place of a kill."""


def stopped(*_):
    raise Stop


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

    with monkeypatch.context() as patched:
        patched.setattr(explained_rows if at == "write_row_heat" else scores_folder, at, stopped)
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
    assert "has grown since it was scored, but its shard 00000 is" in capsys.readouterr().err
    assert files_of(grown / "run" / "scores" / "day") == before


def test_a_store_that_lost_a_source_is_refused_though_it_has_more_items(grown, capsys):
    """A source is gone, and a larger one came: more items than before."""
    (grown / "queue" / "a.csv").unlink()
    rows(grown / "queue", "d.csv", 13, 40)
    made("tables", grown / "queue", "--out", grown / "day")
    assert call(["score", str(grown / "run"), str(grown / "day")]) == 1
    assert "has grown since it was scored, but its shard 00000 is gone" in capsys.readouterr().err


CHANGES = {
    "another model": ({"model": "x"}, "holds other scores (model"),
    "an earlier version": ({"shards": None}, "but an earlier version made it or its scores"),
    "without digests": ({"shards": {}}, "but an earlier version made it or its scores"),
    "another device": ({"device": "cuda"}, "but it was scored on cuda, and this would be on cpu (--device)"),
    "other batches": ({"batches": [1, 2, 3, 4, 5]}, "but it was scored in batches of another size"),
    "no device": ({"device": None}, "scores.json: is damaged"),
    "no numbers": ({"digests": {"x": "y"}}, "scores.json: is damaged"),
    "no texts": ({"digests": {"00000": 5}}, "scores.json: is damaged"),
}


def change_marker(folder, **change):
    """Change entries of scores.json, or of its `shards`."""
    path = folder / "scores.json"
    content = json.loads(path.read_text())
    of_shards = {name: change.pop(name) for name in ("device", "batches", "digests") if name in change}
    path.write_text(
        json.dumps(
            {**content, **change, **({"shards": {**content["shards"], **of_shards}} if of_shards else {})}
        )
    )


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_what_cannot_be_kept_is_said_with_the_reason(grown, capsys, change, said):
    change_marker(grown / "run" / "scores" / "day", **change)
    assert call(["score", str(grown / "run"), str(grown / "day")]) == 1
    assert said in capsys.readouterr().err


def shards_of(folder):
    return json.loads((folder / "scores.json").read_text())["shards"]


@pytest.mark.parametrize("before", [None, "cuda"])
def test_overlays_drawn_anew_do_not_say_that_the_scores_were_made_here(grown, monkeypatch, before):
    from esad.pipeline.scoring.columns import explained_rows

    day = grown / "run" / "scores" / "day"
    (grown / "queue" / "c.csv").unlink()
    made("tables", grown / "queue", "--out", grown / "day")
    change_marker(day, **({"device": before} if before else {"shards": None}))
    had = shards_of(day)
    made("score", grown / "run", grown / "day", "--overlays", "worst:2")
    assert shards_of(day) == had
    with monkeypatch.context() as patched:
        patched.setattr(explained_rows, "write_row_heat", stopped)
        with pytest.raises(Stop):
            call(["score", str(grown / "run"), str(grown / "day"), "--overlays", "worst:5"])
    assert not (day / "scores.json").exists()
    counts = scored(monkeypatch)
    made("score", grown / "run", grown / "day", "--overlays", "worst:5")
    assert counts == []
    assert shards_of(day) == had


def test_finished_scores_need_no_device(grown):
    (grown / "queue" / "c.csv").unlink()
    made("tables", grown / "queue", "--out", grown / "day")
    said = ["score", str(grown / "run"), str(grown / "day"), "--device", "cuda:7"]
    assert call([*said, "--overlays", "worst:3"]) == 0
    assert call([*said, "--overlays", "worst:2"]) == 2


def test_suggestions_stay_and_are_not_in_the_way(grown, monkeypatch, capsys):
    from esad.pipeline.scoring import scores_folder

    day = grown / "run" / "scores" / "day"
    made("suggest", day, "--count", "3")
    marked = (day / "suggestions.csv").read_text().replace(",,", ",1,", 1)
    (day / "suggestions.csv").write_text(marked)
    with monkeypatch.context() as patched:
        patched.setattr(scores_folder, "finish_scores", stopped)
        with pytest.raises(Stop):
            call(["score", str(grown / "run"), str(grown / "day")])
    made("score", grown / "run", grown / "day")
    for said in (["suggest", str(day)], ["score", str(grown / "run"), str(grown / "day"), "--force"]):
        assert call(said) == 2
        assert "suggestions.csv: labels were filled in there" in capsys.readouterr().err
    assert (day / "suggestions.csv").read_text() == marked


@pytest.mark.parametrize("levels", ["none", "grey"])
def test_a_days_queue_of_radiographs(tmp_path, monkeypatch, levels):
    """Images arrive in three lots; store and scores grow with each, overlays are those of the whole day."""

    def arrive(folder, first, last):
        folder.mkdir(exist_ok=True)
        for number in range(first, last):
            pixels = np.random.default_rng(number).integers(0, 4096, (96, 96), dtype=np.uint16)
            write_dicom(folder / f"{number:03}.dcm", pixels, ViewPosition="PA", PatientID=f"P{number}")

    key = ("--group-key", tmp_path / "key", "--site", "north")
    arrive(tmp_path / "known", 0, 24)
    made("radiographs", tmp_path / "known", "--out", tmp_path / "training", *key)
    settings = {**SHORT, "network.width": 0.0625, "data.site_normalisation": levels}
    made("train", tmp_path / "training", "--out", tmp_path / "run", *words(settings))
    counts = scored(monkeypatch)
    for last in (105, 109, 112):
        arrive(tmp_path / "queue", 100, last)
        made("radiographs", tmp_path / "queue", "--out", tmp_path / "day", *key)
        made("score", tmp_path / "run", tmp_path / "day", "--overlays", "worst:4")
    assert counts == [5, 4, 3]
    assert files_of(tmp_path / "run" / "scores" / "day") == scored_at_once(tmp_path, "worst:4")
    assert len(list((tmp_path / "run" / "scores" / "day" / "overlays").glob("*.png"))) == 4
