"""Hashes of items, and copies that share a group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.store import contents
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("contents"))


def test_contents_are_hashed_by_value_in_pieces_of_any_size(store, monkeypatch):
    positions = np.random.default_rng(0).permutation(len(store))[:50]
    whole = contents.content_digests(store, positions)
    monkeypatch.setattr(contents, "ROWS_AT_ONCE", 7)
    assert np.array_equal(contents.content_digests(store, positions), whole)
    assert len(np.unique(whole, axis=0)) == 50


def items_of(
    store: Store, digests: list[int], monkeypatch: pytest.MonkeyPatch, **columns: list
) -> pd.DataFrame:
    """The first rows of the manifest, as if their contents had these digests; `columns` replace its own."""
    table = store.manifest.iloc[: len(digests)].assign(
        group=pd.array([pd.NA] * len(digests), dtype="string"),
        split=pd.array([pd.NA] * len(digests), dtype="string"),
    )
    table = table.assign(**{name: pd.array(values, dtype="string") for name, values in columns.items()})
    pairs = np.array([[7, digest] for digest in digests], dtype=np.uint64)
    monkeypatch.setattr(contents, "content_digests", lambda store, positions: pairs[positions])
    return table


def test_copies_share_a_group_named_after_the_first_and_single_items_get_none(store, monkeypatch):
    items = items_of(store, [1, 2, 1, 3, 1], monkeypatch)
    first = items["item_id"].iloc[0]
    assert contents.copies_grouped(store, items)["group"].fillna("").tolist() == [first, "", first, "", first]


def test_stated_groups_stay_as_they_are_and_copies_of_a_test_item_join_it(store, monkeypatch):
    items = items_of(
        store, [1, 1, 1, 1], monkeypatch, group=["a", None, None, None], split=[None, None, "test", None]
    )
    second = items["item_id"].iloc[1]
    assert contents.copies_grouped(store, items)["group"].fillna("").tolist() == ["a", second, second, second]


def test_nothing_is_read_where_every_item_has_a_group(store, monkeypatch):
    monkeypatch.setattr(contents, "content_digests", None)
    assert contents.copies_grouped(store, store.manifest) is store.manifest
