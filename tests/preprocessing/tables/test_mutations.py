"""A thousand damaged files of each format of tables: each is read or refused, and the next good one is read."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from esad.preprocessing.tables.columns import TableReading
from esad.preprocessing.tables.reading import read_table
from tests import mutations

FRAME = pd.DataFrame(
    {
        "a": np.linspace(-2, 2, 12),
        "b": np.arange(12) % 5,
        "c": [f"{n},5" for n in range(12)],
        "y": np.arange(12) % 6 == 0,
    }
)
X, Y = FRAME[["a", "b"]].to_numpy(), FRAME["y"].to_numpy(np.int64)


def hdf5(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"], file["y"] = X.T, Y[None]


WRITE = {
    "t.csv": lambda path: FRAME.to_csv(path, index=False),
    "t.csv.gz": lambda path: FRAME.to_csv(path, index=False),
    "t.npz": lambda path: np.savez_compressed(path, X=X, y=Y, group=np.array([b"g"] * 12)),
    "t.mat": lambda path: savemat(path, {"X": X, "y": Y, "text": "abc"}, do_compression=True),
    "plain.mat": lambda path: savemat(path, {"X": X, "y": Y, "cell": np.array([1, "a"], object)}),
    "v4.mat": lambda path: savemat(path, {"X": X, "y": Y}, format="4"),
    "v73.mat": hdf5,
    "t.parquet": lambda path: FRAME.assign(v=[[1.0, 2.0]] * 12).to_parquet(path),
    "t.feather": FRAME.to_feather,
    "t.xlsx": lambda path: FRAME.to_excel(path, index=False),
}


@pytest.mark.parametrize("name", WRITE)
def test_a_damaged_table_is_read_or_refused(tmp_path, name, record_property):
    path = tmp_path / name
    reading = TableReading(
        drop=("c",) if name.startswith("t.") and path.suffix not in (".npz", ".mat") else (), missing="median"
    )
    WRITE[name](path)
    good = path.read_bytes()
    whole = read_table(path, reading)
    counts = mutations.run(good, path, lambda path: read_table(path, reading))
    record_property("counts", counts)
    assert sum(counts.values()) == mutations.COUNT
    assert counts["refused"] > mutations.COUNT // 20
    path.write_bytes(good)
    assert np.array_equal(read_table(path, reading).values, whole.values, equal_nan=True)
