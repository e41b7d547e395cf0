"""MATLAB files: version 4 to 7 by SciPy, 7.3 (HDF5) by h5py. Read in a process of its own: both can die of a damaged file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatlabFunction, MatlabOpaque

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
MOST_FIELDS = 8
"""Of a struct, named."""


def load_mat(path: str) -> list[dict[str, Any]]:
    """[arrays of numbers and texts by name, what others are]; cells of texts count as texts.

    Whatever SciPy and h5py raise, and InputError by `check_size`.
    """
    with open(path, "rb") as file:
        head = file.read(520)
    if HDF5_MARK in (head[:8], head[512:520]) or b"MATLAB 7.3" in head[:128]:
        return _load_hdf5(Path(path))
    arrays, others = {}, {}
    for name, value in loadmat(path).items():
        plain = None if name.startswith("__") else _plain(value)
        if plain is not None:
            arrays[name] = plain
        elif not name.startswith("__"):
            others[name] = _what_else(value)
    return [arrays, others]


def _what_else(value: Any) -> str:
    """What a value of SciPy is that is no array of numbers or texts."""
    if isinstance(value, MatlabOpaque | MatlabFunction):
        return "object"
    fields = getattr(getattr(value, "dtype", None), "names", None)
    return _struct(fields) if fields else "cell"


def _struct(fields: Iterable[str]) -> str:
    names = list(fields)
    more = f" and {len(names) - MOST_FIELDS} more" if len(names) > MOST_FIELDS else ""
    return f"struct of {', '.join(names[:MOST_FIELDS])}{more}" if names else "struct"


def _plain(value: Any) -> np.ndarray | None:
    """Numbers and texts as they are, sparse ones filled, cells of one text each as texts; None for anything else."""
    if hasattr(value, "toarray"):
        return value.toarray()
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.kind in "biufcSU":
        return value
    if value.dtype != object or not all(
        isinstance(each, np.ndarray) and each.dtype.kind == "U" for each in value.flat
    ):
        return None
    texts = ["" if not each.size else str(each.flat[0]) for each in value.flat if each.size < 2]
    return np.array(texts, dtype=str).reshape(value.shape) if len(texts) == value.size else None


def _load_hdf5(path: Path) -> list[dict[str, Any]]:
    """The same of an HDF5 file's root; MATLAB writes columns first, so axes are turned round."""
    try:
        import h5py  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InputError(
            f"{path.name}: a MATLAB 7.3 file; save it with -v7 or as csv, or install esad[tables]."
        ) from error

    arrays, others = {}, {}
    with h5py.File(path, "r") as file:
        sets = {name: value for name, value in file.items() if isinstance(value, h5py.Dataset)}
        stated = sum(math.prod(value.shape) * value.dtype.itemsize for value in sets.values())
        check_size(path.name, stated, path.stat().st_size)
        for name, value in file.items():
            if name.startswith("#"):  # where MATLAB keeps what cells refer to
                continue
            if name not in sets:
                others[name] = "sparse array" if "MATLAB_sparse" in value.attrs else _struct(value)
            elif value.attrs.get("MATLAB_class") in (b"cell", "cell"):
                texts = _texts_of_cell(file, value)
                if texts is None:
                    others[name] = "cell"
                else:
                    arrays[name] = texts
            elif value.dtype.kind in "biuf":
                arrays[name] = _numbers_or_text(value)
            else:
                others[name] = "complex array" if value.dtype.names else str(value.dtype)
    return [arrays, others]


def _numbers_or_text(value: Any) -> np.ndarray:
    if value.attrs.get("MATLAB_empty"):
        return np.empty((0, 0))
    if value.attrs.get("MATLAB_class") in (b"char", "char"):
        return np.array([_characters(value)])
    return np.asarray(value[()]).T


def _texts_of_cell(file: Any, value: Any) -> np.ndarray | None:
    """The texts that a cell refers to; None where it is empty or one of them is no text."""
    if value.attrs.get("MATLAB_empty"):
        return None
    parts = [file[reference] for reference in value[()].T.flat]
    if not all(map(_is_text, parts)):
        return None
    return np.array([_characters(part) for part in parts], dtype=str).reshape(value.shape[::-1])


def _is_text(value: Any) -> bool:
    return bool(value.attrs.get("MATLAB_empty")) or value.attrs.get("MATLAB_class") in (b"char", "char")


def _characters(value: Any) -> str:
    """The text of a set of characters."""
    if value.attrs.get("MATLAB_empty"):
        return ""
    return "".join(map(chr, np.asarray(value[()]).T.ravel()))
