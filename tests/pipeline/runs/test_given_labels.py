"""Labels given for one training: what a person marked counts in this run, and the store stays as it is."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import QUICK_TABLE, make_store

SHORT = [
    word
    for name, value in {**QUICK_TABLE, "train.steps": 3, "train.warmup.steps": 2}.items()
    for word in ("--set", f"{name}={value}")
]


@pytest.fixture
def store(tmp_path):
    """A store none of whose items has a label."""
    make_store(tmp_path)
    opened = Store(tmp_path / "store")
    unknown = pd.DataFrame({"item_id": opened.manifest["item_id"], "label": None})
    truth = opened.manifest[["item_id", "label"]]
    path = tmp_path / "store" / "manifest.parquet"
    opened.manifest.assign(label=unknown["label"].astype("Int8").array).to_parquet(path)
    return truth


def run(tmp_path, name, *words):
    return call(["train", str(tmp_path / "store"), "--out", str(tmp_path / name), *SHORT, *words])


def test_marks_are_labelled_anomalies_of_this_run_alone(tmp_path, store, capsys):
    marked = store[store["label"] == 1].head(12).assign(mark="anomaly", comment="a, b", reader="")
    marked.to_csv(tmp_path / "marks.csv", index=False)
    before = (tmp_path / "store" / "manifest.parquet").read_bytes()
    assert run(tmp_path, "with", "--labels", str(tmp_path / "marks.csv")) == 0
    assert run(tmp_path, "without") == 0
    assert (tmp_path / "store" / "manifest.parquet").read_bytes() == before
    used = {name: pd.read_parquet(tmp_path / name / "assignments.parquet") for name in ("with", "without")}
    trained = used["with"][used["with"]["semi_label"] == -1]
    assert 0 < len(trained) <= 12
    assert set(trained["item_id"]) <= set(marked["item_id"])
    assert (used["without"]["semi_label"] != -1).all()
    marked.head(3).to_csv(tmp_path / "marks.csv", index=False)
    capsys.readouterr()
    assert run(tmp_path, "with", "--labels", str(tmp_path / "marks.csv")) == 1
    assert "made with other --labels" in capsys.readouterr().err
    assert call(["score", str(tmp_path / "with")]) == 0


def parts(tmp_path, name):
    used = pd.read_parquet(tmp_path / name / "assignments.parquet")
    return {part: set(used.loc[used["part"] == part, "item_id"]) for part in ("train", "validation", "test")}


def test_marks_change_neither_the_test_part_nor_the_validation_part(tmp_path):
    make_store(tmp_path)
    manifest = Store(tmp_path / "store").manifest
    truth = manifest[["item_id", "label"]]
    half = manifest["group"].isin(sorted(manifest["group"].unique())[::2])  # of the others nothing is known
    manifest.assign(label=manifest["label"].where(half)).to_parquet(tmp_path / "store" / "manifest.parquet")
    assert run(tmp_path, "without") == 0
    before = parts(tmp_path, "without")
    marks = truth[~half & (truth["label"] == 1)].head(12)
    inside = truth[truth["item_id"].isin(before["test"])].assign(label=1)
    pd.concat([marks, inside]).to_csv(tmp_path / "marks.csv", index=False)
    assert run(tmp_path, "with", "--labels", str(tmp_path / "marks.csv")) == 0
    after = parts(tmp_path, "with")
    assert after["test"] == before["test"]
    assert after["validation"] == before["validation"]
    assert set(marks["item_id"]) <= after["train"]
    used = pd.read_parquet(tmp_path / "with" / "assignments.parquet").set_index("item_id")
    assert (used.loc[marks["item_id"], "semi_label"] == -1).all()
    assert used.loc[sorted(after["test"]), "semi_label"].isna().all()


def test_marks_that_state_a_split_are_in_it(tmp_path, store):
    marks = store.assign(split="train")
    marks.loc[marks.index[::4], "split"] = "test"
    marks.to_csv(tmp_path / "marks.csv", index=False)
    groups = Store(tmp_path / "store").manifest.assign(group=None)
    groups.to_parquet(tmp_path / "store" / "manifest.parquet")
    assert run(tmp_path, "run", "--labels", str(tmp_path / "marks.csv")) == 0
    assert parts(tmp_path, "run")["test"] == set(marks.loc[marks["split"] == "test", "item_id"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("item_id,label\nnobody,1\n", "none of its 1 labels is of an item in"),
        ("item_id,label,group\n{item},1,g\n", "a group is the store's own"),
        ("item_id,label,site\n{item},1,s\n", "a site is the store's own"),
        ("item_id,label\nnobody,2\n", "label '2' is none of 0, 1 or empty"),
    ],
)
def test_labels_that_cannot_be_meant(tmp_path, store, content, told, capsys):
    (tmp_path / "marks.csv").write_text(content.format(item=store["item_id"].iloc[0]))
    assert run(tmp_path, "run", "--labels", str(tmp_path / "marks.csv")) == 2
    assert told in capsys.readouterr().err


def test_labels_of_no_item_are_said_and_the_others_taken(tmp_path, store, capsys):
    pd.concat([store.head(30), pd.DataFrame({"item_id": ["nobody"], "label": [1]})]).to_csv(
        tmp_path / "m.csv", index=False
    )
    train(
        tmp_path / "store",
        tmp_path / "run",
        None,
        [{**QUICK_TABLE, "train.steps": 3}],
        labels=tmp_path / "m.csv",
    )
    assert "1 of 31 labels match no item (first: nobody)" in capsys.readouterr().err


def test_what_becomes_of_marks_is_said_and_audited_and_not_suggested_again(tmp_path, capsys):
    make_store(tmp_path)
    manifest = Store(tmp_path / "store").manifest
    half = manifest["group"].isin(sorted(manifest["group"].unique())[::2])
    manifest.assign(label=manifest["label"].where(half)).to_parquet(tmp_path / "store" / "manifest.parquet")
    assert run(tmp_path, "without") == 0
    tested = sorted(parts(tmp_path, "without")["test"])[:3]
    marks = manifest[~half & (manifest["label"] == 1)].head(12)[["item_id", "label"]]
    doubted = manifest[half & (manifest["label"] == 1)][["item_id"]].assign(semi_label=0)
    given = pd.concat(
        [marks, pd.DataFrame({"item_id": tested, "label": 1}), doubted[~doubted["item_id"].isin(tested)]]
    )
    given.to_csv(tmp_path / "marks.csv", index=False)
    capsys.readouterr()
    assert run(tmp_path, "with", "--labels", str(tmp_path / "marks.csv")) == 0
    said = capsys.readouterr().err
    assert "items that validate or test, where figures keep the labels of the store" in said
    used = pd.read_parquet(tmp_path / "with" / "assignments.parquet").set_index("item_id")
    assert set(used.index[used["semi_label"] == -1]) <= set(
        marks["item_id"]
    )  # those in doubt train as unlabelled
    call(["audit", str(tmp_path / "with")])  # the manifest was changed by this test, which is told
    said = capsys.readouterr().err
    assert "labels_agree (" not in said
    assert "the run's labels against the store's (it was given labels of a file)" in said
    assert call(["score", str(tmp_path / "with"), "--overlays", "none"]) == 0
    assert (
        call(["suggest", str(tmp_path / "with"), "--count", "500", "--out", str(tmp_path / "next.csv")]) == 0
    )
    asked = set(pd.read_csv(tmp_path / "next.csv")["item_id"])
    assert asked
    assert not asked & set(used.index[used["semi_label"] == -1])


def test_marks_of_items_that_validate_or_test_change_no_figure(tmp_path):
    make_store(tmp_path)
    share = ("--set", "data.validation_share=0.3")
    assert run(tmp_path, "without", *share) == 0
    used = pd.read_parquet(tmp_path / "without" / "assignments.parquet")
    marks = used[used["part"] != "train"].assign(label=lambda table: 1 - table["label"])[["item_id", "label"]]
    marks.to_csv(tmp_path / "marks.csv", index=False)
    assert run(tmp_path, "with", *share, "--labels", str(tmp_path / "marks.csv")) == 0
    for name in ("assignments", "normals"):
        before, after = (pd.read_parquet(tmp_path / each / f"{name}.parquet") for each in ("without", "with"))
        pd.testing.assert_frame_equal(before, after)
    figures = [
        json.loads((tmp_path / each / "provenance.json").read_text())["validation"]
        for each in ("without", "with")
    ]
    assert figures[0] == figures[1]
    assert figures[0]["anomaly"] > 0
