"""The store's parts: names of items, what a second try leaves, types that differ from part to part."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store.store import (
    SOURCE_TYPES,
    Parts,
    Store,
    Unit,
    _item_ids,
    edges_fingerprint,
    fingerprint,
    is_same_file,
    item_id,
    write_unit,
)
from tests.pipeline.stores import make_store


def write(root, number, source, places, state="done", **columns):
    """A unit of one source; `columns` are the items' own."""
    items = pd.DataFrame({"source": source, "place": places, **columns})
    row = dict.fromkeys(SOURCE_TYPES) | {"source": source, "state": state, "attempts": 1, "items": len(items)}
    write_unit(root, Unit(number, (source,)), None, items, pd.DataFrame([{**row, "bytes": 0}]))


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=20))
def test_items_of_a_unit_have_the_names_that_source_and_place_give(pairs):
    items = pd.DataFrame(pairs, columns=["source", "place"])
    assert _item_ids(items) == [item_id(source, place) for source, place in pairs]


def test_names_that_collide_in_8_digits_get_16(tmp_path):
    seen: dict[str, str] = {}
    for number in range(10**6):
        place = str(number)
        other = seen.setdefault(item_id("a.svs", place), place)
        if other != place:
            break
    write(tmp_path, 0, "a.svs", [other, place, "elsewhere"])
    names = Parts(tmp_path).items()["item_id"].tolist()
    assert names[:2] == [item_id("a.svs", each, digits=16) for each in (other, place)]
    assert names[2] == item_id("a.svs", "elsewhere")
    assert len(set(names)) == 3


def test_the_last_try_of_a_source_counts_and_all_are_counted(tmp_path):
    write(tmp_path, 0, "b.svs", ["1", "2"])
    write(tmp_path, 1, "a.svs", ["1"])
    write(tmp_path, 2, "b.svs", ["3"])
    parts = Parts(tmp_path)
    assert parts.items()[["source", "shard"]].to_numpy().tolist() == [["a.svs", 1], ["b.svs", 2]]
    write(tmp_path, 3, "b.svs", [], state="refused")
    assert parts.items()["source"].tolist() == ["a.svs"]
    table = parts.sources()
    assert table[["source", "state", "attempts"]].to_numpy().tolist() == [
        ["a.svs", "done", 1],
        ["b.svs", "refused", 3],
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_parts_without_a_value_take_the_others_types(tmp_path, order):
    contents = ({"label": [1], "region_x": [2]}, {"label": [None], "region_x": [None]}, {"label": [0]})
    for number, which in enumerate(order):
        write(tmp_path, number, f"{which}.png", ["0"], **contents[which])
    items = Parts(tmp_path).items()
    assert items["label"].astype(object).tolist() == [1, pd.NA, 0]
    assert items["region_x"].dropna().tolist() == [2]
    assert (str(items["label"].dtype), items["region_x"].dtype) == ("Int8", np.float64)


def test_joining_a_large_slide_takes_no_time(tmp_path):
    """100,000 tiles: about 0.15 s (docs/explanation/measurements.md#joining); four times that fails here,
    since the machine may be busy."""
    grid = [f"{x},{y}" for y in range(250) for x in range(400)]
    write(
        tmp_path, 0, "a.svs", grid, x=np.arange(len(grid)), label=pd.array([None] * len(grid), dtype="Int8")
    )
    taken = []
    for _ in range(3):
        start = time.process_time()
        assert len(Parts(tmp_path).items()) == len(grid)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.6


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a\\b", "..", "", None])
def test_an_item_whose_name_leads_out_of_its_folder_is_refused(tmp_path, name):
    store = make_store(tmp_path)
    table = store.manifest.astype({"item_id": "string"})
    table.loc[3, "item_id"] = name
    table.to_parquet(store.root / "manifest.parquet")
    with pytest.raises(EsadError, match="is no name of an item"):
        Store(store.root)


@pytest.mark.parametrize("name", ["t.csv", "1.2.840.113", "a.png"])
def test_a_file_is_known_by_what_any_version_kept_of_it(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 1000)
    before = {fingerprint(path), edges_fingerprint(path)}
    assert len(before) == (1 if name == "a.png" else 2)
    assert all(is_same_file(path, known) for known in before)
    path.write_bytes(bytes(range(255, -1, -1)) * 1000)
    assert not any(is_same_file(path, known) for known in before)
