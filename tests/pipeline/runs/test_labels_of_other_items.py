"""Labels by item_id that were given to a row or tile that is another one now are refused, where they say what they were given to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.pipeline.cli.app import call
from esad.preprocessing.store.contents import made_from
from esad.preprocessing.store.store import Store
from tests.pipeline.commands import made
from tests.pipeline.ingest.test_unseen import picture


def marks(store, path, count=4):
    """A file of labels as the viewer exports it, for the first items of a store."""
    opened = Store(store)
    items = opened.manifest.head(count)
    table = items[["item_id"]].assign(
        label=1, semi_label=-1, made_from=made_from(items, opened.sources, opened.shard)
    )
    table.to_csv(path, index=False)
    return table


def table(path, rows):
    path.write_text("\n".join(["a,b,y", *(f"{row},{row / 7:.6f},0" for row in rows)]) + "\n")
    return path


def trained(tmp_path, name="run"):
    words = [
        "train",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / name),
        "--labels",
        str(tmp_path / "marks.csv"),
    ]
    return call([*words, "--set", "method=isolation_forest", "--force"])


def test_marks_of_rows_in_another_order_are_refused(tmp_path, capsys):
    made("tables", table(tmp_path / "t.csv", range(60)), "--out", tmp_path / "store")
    assert (
        marks(tmp_path / "store", tmp_path / "marks.csv")["made_from"]
        .str.fullmatch("item [0-9a-f]{32}")
        .all()
    )
    assert trained(tmp_path) == 0
    made(
        "tables", table(tmp_path / "t.csv", range(70)), "--out", tmp_path / "store"
    )  # grown: the rows are the same
    assert trained(tmp_path) == 0
    capsys.readouterr()
    made("tables", table(tmp_path / "t.csv", range(69, -1, -1)), "--out", tmp_path / "store")
    assert trained(tmp_path) == 2
    assert "4 of 4 labels were given to items that are others now" in capsys.readouterr().err
    assert (
        call(
            [
                "tables",
                str(tmp_path / "t.csv"),
                "--out",
                str(tmp_path / "store"),
                "--labels",
                str(tmp_path / "marks.csv"),
                "--force",
            ]
        )
        == 2
    )
    pd.read_csv(tmp_path / "marks.csv").drop(columns="made_from").to_csv(tmp_path / "marks.csv", index=False)
    assert trained(tmp_path) == 0


def test_a_picture_is_known_by_its_file(tmp_path, capsys):
    for number in range(30):
        picture(tmp_path / "in" / f"{number}.png", number)
    made("images", tmp_path / "in", "--out", tmp_path / "store")
    assert marks(tmp_path / "store", tmp_path / "marks.csv")["made_from"].str.startswith("file ").all()
    made(
        "images", tmp_path / "in", "--out", tmp_path / "store", "--size", "32", "--force"
    )  # other pixels, the same file
    assert trained(tmp_path) == 0
    picture(tmp_path / "in" / "0.png", 99)
    made("images", tmp_path / "in", "--out", tmp_path / "store", "--size", "32")
    assert trained(tmp_path) == 2
    assert "1 of 4 labels were given to items that are others now" in capsys.readouterr().err


@pytest.mark.parametrize("side", [64, 256])
def test_a_tile_is_known_by_its_region(side):
    items = pd.DataFrame(
        {
            "source": ["a.svs"],
            "x": [0],
            "y": [64],
            "width": [side],
            "height": [side],
            "shard": [0],
            "index": [0],
        }
    )
    sources = pd.DataFrame({"source": ["a.svs"], "items": [9], "fingerprint": ["f"]})
    assert made_from(items, sources, lambda _: np.zeros((1, 2))) == [f"tile 0,64,{side},{side}"]


def test_filled_in_suggestions_know_their_items_too(tmp_path, capsys):
    def store(rows):
        lines = ["a,b", *(f"{row},{row / 7:.6f}" for row in rows)]
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        made("tables", tmp_path / "t.csv", "--out", tmp_path / "store")

    store(range(60))
    made("train", tmp_path / "store", "--out", tmp_path / "run", "--set", "method=isolation_forest")
    made("score", tmp_path / "run", "--overlays", "none")
    made("suggest", tmp_path / "run", "--count", 5, "--out", tmp_path / "next.csv")
    asked = pd.read_csv(tmp_path / "next.csv")
    assert asked["made_from"].str.fullmatch("item [0-9a-f]{32}").all()
    asked.assign(label=1).to_csv(tmp_path / "marks.csv", index=False)
    assert trained(tmp_path, "run2") == 0
    store(range(59, -1, -1))
    capsys.readouterr()
    assert trained(tmp_path, "run2") == 2
    assert "labels were given to items that are others now" in capsys.readouterr().err
    made("suggest", tmp_path / "run", "--count", 5, "--out", tmp_path / "stale.csv")
    assert "made_from" not in pd.read_csv(tmp_path / "stale.csv")
