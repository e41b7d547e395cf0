"""How the site of an item gets into a store: an option, the labels, a column; and what --anonymous leaves of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.cli.app import call
from esad.preprocessing.privacy import read_names
from esad.preprocessing.store.store import Store

SITE = "Saint Marker Hospital"


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(np.full((24, 24), 40 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def labels_file(folder, sites):
    path = folder.parent / "labels.csv"
    rows = [f"{number}.png,{number % 2},{site}" for number, site in enumerate(sites)]
    path.write_text("\n".join(["source,label,site", *rows]) + "\n")
    return path


def sites_in(folder):
    return Store(folder).manifest["site"].fillna("-").tolist()


def test_one_name_for_all_and_the_labels_before_it(archive, tmp_path, capsys):
    labels = labels_file(archive, ["A", "A", "", "", "B", "B"])
    given = ["images", str(archive), "--labels", str(labels)]
    call([*given, "--out", str(tmp_path / "some")])
    assert sites_in(tmp_path / "some") == ["A", "A", "-", "-", "B", "B"]
    assert "Sites: A 2, B 2; not said: 2." in capsys.readouterr().err
    call([*given, "--out", str(tmp_path / "all"), "--site", "C"])
    assert sites_in(tmp_path / "all") == ["A", "A", "C", "C", "B", "B"]
    assert "not said" not in capsys.readouterr().err


def test_radiographs_take_a_site_too(archive, tmp_path):
    call(["radiographs", str(archive), "--out", str(tmp_path / "store"), "--site", "north", "--size", "16"])
    assert set(sites_in(tmp_path / "store")) == {"north"}


def test_another_site_of_a_finished_store_reads_no_input_again(archive, tmp_path, capsys):
    out = str(tmp_path / "store")
    call(["images", str(archive), "--out", out, "--site", "A"])
    shard = (tmp_path / "store" / "shards" / "00000.npy").stat().st_mtime_ns
    assert call(["images", str(archive), "--out", out, "--site", "B"]) == 1
    assert "other labels" in capsys.readouterr().err
    assert call(["images", str(archive), "--out", out, "--site", "B", "--force"]) == 0
    assert set(sites_in(tmp_path / "store")) == {"B"}
    assert (tmp_path / "store" / "shards" / "00000.npy").stat().st_mtime_ns == shard


@pytest.mark.parametrize(("name", "option"), [("site", []), ("hospital", ["--site-column", "hospital"])])
def test_an_array_of_an_npz_says_the_sites(tmp_path, name, option):
    x = np.zeros((4, 16, 16), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 0, 1], **{name: ["A", "A", "3", ""]})
    call(["images", str(tmp_path / "a.npz"), "--out", str(tmp_path / "store"), *option])
    assert sites_in(tmp_path / "store") == ["A", "A", "3", "-"]


def test_a_column_of_a_table_says_the_sites_and_is_no_feature(tmp_path):
    table = pd.DataFrame({"f": [1.0, 2, 3, 4], "site": [1, 1, 2, 2], "y": [0, 1, 0, 1]})
    table.to_csv(tmp_path / "t.csv", index=False)
    call(["tables", str(tmp_path / "t.csv"), "--out", str(tmp_path / "store")])
    store = Store(tmp_path / "store")
    assert (store.columns, sites_in(store.root)) == (["f"], ["1", "1", "2", "2"])
    call(["tables", str(tmp_path / "t.csv"), "--out", str(tmp_path / "older"), "--columns", "f,site"])
    assert Store(tmp_path / "older").columns == ["f", "site"]
    assert "site" not in Store(tmp_path / "older").manifest


def test_an_empty_name_is_refused(archive, tmp_path, capsys):
    assert call(["images", str(archive), "--out", str(tmp_path / "store"), "--site", " "]) == 2
    assert "--site: expected the name" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["option", "labels", "npz", "table"])
def test_anonymous_leaves_no_name_of_a_site_in_a_store(archive, tmp_path, way, capsys):
    out, key = tmp_path / "store", tmp_path / "key"
    given = {
        "option": ["images", str(archive), "--site", SITE],
        "labels": ["images", str(archive), "--labels", str(labels_file(archive, [SITE] * 6))],
        "npz": ["images", str(tmp_path / "a.npz")],
        "table": ["tables", str(tmp_path / "t.csv")],
    }[way]
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 16, 16), np.uint8), site=[SITE, SITE])
    pd.DataFrame({"f": [1.0, 2.0], "site": [SITE, SITE]}).to_csv(tmp_path / "t.csv", index=False)
    assert call([*given, "--out", str(out), "--anonymous", "--group-key", str(key)]) == 0
    told = capsys.readouterr()
    (hashed,) = set(sites_in(out))
    assert SITE not in told.out + told.err
    for path in out.rglob("*"):
        if path.suffix == ".parquet":
            assert SITE not in pd.read_parquet(path).to_csv()
        elif path.is_file():
            assert SITE.encode() not in path.read_bytes()
    assert len(hashed) == 12
    if way in ("option", "labels"):
        assert read_names(key)[hashed] == SITE
    if way == "option":
        assert json.loads((out / "store.json").read_text())["settings"]["site"] == hashed
