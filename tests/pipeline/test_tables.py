"""The table stage: several tables in one store, and the bad ones by themselves."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TableSettings
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.tables import tables
from esad.preprocessing.store.store import Store


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_bad_tables_do_not_stop_good_ones(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    write(
        folder, one="a,b,y\n1,2,0\n3,4,1\n", two="a,b,y\n5,6,0\n", text="a,b,y\n1,red,0\n",
        missing="a,b,y\n1,2,0\n,4,1\n", empty="",
    )  # fmt: skip
    outcome = tables([folder], TableSettings(), IngestOptions(tmp_path / "out"))
    store = Store(tmp_path / "out")
    assert store.read().tolist() == [[1, 2], [3, 4], [5, 6]]
    assert store.manifest["label"].tolist() == [0, 1, 0]
    assert store.description["dtype"] == "float32"
    reasons = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("source")["reason"]
    assert outcome.refused == len(reasons) == 3
    assert "column 'b', row 1: 'red' is text" in reasons["text.csv"]
    assert "column 'a', row 2: nan is missing" in reasons["missing.csv"]
    done = store.sources[store.sources["state"] == "done"]
    assert [json.loads(names) for names in done["columns"]] == [["a", "b"]] * 2


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("a,c,y\n1,2,0\n", "has column 'b' where two.csv has 'c'"),
        ("a,b,c,y\n1,2,3,0\n", "has 2 columns, two.csv has 3"),
    ],
)
def test_tables_of_other_columns_are_named(tmp_path, second, told):
    write(tmp_path, one="a,b,y\n1,2,0\n", two=second)
    with pytest.raises(EsadError, match=rf"one\.csv {told}"):
        tables([tmp_path / "one.csv", tmp_path / "two.csv"], TableSettings(), IngestOptions(tmp_path / "out"))


def test_named_columns_are_used_and_missed(tmp_path):
    write(tmp_path, one="a,sick,who,part\n1,0,p1,train_val\n2,1,p2,test\n")
    settings = TableSettings(label="sick", group="who", split="part")
    tables([tmp_path / "one.csv"], settings, IngestOptions(tmp_path / "out"))
    manifest = Store(tmp_path / "out").manifest
    assert manifest[["label", "group", "split"]].to_numpy().tolist() == [
        [0, "p1", "train"],
        [1, "p2", "test"],
    ]
    with pytest.raises(UsageError, match="no column 'ill'; it has a, sick, who, part"):
        tables([tmp_path / "one.csv"], TableSettings(label="ill"), IngestOptions(tmp_path / "out2"))


def test_no_usable_table_fails_and_names_the_first_reason(tmp_path):
    write(tmp_path, one="a,y\nred,0\n")
    with pytest.raises(EsadError, match=r"none of 1 inputs gave an item.*'red' is text"):
        tables([tmp_path / "one.csv"], TableSettings(), IngestOptions(tmp_path / "out"))
    assert "one.csv" in (tmp_path / "out" / "failures.csv").read_text()


@pytest.mark.data
@pytest.mark.parametrize("name", ["arrhythmia", "cardio", "satellite", "satimage-2", "shuttle", "thyroid"])
def test_real_tables(data, tmp_path, name):
    path = data / "odds" / f"{name}.npz"
    tables([path], TableSettings(), IngestOptions(tmp_path / "out"))
    store, content = Store(tmp_path / "out"), np.load(path)
    assert np.array_equal(store.read(), content["X"].astype(np.float32))
    assert np.array_equal(store.manifest["label"], content["y"])
