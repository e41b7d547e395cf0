"""The same 40 vectors in every format, with labels and places, as other programs write them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

COUNT, WIDTH, SIDE = 40, 12, 512
TRIDENT = {
    "patch_size": 256, "patch_size_level0": SIDE, "overlap": 0, "level0_width": 8192, "level0_height": 6144, "level0_magnification": 40,
    "target_magnification": 20, "name": "Jane Doe", "savetodir": "/home/jane",
}  # fmt: skip
CLAM = {
    "patch_size": 256, "patch_level": 1, "downsample": (2.0, 2.0), "level_dim": (4096, 3072), "downsampled_level_dim": (4096, 3072),
    "name": "Jane Doe", "save_path": "/home/jane",
}  # fmt: skip


def vectors(seed: int = 0, count: int = COUNT) -> np.ndarray:
    """float16 (count, WIDTH); the last tenth is far from the others."""
    x = np.random.default_rng(seed).normal(size=(count, WIDTH))
    x[-count // 10 :] += 4
    return x.astype(np.float16)


def labels(count: int = COUNT) -> np.ndarray:
    """0 and, for the last tenth, 1."""
    return (np.arange(count) >= count - count // 10).astype(np.int64)


def corners(count: int = COUNT) -> np.ndarray:
    """Places on a grid of eight columns, int64 (count, 2)."""
    return np.column_stack([np.arange(count) % 8, np.arange(count) // 8]) * SIDE


def write_h5(
    path: Path, x: np.ndarray, attributes: dict | None = None, leading: bool = False, **more: np.ndarray
) -> Path:
    """CLAM's and TRIDENT's: `features` (N, D), or with `leading` (1, N, D), and `coords`."""
    with h5py.File(path, "w") as file:
        file["features"] = x[None] if leading else x
        file["coords"] = corners(len(x))
        file["coords"].attrs.update(attributes or {})
        for name, values in more.items():
            file[name] = values
    return path


def write_parquet(path: Path, x: np.ndarray, fixed: bool = True, **more: np.ndarray) -> Path:
    """A column `embedding` of vectors, of fixed size or lists, in groups of 7 rows."""
    column = (
        pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1]) if fixed else pa.array(list(x))
    )
    pq.write_table(pa.table({"embedding": column, **more}), path, row_group_size=7)
    return path


def write_zarr(path: Path, x: np.ndarray, version: int) -> Path:
    """A group with `features` in chunks of 9 rows, `coords` with CLAM's attributes, and `label`."""
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group.create_array("features", data=x, chunks=(9, x.shape[1]))
    group.create_array("coords", data=corners(len(x)))
    group.create_array("label", data=labels(len(x)))
    group["coords"].attrs.update(
        {key: list(value) if isinstance(value, tuple) else value for key, value in CLAM.items()}
    )
    return path


def write_all(folder: Path) -> dict[str, Path]:
    """Each format once, by a name."""
    x, y = vectors(), labels()
    np.save(folder / "plain.npy", x)
    np.savez_compressed(folder / "packed.npz", features=x, label=y, coords=corners())
    return {
        "trident": write_h5(folder / "trident.h5", x, TRIDENT, label=y),
        "clam": write_h5(folder / "clam.h5", x, CLAM, leading=True, label=y),
        "npy": folder / "plain.npy",
        "npz": folder / "packed.npz",
        "parquet": write_parquet(
            folder / "fixed.parquet", x, label=y, left=corners()[:, 0], top=corners()[:, 1]
        ),
        "lists": write_parquet(folder / "lists.parquet", x, fixed=False, label=y),
        "zarr2": write_zarr(folder / "two.zarr", x, 2),
        "zarr3": write_zarr(folder / "three.zarr", x, 3),
    }
