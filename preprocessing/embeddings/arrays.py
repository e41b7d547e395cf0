"""Which array of a file is what: features, coordinates, and one value a row; by names that others use, or as a person says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_inflation
from esad.preprocessing.tables.columns import LABEL_NAMES, fold_name

FEATURES = ("features", "feats", "embeddings", "embedding", "vectors", "feature", "feat", "x", "X")
"""What others call the features; CLAM and TRIDENT write `features`."""
COORDS = ("coords", "coordinates", "coord")
"""What others call the places of tiles; CLAM and TRIDENT write `coords`."""
NONE = "none"
"""A name that stands for no array."""
MOST_COLUMNS = 65536
MOST_PIXELS = 1e7
"""Of a slide's side; the largest that scanners write have some 400,000."""
INSTALL = "pip install 'esad[embeddings]'"
CHUNK_BYTES = 1 << 25
"""So much is read at once."""


@dataclass(frozen=True)
class Choice:
    """What a person said of the arrays of their files; None = found out where it is plain."""

    features: str | None = None
    coords: str | None = None
    """Name of the places, `X,Y` for two columns, NONE for none."""


@dataclass(frozen=True)
class Head:
    """What a file holds beside its features: `count` rows of `width` numbers of `dtype`, called `name` in it.

    `items` has a row a vector: one-valued arrays by name, and the places as PLACE (int64), where the file has them. `facts` is
    what attributes say of the slide and its tiles, `chunk` how many rows are best read at once.
    """

    name: str
    count: int
    width: int
    dtype: str
    items: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)
    chunk: int = 1
    notes: tuple[str, ...] = ()
    """What a person should know of the file."""


PLACE = ("place_x", "place_y")
"""Columns of `Head.items` with the places; no column of a person's file may be called so."""


def choose_features(shapes: Mapping[str, tuple[int, ...]], choice: Choice, file: str) -> str:
    """The name of the array of features among numeric ones, by their shapes.

    InputError where the named one is not there, none can be it, or several can.
    """
    if choice.features is not None:
        if choice.features not in shapes:
            raise InputError(
                f"{file}: has no array {choice.features!r}; it has {told(shapes)}. Name the features with --features."
            )
        return choice.features
    matrices = [name for name, shape in shapes.items() if is_matrix(shape)]
    for known in FEATURES:
        called = [name for name in matrices if name == known] or [
            name for name in matrices if _bare(name) == known
        ]
        if len(called) == 1:
            return called[0]
    fit = [name for name in matrices if _bare(name) not in COORDS]
    if len(fit) == 1:
        return fit[0]
    why = "which array holds the features is not plain" if fit else "no array of vectors is in it"
    raise InputError(f"{file}: {why}; it has {told(shapes)}. Name the features with --features.")


def _bare(name: str) -> str:
    """The name of an array without the groups that it is in: `features` of `data/features`."""
    return name.rpartition("/")[2]


def choose_coords(
    shapes: Mapping[str, tuple[int, ...]], choice: Choice, file: str, features: str = ""
) -> str | None:
    """The name of the array of places, in the group of the `features` first, or None; InputError where the named one is not there."""
    if choice.coords == NONE:
        return None
    if choice.coords is not None:
        if choice.coords not in shapes:
            raise InputError(
                f"{file}: has no array {choice.coords!r}; it has {told(shapes)}. Name the places with --coords, or say --coords none."
            )
        return choice.coords
    group = features.removesuffix(_bare(features))
    return next((name for called in COORDS for name in (group + called, called) if name in shapes), None)


@dataclass(frozen=True)
class Roles:
    """What the arrays of a file are: `features` of `count` x `width` numbers, `coords` if there are places, `single` with a value a row."""

    features: str
    count: int
    width: int
    coords: str | None
    single: list[str]


