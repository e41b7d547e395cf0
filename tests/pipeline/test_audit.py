"""`esad audit` through the command line: a clean run passes; each check fails on the run that breaks it, and on no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from esad.pipeline.cli.app import call
from esad.pipeline.run import run_workflow
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.scores_table import parts_of
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store, file_digest
from tests.pipeline.stores import QUICK_TABLE, make_store

FILE_CHECKS = [
    "shards_fit", "places_fit", "places_apart", "shards_used", "counts_agree", "manifest_unchanged", "shards_unchanged",
    "values_finite",
]  # fmt: skip
RUN_CHECKS = [
    "items_exist", "parts_known", "one_part", "groups_apart", "identical_apart", "labels_agree", "scaling_on_training",
]  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder with a store and a run on it."""
    folder = tmp_path_factory.mktemp("audit")
    make_store(folder)
    short = {**QUICK_TABLE, "train.steps": 2, "train.warmup.steps": 2}
    train(folder / "store", folder / "run", None, [short])
    return folder


@pytest.fixture
def copy(clean, tmp_path):
    """A copy of it that a test may spoil."""
    folder = tmp_path / "copy"
    shutil.copytree(clean, folder)
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    config["store"]["path"] = str(folder / "store")
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def audited(path: Path, capsys: pytest.CaptureFixture) -> tuple[int, dict, str]:
    """(exit status, what --json prints, what people read)."""
    status = call(["audit", str(path), "--json"])
    told = capsys.readouterr()
    return status, json.loads(told.out), told.err


def failed(summary: dict) -> list[str]:
    return [check["name"] for check in summary["checks"] if not check["passed"]]


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """`edit` made to a table; a manifest's digest is stated anew, so that other rules are tried on their own."""
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    if path.name == "manifest.parquet":
        set_description("manifest_digest", file_digest(path))(path.parent)


def one_of(table: pd.DataFrame, part: str, label: int) -> int:
    """The first row of a part and label."""
    return int(np.flatnonzero((table["part"] == part) & (table["label"] == label))[0])


def test_a_clean_run_passes_and_says_what_was_checked(clean, capsys):
    status, summary, told = audited(clean / "run", capsys)
    assert status == 0
    assert summary["passed"] is True
    assert {check["name"] for check in summary["checks"]} == {*FILE_CHECKS, "store_unchanged", *RUN_CHECKS}
    assert summary["unchecked"] == []
    assert all(check["count"] == 0 and check["examples"] == [] for check in summary["checks"])
    assert "all 16 checks passed" in told


def unknown_item(folder: Path) -> None:
    def edit(table):
        table.loc[0, "item_id"] = "a-none"
        return table

    change(folder / "run" / "assignments.parquet", edit)
    weights = load_file(folder / "run" / "model.safetensors")  # the row may have held an extreme
    rest = Store(folder / "store")
    used = pd.read_parquet(folder / "run" / "assignments.parquet").query("part == 'train'")["item_id"]
    rows = rest.read(np.flatnonzero(rest.manifest["item_id"].isin(used)))
    weights["scaler.minimum"][0, 0] = torch.from_numpy(rows.min(0))
    weights["scaler.range"][0, 0] = torch.from_numpy(rows.max(0) - rows.min(0))
    if "scaler.median" in weights:
        weights["scaler.median"][0, 0] = torch.from_numpy(rows).nanmedian(0).values
    save_file(weights, folder / "run" / "model.safetensors")


def unknown_part(folder: Path) -> None:
    def edit(table):
        table.loc[one_of(table, "test", 0), "part"] = "tset"
        return table[~((table["part"] == "test") & table["item_id"].isin(siblings(folder, table)))]

    change(folder / "run" / "assignments.parquet", edit)


def siblings(folder: Path, table: pd.DataFrame) -> pd.Series:
    """Items of the groups that the misspelt part has."""
    manifest = pd.read_parquet(folder / "store" / "manifest.parquet")
    odd = manifest.loc[manifest["item_id"].isin(table.loc[table["part"] == "tset", "item_id"]), "group"]
    return manifest.loc[manifest["group"].isin(odd), "item_id"]


def used_twice(folder: Path) -> None:
    def edit(table):
        return pd.concat([table, table.iloc[[one_of(table, "test", 0)]]])

    change(folder / "run" / "assignments.parquet", edit)


def group_on_both_sides(folder: Path) -> None:
    table = pd.read_parquet(folder / "run" / "assignments.parquet")
    trained, tested = (table.loc[one_of(table, part, 0), "item_id"] for part in ("train", "test"))

    def edit(manifest):
        group = manifest.loc[manifest["item_id"] == trained, "group"].iloc[0]
        manifest.loc[manifest["item_id"] == tested, "group"] = group
        return manifest

    change(folder / "store" / "manifest.parquet", edit)


