"""Another store than the run's own: what is of its groups, or a copy, is not new to it."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.evaluate import evaluate
from esad.pipeline.train import train
from tests.pipeline.commands import made
from tests.pipeline.stores import QUICK_TABLE


def rows(count: int, seed: int) -> pd.DataFrame:
    numbers = np.random.default_rng(seed)
    y = (numbers.random(count) < 0.3).astype(int)
    return pd.DataFrame(numbers.normal(size=(count, 3)) + y[:, None], columns=list("abc")).assign(label=y)


def stored(folder, name: str, table: pd.DataFrame):
    table.to_csv(folder / f"{name}.csv", index=False)
    made("tables", folder / f"{name}.csv", "--label", "label", "--out", folder / name)
    return folder / name


def scored(folder, name: str) -> pd.DataFrame:
    assert call(["score", str(folder / "run"), str(folder / name), "--overlays", "none"]) == 0
    return pd.read_parquet(folder / "run" / "scores" / name / "scores.parquet")


def known(folder, name: str = "own") -> pd.DataFrame:
    """The rows of the training store with their part."""
    used = pd.read_parquet(folder / "run" / "assignments.parquet")
    manifest = pd.read_parquet(folder / name / "manifest.parquet")[["item_id"]]
    return manifest.merge(used[["item_id", "part"]], on="item_id", how="left")


@pytest.fixture
def patients(tmp_path):
    """A run on 120 rows of 30 patients."""
    table = rows(120, 0).assign(group=[f"p{number % 30}" for number in range(120)])
    train(
        stored(tmp_path, "own", table),
        tmp_path / "run",
        None,
        [{**QUICK_TABLE, "data.validation_share": 0.2}],
    )
    return tmp_path


def test_items_of_patients_that_trained_or_validated_count_in_no_figure(patients, capsys):
    used = pd.read_parquet(patients / "run" / "assignments.parquet")
    parts = used.groupby("group")["part"].first()
    stored(patients, "new", rows(60, 1).assign(group=[f"p{number % 60}" for number in range(60)]))
    capsys.readouterr()
    table = scored(patients, "new")
    said = capsys.readouterr().err
    wanted = table["group"].map(parts.where(parts != "test")).astype("string")
    assert table["part"].astype("string").equals(wanted.rename("part"))
    seen = int(wanted.notna().sum())
    assert 0 < seen < 30
    assert (
        f"of 60 rows {seen} are of groups (patients, slides) that trained or validated; they count in no figure"
        in said
    )
    assert "a column group, and --force" in said
    outcome = evaluate(patients / "run" / "scores" / "new")
    assert (outcome.summary["items"], outcome.summary["seen"]) == (60 - seen, seen)
    assert f"Left out: {seen} labelled items" in outcome.message


def test_groups_of_other_names_and_of_the_test_part_are_new(patients, capsys):
    used = pd.read_parquet(patients / "run" / "assignments.parquet")
    tested = used.loc[used["part"] == "test", "group"].iloc[0]
    stored(patients, "new", rows(30, 2).assign(group=["q1", "q2", tested] * 10))
    capsys.readouterr()
    assert scored(patients, "new")["part"].isna().all()
    assert "count in no figure" not in capsys.readouterr().err
    assert evaluate(patients / "run" / "scores" / "new").summary["seen"] == 0


def test_runs_of_earlier_versions_take_the_groups_from_their_store(patients, capsys):
    path = patients / "run" / "assignments.parquet"
    pd.read_parquet(path).drop(columns="group").to_parquet(path)
    stored(patients, "new", rows(30, 1).assign(group=[f"p{number}" for number in range(30)]))
    there = scored(patients, "new")["part"]
    assert there.notna().any()
    shutil.move(patients / "own", patients / "gone")
    stored(patients, "more", rows(30, 3).assign(group=[f"p{number}" for number in range(30)]))
    capsys.readouterr()
    assert scored(patients, "more")["part"].isna().all()
    assert (
        "this run of an earlier version does not say its groups, and its store is gone"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("copies", [True, False])
def test_copies_of_rows_that_trained_are_not_new_unless_equal_rows_are_no_copies(tmp_path, capsys, copies):
    """A table that has grown under another name. Where equal rows are others (data.copies_together), nothing tells them apart."""
    table = rows(100, 0)
    settings = {**QUICK_TABLE, "data.validation_share": 0.2, "data.copies_together": copies}
    train(stored(tmp_path, "own", table), tmp_path / "run", None, [settings])
    stored(tmp_path, "grown", pd.concat([rows(20, 1), table]))
    capsys.readouterr()
    found = scored(tmp_path, "grown")
    wanted = known(tmp_path)["part"]
    wanted = wanted.where(wanted != "test")
    assert found["part"].iloc[:20].isna().all()
    told = (
        f"of 120 rows {int(wanted.notna().sum())} are copies of items that trained or validated"
        in capsys.readouterr().err
    )
    assert told == copies
    if copies:
        assert (
            found["part"].iloc[20:].astype(object).fillna("").tolist()
            == wanted.astype(object).fillna("").tolist()
        )
    else:
        assert found["part"].isna().all()


def test_scoring_goes_on_where_the_training_store_has_lost_its_values(tmp_path, capsys):
    train(stored(tmp_path, "own", rows(60, 0)), tmp_path / "run", None, [QUICK_TABLE])
    (tmp_path / "own" / "shards" / "00000.npy").write_bytes(b"")
    stored(tmp_path, "new", rows(20, 1))
    capsys.readouterr()
    assert scored(tmp_path, "new")["part"].isna().all()
    assert "Copies of items that trained or validated cannot be looked for" in capsys.readouterr().err


def test_files_that_share_only_their_names_with_those_of_training_are_new(tmp_path, capsys):
    """As slides of two archives: `s0` of the one is not `s0` of the other; the same file under another folder is."""

    def archive(name, seeds):
        (tmp_path / name).mkdir()
        for number, seed in enumerate(seeds):
            table = rows(40, seed).assign(group=f"s{number}")
            table.to_csv(tmp_path / name / f"s{number}.csv", index=False)
        made("tables", tmp_path / name, "--label", "label", "--out", tmp_path / f"{name}-store")
        return tmp_path / f"{name}-store"

    train(archive("first", range(5)), tmp_path / "run", None, [{**QUICK_TABLE, "data.validation_share": 0.2}])
    capsys.readouterr()
    archive("other", [10, 11, 12, 13, 14])
    assert scored(tmp_path, "other-store")["part"].isna().all()
    assert "count in no figure" not in capsys.readouterr().err
    archive("mixed", [0, 1, 2, 3, 20])
    table = scored(tmp_path, "mixed-store")
    parts = known(tmp_path, "first-store")["part"].iloc[:160].reset_index(drop=True)
    seen = table["part"].iloc[:160].notna().to_numpy()
    assert seen[parts.isin(["train", "validation"]).to_numpy()].all()
    assert table["part"].iloc[160:].isna().all()


def test_copies_that_cannot_be_looked_for_are_told(tmp_path, capsys):
    train(stored(tmp_path, "own", rows(120, 0)), tmp_path / "run", None, [QUICK_TABLE])
    stored(tmp_path, "again", pd.concat([rows(120, 0), rows(40, 9)]))
    shutil.move(tmp_path / "own", tmp_path / "elsewhere")
    capsys.readouterr()
    scored(tmp_path, "again")
    assert "copies of items that trained or validated cannot be looked for" in capsys.readouterr().err
