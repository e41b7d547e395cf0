"""A store that is made anew at the path that a run was trained on is noticed; new data elsewhere, and new labels, are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from esad.pipeline.cli.app import call
from esad.pipeline.runs.run_folder import open_run
from esad.pipeline.scoring.scores_table import parts_of
from esad.preprocessing.store.store import Store

SHORT = [
    "--set",
    "train.steps=2",
    "--set",
    "train.warmup.steps=2",
    "--set",
    "train.batch_size=8",
    "--set",
    "network.width=1",
]


def write_archive(folder: Path, name: str = "a", seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    numbers = np.random.default_rng(seed)
    y = np.repeat([0, 1], [40, 20])
    np.savez(folder / f"{name}.npz", X=numbers.normal(size=(60, 4)) + 3 * y[:, None], y=y)


def ingest(folder: Path, *words: str) -> int:
    return call(["tables", str(folder / "in"), "--out", str(folder / "store"), *words])


@pytest.fixture
def trained(tmp_path) -> Path:
    """A folder with an archive of two tables, its store and a run."""
    for seed, name in enumerate("ab"):
        write_archive(tmp_path / "in", name, seed)
    assert ingest(tmp_path) == 0
    assert call(["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), *SHORT]) == 0
    return tmp_path


def inputs_changed(folder: Path) -> None:
    write_archive(folder / "in", "a", 7)
    assert ingest(folder) == 0


def input_added(folder: Path) -> None:
    write_archive(folder / "in", "c", 7)
    assert ingest(folder) == 0


def input_gone(folder: Path) -> None:
    (folder / "in" / "b.npz").unlink()
    assert ingest(folder) == 0


def settings_changed(folder: Path) -> None:
    path = folder / "store" / "store.json"
    content = json.loads(path.read_text())
    content["settings"]["where"] = {"group": "x"}
    path.write_text(json.dumps(content))


def items_left_out(folder: Path) -> None:
    path, marker = (folder / "store" / name for name in ("manifest.parquet", "store.json"))
    table = pd.read_parquet(path).iloc[:-3]
    table.to_parquet(path, index=False)
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"items": len(table)}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (inputs_changed, ["inputs (1 changed, first a.npz)"]),
        (input_added, ["inputs (1 new, first c.npz)", "items (120 -> 180)"]),
        (input_gone, ["inputs (1 gone, first b.npz)", "items (120 -> 60)"]),
        (settings_changed, ["settings (where.group: None -> 'x')"]),
        (items_left_out, ["items (120 -> 117)"]),
    ],
)
def test_what_is_other_in_the_store_is_named_and_force_goes_on(trained, capsys, change, named):
    change(trained)
    capsys.readouterr()
    score = ["score", str(trained / "run")]
    assert call(score) == 1
    error = capsys.readouterr().err
    assert (
        f"{trained / 'store'}: made anew since {trained / 'run'} was trained on it: {', '.join(named)}."
        in error
    )
    assert "--force" in error
    assert call([*score, "--force"]) == 0
    assert "Going on, since --force is given" in capsys.readouterr().err
    assert call(["train", str(trained / "store"), "--out", str(trained / "run"), *SHORT]) == 1
    error = capsys.readouterr().err
    assert "its store was made anew since (store." in error
    assert call(["audit", str(trained / "run")]) == 1
    assert "store_unchanged" in capsys.readouterr().err


def test_items_of_a_changed_file_are_new_to_the_run(trained):
    inputs_changed(trained)
    run, store = open_run(trained / "run"), Store(trained / "store")
    parts = pd.Series(parts_of(run, store))
    assert parts[(store.manifest["source"] == "a.npz").to_numpy()].isna().all()
    assert set(parts[(store.manifest["source"] == "b.npz").to_numpy()].dropna()) <= {"train", "validation"}


def test_new_labels_and_stores_elsewhere_are_no_change(trained, capsys):
    manifest = pd.read_parquet(trained / "store" / "manifest.parquet")
    manifest[["item_id"]].assign(label=1).head(3).to_csv(trained / "labels.csv", index=False)
    assert ingest(trained, "--labels", str(trained / "labels.csv"), "--force") == 0
    assert call(["score", str(trained / "run")]) == 0
    write_archive(trained / "new", "a", 9)
    assert (
        call(
            ["tables", str(trained / "new"), "--out", str(trained / "other"), "--like", str(trained / "run")]
        )
        == 0
    )
    assert call(["score", str(trained / "run"), str(trained / "other")]) == 0
    shutil.move(trained / "store", trained / "moved")
    capsys.readouterr()
    assert call(["score", str(trained / "run"), str(trained / "moved")]) == 0
    assert set(pd.read_parquet(trained / "run/scores/moved/scores.parquet")["part"].dropna()) == {
        "train",
        "validation",
        "test",
    }


def test_a_run_that_is_older_than_the_count_of_items_is_scored_and_continued(trained, capsys):
    path = trained / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config["store"]["items"]
    path.write_text(yaml.safe_dump(config))
    assert call(["score", str(trained / "run")]) == 0
    assert call(["train", str(trained / "store"), "--out", str(trained / "run"), *SHORT]) == 0
    items_left_out(trained)
    assert call(["score", str(trained / "run")]) == 1
    assert "that the run used are gone)" in capsys.readouterr().err


def test_an_input_that_is_refused_now_takes_its_items_along_and_is_said(trained, capsys):
    (trained / "in" / "a.npz").write_bytes(b"junk")
    capsys.readouterr()
    assert ingest(trained) == 3
    assert "a.npz: was read before and is refused now; its 60 items are left out." in capsys.readouterr().err
    assert set(pd.read_parquet(trained / "store" / "manifest.parquet")["source"]) == {"b.npz"}


def test_a_where_that_matches_nothing_names_columns_and_values(trained, capsys):
    words = ["train", str(trained / "store"), "--out", str(trained / "other"), *SHORT]
    assert call([*words, "--set", "data.where={source: c.npz}"]) == 2
    assert "Column 'source' holds a.npz, b.npz, never 'c.npz'." in capsys.readouterr().err
    assert call([*words, "--set", "data.where={colour: red}"]) == 2
    assert "the store has no column 'colour'; it has item_id, source" in capsys.readouterr().err
    shutil.rmtree(trained / "store")
    assert ingest(trained, "--where", "source=c.npz") == 1
    assert "Column 'source' holds a.npz, b.npz, never 'c.npz'." in capsys.readouterr().err
    assert ingest(trained, "--where", "colour=red") == 2
    assert "there is no column 'colour'; the columns are" in capsys.readouterr().err