def copy_on_both_sides(folder: Path) -> None:
    table = pd.read_parquet(folder / "run" / "assignments.parquet")
    manifest = pd.read_parquet(folder / "store" / "manifest.parquet").set_index("item_id")
    trained, tested = (
        manifest.loc[table.loc[one_of(table, part, 0), "item_id"], "index"] for part in ("train", "test")
    )
    path = folder / "store" / "shards" / "00000.npy"
    rows = np.load(path)
    rows[tested] = rows[trained]
    np.save(path, rows)


def wrong_semi_label(folder: Path) -> None:
    def edit(table):
        table.loc[one_of(table, "train", 0), "semi_label"] = -1
        return table

    change(folder / "run" / "assignments.parquet", edit)


def scaled_by_all(folder: Path) -> None:
    weights = load_file(folder / "run" / "model.safetensors")
    weights["scaler.range"][0, 0, 2] *= 1.01
    save_file(weights, folder / "run" / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "name", "advice"),
    [
        (unknown_item, "items_exist", "no such items"),
        (unknown_part, "parts_known", "none of train, validation, test"),
        (used_twice, "one_part", "more than once"),
        (group_on_both_sides, "groups_apart", "divides whole groups"),
        (copy_on_both_sides, "identical_apart", "remove the copies"),
        (wrong_semi_label, "labels_agree", "contradicts itself"),
        (scaled_by_all, "scaling_on_training", "train anew"),
    ],
    ids=RUN_CHECKS,
)
def test_each_check_fails_on_the_run_that_breaks_it(copy, capsys, spoil, name, advice):
    spoil(copy)
    status, summary, told = audited(copy / "run", capsys)
    assert status == 1
    assert summary["passed"] is False
    changed = {copy_on_both_sides: {"shards_unchanged"}, unknown_item: {"store_unchanged"}}.get(spoil, set())
    assert set(failed(summary)) == {name, *changed}
    check = next(check for check in summary["checks"] if check["name"] == name)
    assert 0 < len(check["examples"]) <= min(5, check["count"])
    assert name in told
    assert advice in told
    assert check["examples"][0] in told


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [("split", "tset", "parts_known"), ("semi_label", 1, "labels_agree"), ("item_id", None, "one_part")],
)
def test_a_stores_stated_split_is_checked(copy, capsys, column, value, name):
    def edit(manifest):
        manifest["split"] = manifest["group"].map(lambda group: "test" if int(group[1:]) % 3 == 0 else None)
        abnormal = int(np.flatnonzero((manifest["label"] == 1) & manifest["split"].isna())[0])
        manifest.loc[abnormal, column] = manifest["item_id"].iloc[0] if value is None else value
        return manifest

    change(copy / "store" / "manifest.parquet", edit)
    status, summary, _ = audited(copy / "store", capsys)
    assert (status, failed(summary)) == (1, [name])


def test_a_store_without_a_stated_split_says_what_it_could_not_check(clean, tmp_path, capsys):
    make_store(tmp_path, "images")
    for store, count in ((clean / "store", 10), (tmp_path / "store", 9)):
        status, summary, told = audited(store, capsys)
        assert status == 3
        assert summary["passed"] is True
        assert f"all {count} checks passed" in told
        assert "Not checked: the split (no item states one" in told
        assert len(summary["unchecked"]) == 1


def test_a_store_with_a_stated_split_is_checked_as_a_whole(copy, capsys):
    state_a_split(copy / "store")
    status, summary, _ = audited(copy / "store", capsys)
    assert (status, failed(summary), summary["unchecked"]) == (0, [], [])


def state_a_split(store: Path) -> None:
    def edit(manifest):
        third = manifest["group"].map(lambda group: "test" if int(group[1:]) % 3 == 0 else "train")
        return manifest.assign(split=third)

    change(store / "manifest.parquet", edit)


def set_manifest(column: str, row: int, value: object) -> Callable[[Path], None]:
    def spoil(store: Path) -> None:
        def edit(table):
            table.loc[row, column] = value
            return table

        change(store / "manifest.parquet", edit)

    return spoil


