"""What a store whose files do not belong together is refused for on opening, and what of a shard on reading."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store.opening import (
    ItemSettings,
    TileSettings,
    check_apart,
    check_labels,
    check_settings,
)
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import make_store


@pytest.fixture
def root(tmp_path):
    return make_store(tmp_path).root


def edited(root, change):
    """`change` made to the manifest of the store at `root`."""
    path = root / "manifest.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def put(name, value, rows=(3,)):
    """A change of a column: `value` in `rows`."""

    def change(table):
        values = table[name].astype(object)
        values.iloc[list(rows)] = value
        return table.assign(**{name: values.infer_objects()})

    return change


def refused(root, told, **how):
    with pytest.raises(EsadError, match=re.escape(told)) as caught:
        Store(root, **how)
    assert "ingest stage" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "whole"), [(0.5, True), (7, True), (-1, True), (np.inf, True), (0.5, False), (300, False)]
)
def test_a_label_is_0_1_or_empty(root, value, whole):
    edited(root, put("label", value))
    refused(root, f"manifest.parquet: column 'label' holds {value:g}; expected 0, 1 or empty", whole=whole)


@pytest.mark.parametrize(
    ("shape", "settings", "told"),
    [
        (TileSettings, {"tile_size": 64}, "settings.step is missing"),
        (TileSettings, {"step": None}, "settings.tile_size is missing"),
        (TileSettings, {"tile_size": 64, "step": -1}, "settings.step = -1, Input should be greater than 0"),
        (TileSettings, {"tile_size": "64", "step": None}, "settings.tile_size = '64', Input should be a valid integer"),
        (ItemSettings, {"labels": 0.5}, "settings.labels = 0.5, Input should be a valid dictionary"),
        (ItemSettings, {"labels": {"outline_classes": "x"}}, "settings.labels.outline_classes = 'x', Input should be a valid dictionary"),
        (ItemSettings, {"crop": float("nan")}, "settings.crop = nan, Input should be a finite number"),
        (ItemSettings, {"categories": {"a": "b"}}, "settings.categories.a = 'b', Input should be a valid list"),
    ],
)  # fmt: skip
def test_a_setting_that_later_stages_count_with_is_of_its_type(tmp_path, shape, settings, told):
    with pytest.raises(EsadError, match=re.escape(f"store.json: is damaged ({told}); again")):
        check_settings(tmp_path / "store.json", settings, "again", shape)


def test_settings_that_older_stores_lack_or_others_have_are_no_damage(tmp_path):
    check_settings(tmp_path / "store.json", {"another": [1]}, "again")
    tiles = {"tile_size": 64, "step": None, "labels": None}
    check_settings(tmp_path / "store.json", tiles, "again", TileSettings)


@pytest.mark.parametrize("value", [2, 0.5])
def test_what_is_known_in_training_is_minus_1_0_1_or_empty(root, value):
    edited(root, put("semi_label", value))
    refused(root, f"column 'semi_label' holds {value:g}; expected -1, 0, 1 or empty")


@pytest.mark.parametrize(
    "values", [[0, 1, None], [0.0, 1.0, np.nan], [True, False, True], [None, None, None]]
)
def test_labels_of_any_type_that_are_0_1_or_empty_are_taken(tmp_path, values):
    table = pd.DataFrame({"label": values, "semi_label": [None] * 3})
    check_labels(tmp_path / "manifest.parquet", table)


@pytest.mark.parametrize("name", ["item_id", "source", "split", "group"])
def test_numbers_where_texts_belong_are_refused(root, name):
    edited(root, lambda table: table.assign(**{name: np.arange(len(table)) * 1.5}))
    refused(root, f"manifest.parquet: is damaged (column {name!r} holds other than texts)")


@pytest.mark.parametrize("name", ["source", "state", "items"])
def test_a_source_without_its_name_state_or_number_of_items_is_refused(root, name):
    path = root / "sources.parquet"
    pd.read_parquet(path).assign(**{name: None}).to_parquet(path, index=False)
    refused(root, "sources.parquet: is damaged (a row without source, state or number of items)")


def test_two_items_at_one_place_are_refused(root):
    edited(root, put("index", 5))
    refused(root, "items at the same place (index 5 of shard 0)")


def test_an_item_that_is_there_twice_is_refused(root):
    def change(table):
        return table.assign(item_id=[table["item_id"].iloc[7], *table["item_id"].iloc[1:]])

    edited(root, change)
    refused(root, f"item_id {pd.read_parquet(root / 'manifest.parquet')['item_id'].iloc[7]!r} is there twice")


@pytest.mark.parametrize("stated", [119, 121, 0, -1])
def test_another_number_of_items_than_stated_is_refused(root, stated):
    path = root / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"items": stated}))
    refused(root, f"has 120 items, store.json states {stated}")


def test_a_store_that_states_no_number_is_opened(root):
    path = root / "store.json"
    content = json.loads(path.read_text())
    del content["items"]
    path.write_text(json.dumps(content))
    assert len(Store(root)) == 120


def test_the_audit_opens_what_it_then_lists(root):
    edited(root, put("index", 5))
    assert len(Store(root, whole=False)) == 120


def test_places_in_any_order_are_taken(root):
    edited(root, lambda table: table.sample(frac=1, random_state=0))
    assert len(Store(root)) == 120


def test_a_million_places_are_looked_at_at_once(tmp_path):
    """About 0.2 s (ten million: 1.6 s); the machine may be busy."""
    count = 10**6
    numbers = np.arange(count)
    table = pd.DataFrame(
        {
            "item_id": pd.array(np.char.add("item-", numbers.astype(str)), dtype="string"),
            "shard": (numbers // 4096).astype(np.int32),
            "index": (numbers % 4096).astype(np.int32),
            "label": pd.array(numbers % 2, dtype="Int8"),
            "semi_label": pd.array([None] * count, dtype="Int8"),
        }
    )
    for each in (table, table.sample(frac=1, random_state=0)):
        start = time.process_time()
        check_labels(tmp_path / "manifest.parquet", each)
        check_apart(tmp_path / "manifest.parquet", each)
        assert time.process_time() - start < 3


@pytest.mark.parametrize(("shape", "told"), [((600,), "single numbers, float32"), ((120, 2), "2 float32")])
def test_a_shard_of_another_shape_says_which(root, shape, told):
    np.save(root / "shards" / "00000.npy", np.zeros(shape, dtype=np.float32))
    refused(root, f"holds items of {told}, the store of 5 float32")


def test_a_folder_in_place_of_a_file_is_called_one(root):
    path = root / "shards" / "00000.npy"
    path.unlink()
    path.mkdir()
    refused(root, "00000.npy: is a folder, expected a file")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("positions", [None, np.array([80, 7])])
def test_a_value_that_is_not_finite_is_refused_where_it_is_read(root, value, positions):
    path = root / "shards" / "00000.npy"
    array = np.load(path)
    array[7, 2] = value
    np.save(path, array)
    store = Store(root)
    name = re.escape(store.manifest["item_id"].iloc[7])
    with pytest.raises(EsadError, match=f"00000.npy: item '{name}' is not finite .*ingest stage"):
        store.read(positions)
    assert np.isfinite(store.read(np.array([6, 8]))).all()
    assert not np.isfinite(Store(root, whole=False).read()).all()


@pytest.mark.parametrize(("value", "taken"), [(np.nan, True), (np.inf, False)])
def test_a_missing_value_that_is_to_be_filled_is_taken(tmp_path, value, taken):
    root = make_store(tmp_path, settings={"missing": "median"}).root
    path = root / "shards" / "00000.npy"
    array = np.load(path)
    array[7, 2] = value
    np.save(path, array)
    if taken:
        assert np.isnan(Store(root).read()[7, 2])
    else:
        with pytest.raises(EsadError, match="is not finite"):
            Store(root).read()


@pytest.mark.parametrize("name", ["x", "tumour_fraction"])
def test_texts_where_numbers_of_places_belong_are_refused(root, name):
    edited(root, lambda table: table.assign(**{name: "5"}))
    refused(root, f"manifest.parquet: is damaged (column {name!r} holds other than numbers)")
