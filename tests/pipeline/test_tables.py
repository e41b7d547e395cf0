"""The table stage: several tables in one store, and the bad ones by themselves."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from esad.pipeline.cli.app import call
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TableSettings
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.tables import tables
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import QUICK_TABLE


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


def test_the_same_columns_in_another_order_are_brought_into_the_first_ones(tmp_path):
    write(tmp_path, a="", one="a,b,y\n1,2,0\n", two="b,y,a\n4,1,3\n")
    assert call(["tables", str(tmp_path), "--out", str(tmp_path / "out")]) == 3
    store = Store(tmp_path / "out")
    assert (store.columns, store.read().tolist()) == (["a", "b"], [[1, 2], [3, 4]])


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


def people(seed, count=120):
    """A table as a person has it: names, text, holes, an outlier in ten."""
    numbers = np.random.default_rng(seed)
    y = np.arange(count) % 10 == 0
    frame = pd.DataFrame(numbers.normal(size=(count, 3)) + 3 * y[:, None], columns=list("abc"))
    frame.insert(0, "name", [f"row {n}" for n in range(count)])
    frame["sex"] = numbers.choice(["F", "M"], count)
    frame.loc[3, "a"], frame.loc[4, "b"], frame.loc[5, "sex"] = np.nan, np.inf, None
    return frame.assign(y=np.where(y, "outlier", "normal"))


def test_a_table_with_names_text_and_holes_goes_from_file_to_scores(tmp_path, capsys):
    first, second, run = tmp_path / "t.csv", tmp_path / "n.parquet", tmp_path / "run"
    people(0).to_csv(first, index=False)
    words = ["--id", "name", "--categorical", "sex", "--missing", "median"]
    assert call(["tables", str(first), "--out", str(tmp_path / "store"), *words]) == 0
    said = capsys.readouterr().err
    assert "labels in column 'y': normal (108) as normal, outlier (12) as anomaly." in said
    assert "2 missing values" in said
    store = Store(tmp_path / "store")
    assert store.columns == ["a", "b", "c", "sex=F", "sex=M"]
    settings = [word for name, value in QUICK_TABLE.items() for word in ("--set", f"{name}={value}")]
    assert call(["train", str(store.root), "--out", str(run), *settings]) == 0
    used = pd.read_parquet(run / "assignments.parquet")
    rows = store.read(
        np.flatnonzero(store.manifest["item_id"].isin(used.loc[used["part"] == "train", "item_id"]))
    )
    medians = load_file(run / "model.safetensors")["scaler.median"].flatten()
    assert np.allclose(medians, np.nanmedian(rows, axis=0), atol=1e-6)

    frame = people(1)[["sex", "c", "b", "name", "a"]].assign(more="x")
    frame.loc[9, "sex"] = "other"
    frame.to_parquet(second)
    assert (
        call(["tables", str(second), "--out", str(tmp_path / "new"), "--like", str(run), "--id", "name"]) == 0
    )
    said = capsys.readouterr().err
    assert "1 values of 'sex' that training did not have" in said
    assert "1 other columns left out" in said
    assert call(["score", str(run), str(tmp_path / "new"), "--out", str(tmp_path / "scores")]) == 0
    scores = pd.read_parquet(tmp_path / "scores" / "scores.parquet")
    assert scores["id"].tolist() == frame["name"].tolist()
    assert np.isfinite(scores["score"]).all()
    assert call(["audit", str(run)]) == 0


def test_labels_that_are_not_understood_are_asked_about_and_then_applied_without_reading_again(
    tmp_path, capsys
):
    path, out = tmp_path / "t.csv", str(tmp_path / "out")
    path.write_text("a,y\n1,2\n2,4\n3,2\n")
    assert call(["tables", str(path), "--out", out]) == 2
    assert "--anomaly-value=4" in capsys.readouterr().err
    assert not (tmp_path / "out" / "store.json").exists()
    assert call(["tables", str(path), "--out", out, "--anomaly-value", "4"]) == 0
    assert Store(tmp_path / "out").manifest["label"].tolist() == [0, 1, 0]
    assert call(["tables", str(path), "--out", out, "--anomaly-value", "2"]) == 1
    assert (
        call(["tables", str(path), "--out", out, "--class", "2=anomaly", "--class", "*=normal", "--force"])
        == 0
    )
    assert Store(tmp_path / "out").manifest["label"].tolist() == [1, 0, 1]
    assert call(["tables", str(path), "--out", out, "--class", "2=ill"]) == 2


def test_a_categorical_column_that_no_table_has_is_a_usage_error(tmp_path, capsys):
    write(tmp_path, one="a,y\n1,0\n")
    assert call(["tables", str(tmp_path), "--out", str(tmp_path / "o"), "--categorical", "sex"]) == 2
    assert "no table has such a column" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.parametrize("name", ["arrhythmia", "cardio", "satellite", "satimage-2", "shuttle", "thyroid"])
def test_real_tables(data, tmp_path, name):
    path = data / "odds" / f"{name}.npz"
    tables([path], TableSettings(), IngestOptions(tmp_path / "out"))
    store, content = Store(tmp_path / "out"), np.load(path)
    assert np.array_equal(store.read(), content["X"].astype(np.float32))
    assert np.array_equal(store.manifest["label"], content["y"])


@pytest.mark.parametrize("words", [("NA", "EU", "None"), ("nan", "b", ""), ("1.000", "2.500", "null")])
@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
def test_categories_that_are_called_nothing_or_like_numbers_are_categories(tmp_path, words, ending):
    frame = pd.DataFrame({"a": np.linspace(0, 1, 6), "kind": [*words, *words]}).replace("", None)
    path = tmp_path / f"t.{ending}"
    getattr(frame, {"csv": "to_csv", "xlsx": "to_excel", "parquet": "to_parquet"}[ending])(path, index=False)
    settings = TableSettings(categorical=["kind"], decimal="auto" if ending == "csv" else ",")
    tables([path], settings, IngestOptions(tmp_path / "out"))
    named = [word for word in words if word]
    if ending == "csv" and "null" in words:  # among numbers it is a hole
        named.remove("null")
    values = Store(tmp_path / "out").read()
    assert values.shape == (6, 1 + len(named))
    assert values[:, 1:].sum(0).tolist() == [2] * len(named)


@pytest.mark.parametrize(
    ("argv", "labels"),
    [
        (["--class", "None=normal", "--class", "*=anomaly"], [0, 0, 0, 1]),
        (["--normal-value", "None"], [0, 0, 0, 1]),
        ([], [None, None, None, 1]),
    ],
)
def test_a_label_that_is_called_none_can_be_named(tmp_path, argv, labels, capsys):
    write(tmp_path, t="a,b,y\n1,2,None\n3,4,None\n2,2,None\n5,1,Tumor\n")
    assert call(["tables", str(tmp_path / "t.csv"), *argv, "--out", str(tmp_path / "out")]) == 0
    stated = Store(tmp_path / "out").manifest["label"]
    assert [None if pd.isna(label) else int(label) for label in stated] == labels
    assert ("None (3) as normal" if argv else "None (3) without label") in capsys.readouterr().err