def set_array(edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(store: Path) -> None:
        path = store / "shards" / "00000.npy"
        np.save(path, edit(np.load(path)))

    return spoil


def infinite(array: np.ndarray) -> np.ndarray:
    array[3, 2] = np.inf
    return array


def set_description(name: str, value: object) -> Callable[[Path], None]:
    def spoil(store: Path) -> None:
        path = store / "store.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return spoil


def row_dropped(store: Path) -> None:
    change(store / "manifest.parquet", lambda table: table.iloc[1:])


def source_miscounted(store: Path) -> None:
    change(store / "sources.parquet", lambda table: table.assign(items=table["items"] - 1))


@pytest.mark.parametrize(
    ("spoil", "names", "example"),
    [
        (set_manifest("index", 4, -1), {"places_fit"}, None),
        (set_manifest("index", 4, 5), {"places_apart"}, None),
        (set_manifest("index", 4, 120), {"places_fit"}, None),
        (set_manifest("shard", 4, 3), {"shards_fit"}, "00003.npy"),
        (set_manifest("label", 4, 2), {"labels_agree"}, None),
        (set_manifest("source", 4, "b.npz"), {"counts_agree"}, "b.npz"),
        (
            lambda store: shutil.copy(store / "shards/00000.npy", store / "shards/00007.npy"),
            {"shards_used"}, "00007.npy",
        ),
        (lambda store: (store / "shards/00000.npy").unlink(), {"shards_fit"}, "00000.npy"),
        (set_array(lambda array: array[:60]), {"places_fit", "shards_unchanged"}, None),
        (set_array(lambda array: array.astype(np.float64)), {"shards_fit"}, "00000.npy"),
        (set_array(lambda array: array[:, :4]), {"shards_fit"}, "00000.npy"),
        (set_array(lambda array: array[::-1]), {"shards_unchanged"}, "00000.npy"),
        (set_array(infinite), {"shards_unchanged", "values_finite"}, None),
        (set_description("items", 7), {"counts_agree"}, "store.json (7 items, the manifest has 120)"),
        (set_description("inputs", "0123"), {"counts_agree"}, "store.json (inputs)"),
        (row_dropped, {"counts_agree"}, "a.npz"),
        (source_miscounted, {"counts_agree"}, "a.npz"),
    ],
)  # fmt: skip
def test_files_of_a_store_that_do_not_belong_together_are_found(copy, capsys, spoil, names, example):
    spoil(copy / "store")
    status, summary, told = audited(copy / "store", capsys)
    assert (status, set(failed(summary))) == (1, names)
    if example:
        assert example in told


def test_a_store_older_than_the_digests_says_that_its_shards_could_not_be_checked(copy, capsys):
    state_a_split(copy / "store")
    change(copy / "store" / "sources.parquet", lambda table: table.drop(columns="shard_digest"))
    status, summary, told = audited(copy / "store", capsys)
    assert (status, failed(summary)) == (3, [])
    assert "Not checked: shards_unchanged (1 of 1 shards have no digest" in told


@pytest.mark.parametrize(
    "edit",
    [
        lambda table: table.assign(index=table["index"].to_numpy()[::-1]),
        lambda table: table.assign(label=1 - table["label"]),
        lambda table: table.assign(group="one"),
        lambda table: table[::-1],
    ],
    ids=["index", "label", "group", "order"],
)
def test_a_manifest_that_is_not_what_was_written_is_found(copy, capsys, edit):
    path = copy / "store" / "manifest.parquet"
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    status, summary, told = audited(copy / "store", capsys)
    assert (status, failed(summary)) == (1, ["manifest_unchanged"])
    assert "manifest.parquet): this file is not what the ingest stage wrote" in told
    assert "--labels" in told


def test_a_store_older_than_the_manifests_digest_says_so(copy, capsys):
    state_a_split(copy / "store")
    path = copy / "store" / "store.json"
    content = json.loads(path.read_text())
    del content["manifest_digest"]
    path.write_text(json.dumps(content))
    status, summary, told = audited(copy / "store", capsys)
    assert (status, failed(summary)) == (3, [])
    assert "Not checked: manifest_unchanged (store.json has no digest of it" in told


@pytest.mark.parametrize("value", [None, 5, "", []])
def test_a_digest_that_is_none_is_no_agreement(copy, capsys, value):
    set_description("manifest_digest", value)(copy / "store")
    status = call(["audit", str(copy / "store"), "--json"])
    told = capsys.readouterr()
    assert status == 1
    assert "manifest_" in told.out
    assert "a fault of esad itself" not in told.err


def test_copies_are_told(copy, capsys):
    def edit(array):
        array[3] = array[9]
        return array

    set_array(edit)(copy / "store")
    for other in (0, 1):

        def label(manifest, other=other):
            manifest.loc[3, "label"], manifest.loc[9, "label"] = 0, other
            return manifest

        change(copy / "store" / "manifest.parquet", label)
        told = audited(copy / "store", capsys)[2]
        assert "1 items are copies of others" in told
        assert ("2 items have the same content and opposite labels" in told) == bool(other)


def test_a_shard_of_an_earlier_try_is_no_stray(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a.npz", X=np.random.default_rng(0).normal(size=(8, 3)), y=[0, 1] * 4)
    words = ["tables", str(tmp_path / "in"), "--out", str(tmp_path / "store")]
    assert call(words) == 0
    np.savez(tmp_path / "in" / "a.npz", X=np.random.default_rng(1).normal(size=(6, 3)), y=[0, 1] * 3)
    assert call(words) == 0
    capsys.readouterr()
    status, summary, _ = audited(tmp_path / "store", capsys)
    assert (status, failed(summary)) == (3, [])


def test_what_is_neither_run_nor_store_is_refused(tmp_path, capsys):
    assert call(["audit", str(tmp_path / "nowhere")]) == 2
    assert call(["audit", str(tmp_path)]) == 1
    assert "neither a run" in capsys.readouterr().err


def test_a_workflow_ends_where_an_audit_fails(copy):
    scaled_by_all(copy)
    (copy / "check.yaml").write_text("- {name: check, stage: audit, inputs: [run]}\n")
    with pytest.raises(EsadError, match=r"(?s)'check' \(1 of 1\) failed.*scaling_on_training"):
        run_workflow(copy / "check.yaml", copy / "out")


def test_a_published_split_overlaps_says_so_everywhere_and_fails_its_audit(tmp_path, capsys):
    make_ungrouped(tmp_path)
    short = ["--set", "train.steps=2", "--set", "train.warmup.steps=2", "--set", "train.batch_size=16"]
    run = tmp_path / "run"
    words = ["train", str(tmp_path / "store"), "--out", str(run), "--set", "data.split=published", *short]
    assert call([*words, "--json"]) == 0
    told = capsys.readouterr()
    shared = json.loads(told.out)["overlap"]
    assert 0.3 < shared["normals_trained_on"] < 0.8
    assert "of the test normals were trained on" in told.err
    assert json.loads((run / "provenance.json").read_text())["overlap"] == shared

    assert call(["score", str(run)]) == 0
    assert call(["evaluate", str(run), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["overlap"] == shared
    assert metrics["items"] == 32 + 16  # 40 % of 80 and of 40: every test row counts, trained on or not

    status, summary, told = audited(run, capsys)
    assert status == 1
    assert set(failed(summary)) == {"one_part", "identical_apart"}
    assert "published one" in told
    assert "data.split=clean" in told


def test_what_both_sides_of_a_published_split_have_is_never_new_in_another_store(tmp_path):
    make_ungrouped(tmp_path)
    settings = {**QUICK_TABLE, "train.steps": 2, "train.warmup.steps": 2, "data.split": "published"}
    train(tmp_path / "store", tmp_path / "run", None, [settings])
    run, store = open_run(tmp_path / "run"), Store(tmp_path / "store")
    seen = set(run.assignments.loc[run.assignments["part"] != "test", "item_id"])
    assert "test" in set(parts_of(run, store))
    shutil.copytree(store.root, tmp_path / "other")
    description = json.loads((tmp_path / "other" / "store.json").read_text())
    description["inputs"] = "others"
    (tmp_path / "other" / "store.json").write_text(json.dumps(description))
    parts = pd.Series(parts_of(run, Store(tmp_path / "other")))
    assert set(store.manifest["item_id"][parts.notna()]) == seen


def make_ungrouped(folder: Path) -> None:
    make_store(folder)

    def edit(manifest):
        return manifest.assign(group=pd.array([pd.NA] * len(manifest), dtype="string"))

    change(folder / "store" / "manifest.parquet", edit)


def test_copies_are_on_one_side_of_a_clean_split(tmp_path, capsys):
    numbers = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 20])
    x = numbers.normal(size=(80, 4)) + 2 * y[:, None]
    x[40:60] = x[:20]  # a third of the normals are there twice
    np.savez(tmp_path / "twice.npz", X=x, y=y)
    assert call(["tables", str(tmp_path / "twice.npz"), "--out", str(tmp_path / "store")]) == 0
    short = ["--set", "train.steps=2", "--set", "train.warmup.steps=2", "--set", "train.batch_size=8"]
    for name, status in (("true", 0), ("false", 1)):
        run = tmp_path / name
        words = [
            "train",
            str(tmp_path / "store"),
            "--out",
            str(run),
            *short,
            "--set",
            f"data.copies_together={name}",
        ]
        assert call(words) == 0
        found, summary, _ = audited(run, capsys)
        assert found == status
        assert failed(summary) == ([] if status == 0 else ["identical_apart"])


def test_a_source_that_is_there_twice_is_told(tmp_path, capsys):
    store = make_store(tmp_path, shards=2)
    path = store.root / "sources.parquet"
    table = pd.read_parquet(path)
    pd.concat([table, table.iloc[:1]]).to_parquet(path)
    assert call(["audit", str(store.root), "--json"]) == 1
    found = capsys.readouterr()
    assert "counts_agree" in found.err
    assert "a fault of esad" not in found.err
