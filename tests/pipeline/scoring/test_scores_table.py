"""The scores table goes to its file a part at a time: the same values, whatever the size of a part."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esad.pipeline.cli.app import call
from esad.pipeline.score import score
from esad.pipeline.scoring import scores_folder, scores_table
from esad.pipeline.scoring.explanation import put_columns
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store

PART = 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for kind, settings in (("images", QUICK), ("table", QUICK_TABLE)):
        train(make_store(folder, kind, kind, shards=3).root, folder / f"{kind}-run", None, [settings])
        score(folder / f"{kind}-run", out=folder / f"{kind}-whole", overlays="worst:3")
    return folder


def in_parts(monkeypatch):
    """From now on a part has PART rows; returns how many rows were made of terms at a time."""
    sizes, original = [], scores_table.final_scores

    def counted(raw, *others):
        sizes.append(len(raw))
        return original(raw, *others)

    monkeypatch.setattr(scores_table, "final_scores", counted)
    for module in (scores_table, scores_folder):
        monkeypatch.setattr(module, "PART", PART)
    return sizes


@pytest.mark.parametrize("kind", ["images", "table"])
def test_parts_give_the_table_of_one_and_are_its_row_groups(folder, tmp_path, monkeypatch, kind):
    sizes, out = in_parts(monkeypatch), tmp_path / "parts"
    score(folder / f"{kind}-run", out=out, overlays="worst:3")
    one, other = (at / "scores.parquet" for at in (folder / f"{kind}-whole", out))
    found, whole = pd.read_parquet(other), pd.read_parquet(one)
    pd.testing.assert_frame_equal(found, whole)
    assert sizes == [PART] * (len(whole) // PART) + [len(whole) % PART]
    groups = pq.ParquetFile(other).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == sizes
    assert pq.ParquetFile(one).num_row_groups == 1


def test_new_labels_keep_the_row_groups(folder, tmp_path, monkeypatch, capsys):
    in_parts(monkeypatch)
    out = tmp_path / "parts"
    score(folder / "images-run", out=out, overlays="none")
    table = pd.read_parquet(out / "scores.parquet")
    table["label"] = pd.array([1] * len(table), dtype="Int8")
    table.to_parquet(out / "scores.parquet", index=False)
    assert call(["score", str(folder / "images-run"), "--out", str(out), "--overlays", "none"]) == 0
    assert "Labels brought up to date" in capsys.readouterr().err
    fresh = tmp_path / "fresh"
    score(folder / "images-run", out=fresh, overlays="none")
    assert (out / "scores.parquet").read_bytes() == (fresh / "scores.parquet").read_bytes()


def test_columns_are_put_into_each_row_group(tmp_path):
    path = tmp_path / "scores.parquet"
    before = pa.table({"a": range(10), "b": [0.5] * 10})
    pq.write_table(before, path, row_group_size=4)
    put_columns(path, {"b": pa.array(range(10)), "c": pa.array([None, *"bcdefghij"])})
    assert pq.read_table(path).to_pydict() == {
        "a": list(range(10)), "b": list(range(10)), "c": [None, *"bcdefghij"],
    }  # fmt: skip
    assert pq.ParquetFile(path).num_row_groups == 3
