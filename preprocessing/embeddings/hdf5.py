"""HDF5 as CLAM and TRIDENT write it. Read in a process of its own: the library can die of a damaged file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.embeddings.arrays import (
    INSTALL,
    Choice,
    native,
    place_columns,
    roles_of,
)
from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size

MOST_ARRAYS = 1000


def describe_hdf5(path: str, features: str | None, coords: str | None) -> dict[str, Any]:
    """What `Head` holds, with the attributes of the coordinates; whatever h5py raises, and InputError in words."""
    name, packed, choice = Path(path).name, Path(path).stat().st_size, Choice(features, coords)
    with _opened(path) as file:
        arrays = _arrays(file, name)
        headers = {key: (tuple(each.shape), each.dtype) for key, each in arrays.items()}
        roles = roles_of(headers, choice, name, packed)
        held, count = arrays[roles.features], roles.count
        small = {key: arrays[key] for key in roles.single}
        stated = sum(math.prod(each.shape) * each.dtype.itemsize for each in small.values())
        check_size(name, stated + 16 * count, packed)
        columns = {key: values for key, each in small.items() if (values := _values(each)) is not None}
        attributes: dict[str, Any] = {}
        if roles.coords is not None:
            places = arrays[roles.coords]
            if math.prod(places.shape) != 2 * count:
                check_size(name, math.prod(places.shape) * places.dtype.itemsize, 0)
            columns |= place_columns(places[()], count, name, roles.coords)
            attributes = {
                key: each for key, value in places.attrs.items() if (each := _plain(value)) is not None
            }
        return {
            "name": roles.features, "count": count, "width": roles.width, "dtype": held.dtype.newbyteorder("=").name,
            "items": pd.DataFrame(columns, index=range(count)), "attributes": attributes,
            "chunk": int(held.chunks[-2]) if held.chunks else 1,
        }  # fmt: skip


def read_hdf5(path: str, array: str, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of the features (N, D) or (1, N, D), in this machine's order of bytes."""
    with _opened(path) as file:
        held = _arrays(file, Path(path).name)[array]
        rows = held[start:stop] if held.ndim == 2 else held[0, start:stop]
    return native(rows)


def _opened(path: str) -> Any:
    try:
        import h5py  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InputError(f"{Path(path).name}: HDF5 is read with h5py: {INSTALL}.") from error
    return h5py.File(path, "r", rdcc_nbytes=1 << 26)


def _arrays(file: Any, name: str) -> dict[str, Any]:
    """The arrays of the file's root and of groups in it, by their paths; links to other files are left alone.

    InputError where one keeps its values in another file, which nobody named.
    """
    import h5py  # noqa: PLC0415

    found: dict[str, Any] = {}

    def look(group: Any, prefix: str, depth: int) -> None:
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink) or len(found) >= MOST_ARRAYS:
                continue
            each = group[key]
            if isinstance(each, h5py.Dataset):
                if each.is_virtual or each.external:
                    raise InputError(
                        f"{name}: {prefix}{key} keeps its values in another file; write it into one file."
                    )
                if each.shape is not None:
                    found[prefix + key] = each
            elif isinstance(each, h5py.Group) and depth < 3:
                look(each, f"{prefix}{key}/", depth + 1)

    look(file, "", 0)
    return found


def _values(array: Any) -> np.ndarray | None:
    """One value a row: numbers, or texts; None for what is neither."""
    if array.dtype.kind in "biuf":
        return np.asarray(array[()]).reshape(-1).astype(array.dtype.newbyteorder("="))
    try:
        return np.array([str(each) for each in np.asarray(array.asstr()[()]).reshape(-1)], dtype=str)
    except (TypeError, ValueError):
        return None


def _plain(value: Any) -> float | list[float] | None:
    """An attribute that is one or two numbers; None for a text or anything longer."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not 0 < array.size <= 2:
        return None
    numbers = [float(each) for each in array.reshape(-1)]
    return numbers[0] if array.ndim == 0 else numbers
