"""Tables and arrays of ours that hold something else than they should, as fuzzing found them."""

from __future__ import annotations

import struct

import numpy as np
import pandas as pd
import pytest

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store.reading import (
    check_finite_numbers,
    check_numbers,
    check_texts,
    read_array,
    read_item_numbers,
    read_table,
)


def test_a_column_of_lists_is_refused_by_name(tmp_path):
    path = tmp_path / "manifest.parquet"
    pd.DataFrame({"item_id": ["a", "b"], "group": [["x", "y"], ["z"]]}).to_parquet(path)
    with pytest.raises(
        EsadError, match=r"manifest\.parquet: is damaged \(column 'group' holds lists of values\); again"
    ):
        read_table(path, "again", ("item_id",))
    assert list(read_table(path, "again", ("item_id",), ())) == ["item_id"]


def test_numbers_are_numbers_or_nothing(tmp_path):
    path = tmp_path / "scores.parquet"
    good = pd.DataFrame(
        {"a": [1.5, None], "b": pd.array([1, None], "Int8"), "c": [None, None], "d": ["x", "y"]}
    )
    check_numbers(path, good, ("a", "b", "c", "absent"), "again")
    for name, wrong in (("d", good), ("t", pd.DataFrame({"t": pd.to_datetime(["2020-01-01"])}))):
        with pytest.raises(EsadError, match=rf"column '{name}' holds other than numbers"):
            check_numbers(path, wrong, (name,), "again")


def test_a_header_of_an_array_that_ends_in_mid_statement_is_damage(tmp_path):
    header = b"{'descr': '<f4', 'shape': (3,".ljust(117) + b"\n"
    path = tmp_path / "00000.npy"
    path.write_bytes(
        b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + np.ones(3, "<f4").tobytes()
    )
    with pytest.raises(EsadError, match=r"00000\.npy: is damaged"):
        read_array(path, "again")


def test_infinite_values_and_other_things_than_texts_are_named(tmp_path):
    path = tmp_path / "normals.parquet"
    check_finite_numbers(path, pd.DataFrame({"eq9": [1.0, np.nan]}), ("eq9", "norm"), "again")
    with pytest.raises(EsadError, match="column 'norm' has an infinite value"):
        check_finite_numbers(path, pd.DataFrame({"norm": [1.0, -np.inf]}), ("norm",), "again")
    good = pd.DataFrame({"a": ["x", None], "b": [None, None], "c": pd.array(["y", None], "string")})
    check_texts(path, good, ("a", "b", "c", "absent"), "again")
    for values in ([1, 2], pd.to_datetime(["2020-01-01", "2020-01-02"])):
        with pytest.raises(EsadError, match="column 'a' holds other than texts"):
            check_texts(path, pd.DataFrame({"a": values}), ("a",), "again")


def test_rows_that_cannot_be_looked_up_are_damage(tmp_path):
    path = tmp_path / "contributions.parquet"
    pd.DataFrame({"item_id": [None, None], "value_a": [1.0, 2.0]}).to_parquet(path)
    with pytest.raises(EsadError, match="its rows cannot be looked up by item_id"):
        read_item_numbers(path, "again", ["i1"])
    pd.DataFrame({"item_id": ["i1", "i1"], "value_a": [1.0, 2.0]}).to_parquet(path)
    with pytest.raises(EsadError, match="an item stands there twice"):
        read_item_numbers(path, "again", ["i1"])
    pd.DataFrame({"item_id": ["i1", "i2"], "value_a": [1.0, 2.0]}).to_parquet(path)
    assert read_item_numbers(path, "again", ["i2"])["value_a"].to_dict() == {"i2": 2.0}
