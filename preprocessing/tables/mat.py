"""MATLAB files: version 4 to 7 by SciPy, 7.3 (HDF5) by h5py. Read in a process of its own: both can die of a damaged file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size

HDF5_MARK = b"\x89HDF\r\n\x1a\n"


def load_mat(path: str) -> dict[str, np.ndarray]:
    """The arrays of numbers and texts of a mat file by name; whatever SciPy and h5py raise, and InputError by `check_size`."""
    with open(path, "rb") as file:
        head = file.read(520)
    if HDF5_MARK in (head[:8], head[512:520]) or b"MATLAB 7.3" in head[:128]:
        return _load_hdf5(Path(path))
    content = loadmat(path)
    return {name: _plain(value) for name, value in content.items() if name[:2] != "__" and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return hasattr(value, "toarray") or (isinstance(value, np.ndarray) and value.dtype.kind in "biufSU")


def _plain(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else value.toarray()


def _load_hdf5(path: Path) -> dict[str, np.ndarray]:
    """The root's data sets of numbers; MATLAB writes columns first, so axes are turned round."""
    try:
        import h5py  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InputError(
            f"{path.name}: a MATLAB 7.3 file; save it with -v7 or as csv, or install esad[tables]."
        ) from error

    out = {}
    with h5py.File(path, "r") as file:
        sets = {name: value for name, value in file.items() if isinstance(value, h5py.Dataset)}
        numbers = {name: value for name, value in sets.items() if value.dtype.kind in "biuf"}
        stated = sum(math.prod(value.shape) * value.dtype.itemsize for value in numbers.values())
        check_size(path.name, stated, path.stat().st_size)
        for name, value in numbers.items():
            kind = value.attrs.get("MATLAB_class", b"")
            array = np.asarray(value[()]).T
            if value.attrs.get("MATLAB_empty"):
                array = np.empty((0, 0))
            text = kind in (b"char", "char")
            out[name] = np.array(["".join(map(chr, array.ravel()))]) if text else array
    return out
