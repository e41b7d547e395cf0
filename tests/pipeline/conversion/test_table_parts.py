"""Tables whose folders or files are called after a part of the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.conversion.table_parts import CONTRADICTS, parts_by_name, told_of_names
from esad.preprocessing.store.store import Store


def write(path, rows=20, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(rows).normal(size=(rows, 3)).round(3)
    frame = pd.DataFrame(values, columns=list("abc")).assign(y=[0] * (rows - 2) + [1, 1], **more)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)


def tables(folder, *more):
    return call(["tables", str(folder / "in"), "--out", str(folder / "out"), *more])


def parts(folder):
    return Store(folder / "out").manifest["split"].astype(object).fillna("none").value_counts().to_dict()


@pytest.mark.parametrize(
    "pattern",
    ["split={}/part-0.parquet", "{}/t.csv", "{}.csv", "{}-00000-of-00001.parquet", "a_{}.csv", "{}_a.csv"],
)
def test_folders_and_files_that_are_called_after_parts_say_them(tmp_path, pattern, capsys):
    write(tmp_path / "in" / pattern.format("train"))
    write(tmp_path / "in" / pattern.format("test"), rows=10)
    assert tables(tmp_path) == 0
    assert parts(tmp_path) == {"train": 20, "test": 10}
    said = capsys.readouterr().err
    assert "read as the part 'train', by its name (--split none: training draws the parts)" in said
    assert tables(tmp_path, "--split", "none", "--force") == 0
    assert "in their names" not in capsys.readouterr().err
    assert parts(tmp_path) == {"none": 30}


def test_a_column_of_parts_comes_before_names(tmp_path, capsys):
    write(tmp_path / "in" / "train.csv", split=["validation"] * 10 + ["test"] * 10)
    assert tables(tmp_path) == 0
    assert parts(tmp_path) == {"validation": 10, "test": 10}
    assert "by its name" not in capsys.readouterr().err


def test_folder_and_file_of_two_parts_are_refused_alone(tmp_path):
    write(tmp_path / "in" / "train" / "test.csv")
    write(tmp_path / "in" / "train" / "a.csv", rows=10)
    assert tables(tmp_path) == 3
    assert parts(tmp_path) == {"train": 10}
    assert "is called as another" in pd.read_csv(tmp_path / "out" / "failures.csv")["reason"][0]


@pytest.mark.parametrize("more", [(), ("--anonymous",)])
@pytest.mark.parametrize(("first", "then"), [("a_train", "a_test"), ("train", "test")])
def test_a_table_that_came_first_is_not_left_without_its_part(
    tmp_path, more, first, then, capsys, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "in" / f"{first}.csv")
    assert tables(tmp_path, *more) == 0
    assert parts(tmp_path) == {"none": 20}
    write(tmp_path / "in" / f"{then}.csv", rows=10)
    assert tables(tmp_path, *more) == 1
    assert "1 tables of an earlier call were read as of no part" in capsys.readouterr().err
    assert tables(tmp_path, *more, "--force") == 0
    assert parts(tmp_path) == {"train": 20, "test": 10}


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["train.csv"], {}),
        (["test1.csv", "test2.csv"], {}),
        (["valid.csv", "invalid.csv"], {}),
        (["KDDTrain+.csv", "KDDTest+.csv"], {"KDDTrain+.csv": "train", "KDDTest+.csv": "test"}),
        (
            ["UNSW_NB15_training-set.csv", "UNSW_NB15_testing-set.csv"],
            {"UNSW_NB15_training-set.csv": "train", "UNSW_NB15_testing-set.csv": "test"},
        ),
        (
            ["Training_Set.csv.gz", "valid_2.csv"],
            {"Training_Set.csv.gz": "train", "valid_2.csv": "validation"},
        ),
        (["ECG_TRAIN.tsv", "ECG_TEST.tsv"], {"ECG_TRAIN.tsv": "train", "ECG_TEST.tsv": "test"}),
        (["a_train.csv", "b_test.csv"], {}),
        (["stress_test.csv", "a.csv"], {}),
        (["a_train_1.csv", "a_train_2.csv"], {}),
        (["x/a_train.csv", "y/a_test.csv"], {}),
        (["train/test.csv"], {"train/test.csv": CONTRADICTS}),
        (["2021.csv", "part-0.csv", "a.csv"], {}),
    ],
)
def test_what_is_called_after_a_part(sources, found):
    assert parts_by_name(sources) == found


def test_names_that_are_not_read_are_told():
    assert "2 tables have a part" in told_of_names(["a_train.csv", "b_test.csv"], {}, named=True)[0]
    assert "b_test" not in told_of_names(["b_test.csv", "c.csv"], {}, named=False)[0]
    assert told_of_names(["stress_test.csv"], {}, named=True) == []
    assert told_of_names(["normal/t.csv", "train/t.csv"], {"train/t.csv": "train"}, named=True) == [
        "folders such as 'normal' say nothing of tables: their labels are a column."
    ]
