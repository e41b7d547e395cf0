"""What all ingest stages promise: changed and vanished inputs, labels given later, stops, the store's own files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.images import images
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import ImageSettings, TableSettings
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.tables import tables
from esad.preprocessing.store.store import Store
from tests import PYTHONPATH


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16), value, np.uint8)).save(path)


@pytest.fixture
def archive(tmp_path):
    for number in range(4):
        picture(tmp_path / "in" / "good" / f"{number}.png", 10 * number)
    return tmp_path / "in"


def ingest(archive, out, **options):
    return images([archive], ImageSettings(), IngestOptions(out, **options))


def test_a_changed_input_is_read_again_and_said(archive, tmp_path, capsys):
    ingest(archive, tmp_path / "out")
    picture(archive / "good" / "2.png", 200)
    outcome = ingest(archive, tmp_path / "out")
    assert (
        "1 inputs have changed since they were read and are read again (first: good/2.png)"
        in capsys.readouterr().err
    )
    store = Store(tmp_path / "out")
    assert outcome.summary["items"] == len(store) == 4
    assert store.read()[:, 0, 0, 0].tolist() == [0, 10, 200, 30]
    assert store.sources["attempts"].tolist() == [1, 1, 2, 1]


def test_a_changed_input_that_is_now_refused_takes_its_items_along(archive, tmp_path):
    ingest(archive, tmp_path / "out")
    (archive / "good" / "2.png").write_text("no picture any more")
    assert (outcome := ingest(archive, tmp_path / "out")).refused == 1
    store = Store(tmp_path / "out")
    assert outcome.summary["items"] == len(store) == 3
    assert store.read()[:, 0, 0, 0].tolist() == [0, 10, 30]
    assert store.sources["items"].tolist() == [1, 1, 0, 1]
    picture(archive / "good" / "2.png", 200)
    assert ingest(archive, tmp_path / "out").summary["items"] == 4
    assert Store(tmp_path / "out").sources["attempts"].tolist() == [1, 1, 3, 1]


def test_every_part_is_read_once(archive, tmp_path, monkeypatch):
    """An archive of 1000 slides has 2000 parts: the stages join them once a call, however often they look."""
    ingest(archive, tmp_path / "out")
    read = []
    original = pq.ParquetFile
    monkeypatch.setattr(
        pq, "ParquetFile", lambda path, **how: read.append(Path(path).name) or original(path, **how)
    )
    picture(archive / "good" / "4.png", 40)
    assert ingest(archive, tmp_path / "out").summary["items"] == 5
    names = [f"{kind}-0000{unit}.parquet" for kind in ("items", "sources") for unit in (0, 1)]
    assert sorted(name for name in read if "-" in name) == names


def test_a_changed_table_leaves_none_of_its_old_rows(tmp_path):
    for rows in (20, 5):
        frame = pd.DataFrame(np.random.default_rng(rows).normal(size=(rows, 3)), columns=list("abc"))
        frame.to_csv(tmp_path / "t.csv", index=False)
        assert (
            tables([tmp_path / "t.csv"], TableSettings(), IngestOptions(tmp_path / "out")).summary["items"]
            == rows
        )
    assert Store(tmp_path / "out").read()[:, 0] == pytest.approx(frame["a"].to_numpy(np.float32))


def test_a_vanished_input_takes_its_items_along_and_is_said(archive, tmp_path, capsys):
    ingest(archive, tmp_path / "out")
    (archive / "good" / "1.png").unlink()
    outcome = ingest(archive, tmp_path / "out")
    assert "1 inputs of an earlier call are no longer there" in capsys.readouterr().err
    store = Store(tmp_path / "out")
    assert outcome.summary["items"] == len(store) == len(store.sources) == 3
    assert "from 3 of 3 inputs" in outcome.message


def test_finished_work_is_left_alone_and_says_so(archive, tmp_path):
    assert ingest(archive, tmp_path / "out").message.startswith("Wrote")
    assert ingest(archive, tmp_path / "out").message.startswith("Left alone")


def test_a_slip_in_where_costs_nothing(archive, tmp_path, monkeypatch):
    for where in ({"clas_name": "good"}, {"class_name": "gode"}):
        with pytest.raises(EsadError):
            ingest(archive, tmp_path / "out", where=where)
    monkeypatch.setattr("esad.pipeline.conversion.images.decode_apart", None)  # nothing is read again
    assert ingest(archive, tmp_path / "out", where={"class_name": "good"}).summary["items"] == 4


def test_labels_given_later_need_force_but_no_second_reading(archive, tmp_path, monkeypatch):
    ingest(archive, tmp_path / "out")
    (tmp_path / "labels.csv").write_text("source,label\ngood/3.png,1\n")
    with pytest.raises(
        EsadError, match=r"other labels.*labels_file.*--force to apply these: no input is read again"
    ):
        ingest(archive, tmp_path / "out", labels=tmp_path / "labels.csv")
    monkeypatch.setattr("esad.pipeline.conversion.images.decode_apart", None)
    outcome = ingest(archive, tmp_path / "out", labels=tmp_path / "labels.csv", force=True)
    assert (outcome.summary["anomaly"], outcome.summary["items"]) == (1, 4)


def test_labels_of_which_none_is_of_an_item_are_refused(archive, tmp_path, monkeypatch):
    (tmp_path / "labels.csv").write_text("source,label\n3.jpg,1\nelsewhere/4.png,0\n")
    with pytest.raises(
        UsageError, match=r"2 of 2 labels match no item \(first: 3.jpg; a source here is called "
    ):
        ingest(archive, tmp_path / "out", labels=tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("source,label\n3.png,1\nelsewhere/4.png,0\n")
    monkeypatch.setattr("esad.pipeline.conversion.images.decode_apart", None)  # what was read is kept
    assert ingest(archive, tmp_path / "out", labels=tmp_path / "labels.csv").summary["anomaly"] == 1


def test_a_store_inside_its_archive_is_not_read_as_input(tmp_path):
    (tmp_path / "in").mkdir()
    pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4]}).to_csv(tmp_path / "in" / "t.csv", index=False)
    for _ in range(2):
        outcome = tables([tmp_path / "in"], TableSettings(), IngestOptions(tmp_path / "in" / "store"))
        assert (outcome.refused, outcome.summary["sources"]) == (0, 1)


def test_an_npz_table_without_labels_keeps_its_rows(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(20.0).reshape(10, 2))
    outcome = tables([tmp_path / "a.npz"], TableSettings(), IngestOptions(tmp_path / "out"))
    assert (outcome.summary["items"], outcome.summary["unknown"]) == (10, 10)
    assert "10 rows from 1 of 1 inputs" in outcome.message


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,a,y\n1,2,3,0\n")
    with pytest.raises(EsadError, match=r"two columns named 'a'"):
        tables([tmp_path / "t.csv"], TableSettings(), IngestOptions(tmp_path / "out"))


def test_a_wrong_option_with_json_is_an_object_on_stdout(capsys):
    assert call(["tile", "x", "--out", "y", "--bogus", "--json"]) == 2
    content = json.loads(capsys.readouterr().out)
    assert content["status"] == 2
    assert "--bogus" in content["error"]


SLOW = """
import sys, time
from pathlib import Path
import esad.pipeline.conversion.images
from esad.pipeline.cli.app import main

if __name__ == "__main__":
    esad.pipeline.conversion.images.IMAGES_PER_SHARD = 1
    main(["images", sys.argv[1], "--out", sys.argv[2], "--workers", "2"])
"""
WAITING = """
import time
import esad.preprocessing.images as module
original = module.decode_picture
def decode_picture(*args):
    time.sleep(30)
    return original(*args)
module.decode_picture = decode_picture
"""


def test_ctrl_c_ends_several_workers_at_once(archive, tmp_path):
    """Both Ctrl-C of an impatient person, to the whole process group, while each worker is busy for 30 seconds."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "sitecustomize.py").write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), str(archive), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PYTHONPATH}"}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out" / "parts" / "units.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(3)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 75, told
