"""A shard written in pieces is the file that numpy would have written at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.store.shards import ShardWriter
from esad.preprocessing.store.store import shard_path


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(1, 5), st.floats(0, 1), st.integers(0, 9))
def test_any_order_and_any_gaps_give_numpys_file(tmp_path_factory, count, side, share, seed):
    root = tmp_path_factory.mktemp("store")
    numbers = np.random.default_rng(seed)
    items = numbers.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    kept = numbers.random(count) < share
    kept[numbers.integers(count)] = True
    parts = [np.sort(part) for part in np.array_split(numbers.permutation(count), 7) if len(part)]
    with ShardWriter(root, 3, count, items.shape[1:]) as shard, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: shard.write(part[kept[part]], items[part][kept[part]]), parts))
        shard.commit(kept)
    np.save(root / "once.npy", items[kept])
    assert shard_path(root, 3).read_bytes() == (root / "once.npy").read_bytes()
    assert [path.name for path in shard_path(root, 3).parent.iterdir()] == ["00003.npy"]


def test_what_is_not_committed_leaves_nothing(tmp_path):
    with ShardWriter(tmp_path, 0, 4, (2, 2, 3)) as shard:
        shard.write(np.array([0]), np.zeros((1, 2, 2, 3), np.uint8))
        with pytest.raises(ValueError, match="without items"):
            shard.commit(np.zeros(4, dtype=bool))
    assert not list((tmp_path / "shards").iterdir())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_vectors_are_written_as_numpy_writes_them(tmp_path, dtype):
    rows = np.random.default_rng(0).normal(size=(300, 7)).astype(dtype)
    kept = np.arange(300) % 3 > 0
    with ShardWriter(tmp_path, 1, 300, (7,), dtype) as shard:
        shard.write(np.arange(200), rows[:200])
        shard.write(np.arange(200, 300), rows[200:].astype(np.float64))  # is turned into the shard's own
        shard.commit(kept)
    np.save(tmp_path / "once.npy", rows[kept])
    assert shard_path(tmp_path, 1).read_bytes() == (tmp_path / "once.npy").read_bytes()