def roles_of(
    arrays: Mapping[str, tuple[tuple[int, ...], np.dtype]], choice: Choice, file: str, packed: int
) -> Roles:
    """The roles of a file's `arrays`, name -> (shape, type); what `choose_features`, `check_features` and `choose_coords` raise."""
    shapes = {name: shape for name, (shape, dtype) in arrays.items() if dtype.kind in "fiu"}
    chosen = choose_features(shapes, choice, file)
    shape, dtype = arrays[chosen]
    count, width = check_features(shape, str(dtype), file, chosen, packed)
    ways = ((count,), (count, 1), (1, count))
    for name, (each, _) in arrays.items():
        if fold_name(name) in LABEL_NAMES and name != chosen and each not in ways:
            raise InputError(
                f"{file}: {name} has shape {list(each)}; expected one label for each of the {count} vectors."
            )
    single = [name for name, (each, _) in arrays.items() if each in ways and name != chosen]
    return Roles(chosen, count, width, choose_coords(shapes, choice, file, chosen), single)


def native(rows: np.ndarray) -> np.ndarray:
    """The same numbers in this machine's order of bytes."""
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)


def fitted(rows: np.ndarray, dtype: str) -> tuple[np.ndarray, int | None]:
    """Rows (N, D) as `dtype`, and the first with a number that is then missing or infinite; None where all are finite."""
    with np.errstate(over="ignore"):
        out = rows.astype(dtype, copy=False)
    wrong = ~np.isfinite(out).all(axis=1)
    return out, int(wrong.argmax()) if wrong.any() else None


def is_matrix(shape: Sequence[int]) -> bool:
    """Whether an array of this shape is a vector a row: (N, D), or (1, N, D) as some write a slide's."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)


def told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The arrays of a file, for a person."""
    names = [f"{name} ({' x '.join(map(str, shape))})" for name, shape in list(shapes.items())[:8]]
    more = f" and {len(shapes) - 8} more" if len(shapes) > 8 else ""
    return (", ".join(names) + more) if names else "no arrays of numbers"


def check_features(shape: Sequence[int], dtype: str, file: str, name: str, packed: int) -> tuple[int, int]:
    """(rows, columns) of the features; InputError for another shape or type, for too many columns, none, or a bomb."""
    kind = np.dtype(dtype)
    if kind.kind not in "fiu" or not is_matrix(shape):
        raise InputError(
            f"{file}: {name} is {' x '.join(map(str, shape)) or 'one value'} of {dtype}; expected a vector of numbers a row."
        )
    count, width = int(shape[-2]), int(shape[-1])
    if count == 0 or width == 0:
        raise InputError(f"{file}: {name} is empty ({count} x {width}).")
    if width > MOST_COLUMNS:
        raise InputError(
            f"{file}: {name} has {width} numbers a vector; at most {MOST_COLUMNS} are read. Is it turned on its side?"
        )
    check_inflation(file, count * width * kind.itemsize, packed)
    return count, width


def rows_at_once(width: int, itemsize: int, chunk: int = 1) -> int:
    """How many rows are read at once: whole chunks of the file, about CHUNK_BYTES."""
    rows = max(1, CHUNK_BYTES // (width * itemsize))
    return max(chunk, rows // chunk * chunk) if chunk * width * itemsize <= 32 * CHUNK_BYTES else rows


def place_columns(values: Any, count: int, file: str, name: str) -> dict[str, Any]:
    """PLACE of an array (N, 2) of whole level-0 pixels; InputError for another shape, or for what is no place on a slide."""
    array = np.asarray(values)
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.shape != (count, 2) or array.dtype.kind not in "fiu":
        raise InputError(
            f"{file}: {name} is {' x '.join(map(str, array.shape))}; expected x and y in level-0 pixels for each of {count} vectors. "
            "Name the places with --coords, or say --coords none."
        )
    numbers = array.astype(np.float64)
    wrong = ~((numbers >= 0) & (numbers < MOST_PIXELS)).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{file}: {name}, row {row}: {tuple(numbers[row].tolist())} is no place on a slide; expected level-0 pixels from 0 on."
        )
    x, y = np.rint(numbers).astype(np.int64).T
    return dict(zip(PLACE, (x, y), strict=True))
