"""A bit that flips in a table of ours is found: before pages had checksums, every fourth flip changed labels or scores unseen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store.reading import read_table
from esad.preprocessing.store.writing import write_row_groups, write_table

TABLE = pd.DataFrame(
    {
        "item_id": [f"item-{number:03d}" for number in range(120)],
        "label": pd.array([number % 3 // 2 for number in range(120)], dtype="Int8"),
        "score": np.random.default_rng(0).normal(size=120),
    }
)
WRITE = {
    "whole": lambda path: write_table(path, TABLE),
    "in groups": lambda path: write_row_groups(
        path, (pa.Table.from_pandas(part, preserve_index=False) for part in (TABLE[:50], TABLE[50:]))
    ),
}


@pytest.mark.parametrize("how", WRITE)
def test_no_flipped_bit_of_a_page_changes_a_value_unseen(tmp_path, how):
    path = tmp_path / "a.parquet"
    WRITE[how](path)
    good = path.read_bytes()
    whole = read_table(path, "make it anew.")
    pages = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    numbers, refused = np.random.default_rng(1), 0
    for _ in range(80):
        content = bytearray(good)
        content[int(numbers.integers(4, pages))] ^= 1 << int(numbers.integers(8))
        path.write_bytes(content)
        try:
            table = read_table(path, "make it anew.")
        except EsadError as error:
            refused += "a.parquet: is damaged" in str(error)
        else:
            pd.testing.assert_frame_equal(table, whole)
    assert refused > 50


def test_a_table_without_checksums_is_read(tmp_path):
    pq.write_table(pa.Table.from_pandas(TABLE, preserve_index=False), tmp_path / "a.parquet")
    assert len(read_table(tmp_path / "a.parquet", "make it anew.")) == len(TABLE)
