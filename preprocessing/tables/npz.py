"""npz files: arrays by name, never unpickled, never larger than the file can hold."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size
from esad.preprocessing.gate.refusals import refusing

ZIP_MARK = b"PK"


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, never unpickled; InputError where it is none or holds Python objects.

    Arrays of bytes become text; `x_train`, `x_test` and their like become `x` and `split` (see `join_halves`). A member
    that states another size than it has, or more than the file can hold or the memory takes (`check_size`), is refused
    before anything is unpacked.
    """
    with refusing(path.name, "npz of plain arrays"):
        with path.open("rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise InputError(f"{path.name}: one bare array; expected an npz with the arrays x and y.")
        with zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            if not members:
                raise InputError(f"{path.name}: not a readable npz of plain arrays (it holds no .npy).")
            _check_members(archive, members, path)
            arrays = {
                entry.filename.removesuffix(".npy"): _array(archive, entry, path.name) for entry in members
            }
    return join_halves({name: as_text(array) for name, array in with_x(arrays).items()}, path)


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of an npz's arrays by name, by their headers alone; whatever zipfile and numpy raise on a damaged one."""
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    shapes[name.removesuffix(".npy")] = _header(member)[0]
    return with_x(shapes)


def _check_members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], path: Path) -> None:
    """InputError where the arrays' headers and the sizes of the members differ, or all are too large."""
    for entry in members:
        with archive.open(entry) as member:
            shape, _, dtype = _header(member)
            at = member.tell()
        if dtype.hasobject:
            raise InputError(
                f"{path.name}: not a readable npz of plain arrays ({entry.filename} holds Python objects)."
            )
        needed = math.prod(shape) * dtype.itemsize
        if needed != entry.file_size - at:
            raise InputError(
                f"{path.name}: {entry.filename} claims {dtype} {shape}, which is {needed} bytes, and holds "
                f"{entry.file_size - at}; the file is damaged."
            )
    check_size(path.name, sum(entry.file_size for entry in members), path.stat().st_size)


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype of a .npy, which `member` is read to the end of."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"version {version} of the npy format")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(entry) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # reads to the end, where zipfile compares the checksum
            raise InputError(f"{name}: {entry.filename} is longer than its header says.")
    return array


def as_text(array: np.ndarray) -> np.ndarray:
    """An array of bytes as text; any other array as it is, in this machine's order of bytes."""
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


PARTS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""How arrays are called after the part that they are of -> the split."""


ITEMS = ("images", "imgs", "data")
"""What some call the array of items, where there is no x."""
Content = TypeVar("Content")


def with_x(arrays: dict[str, Content]) -> dict[str, Content]:
    """`arrays` by name with the one called as one of ITEMS as `x`, and the part behind the name: `train_images` is x_train,
    `train_labels` labels_train, as MedMNIST has them. Those with an x, X or x_train stay as they are."""
    parted = {name: _part_behind(name) for name in arrays}
    stems = {name: found[0] for name, found in parted.items()}
    if any(stem in ("x", "X") for stem in stems.values()):
        return arrays
    called = {stem for stem in stems.values() if stem.lower() in ITEMS}
    if len(called) != 1:
        return arrays
    (items,) = called
    parts = {part for stem, part in parted.values() if stem == items}
    renamed = {
        name: ("x" if stem == items else stem) + (f"_{part}" if part else "") if part in parts else name
        for name, (stem, part) in parted.items()
    }
    if len(set(renamed.values())) < len(renamed):  # train_images beside images_train
        return arrays
    return {renamed[name]: array for name, array in arrays.items()}


def _part_behind(name: str) -> tuple[str, str]:
    """(`images`, `train`) of `train_images` and `images_train`; no part of other names."""
    first, _, rest = name.partition("_")
    stem, _, last = name.rpartition("_")
    if rest and first.lower() in PARTS:
        return rest, first.lower()
    return (stem, last.lower()) if stem and last.lower() in PARTS else (name, "")


def join_halves(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """x_train, y_train, x_test, y_test -> x, y, split; so any NAME_train with its NAME_test, and NAME_val where there is one.

    Arrays without these endings stand. Raises InputError where only one part of an array is there while `x` has
    more, where the parts differ in more than their length, and where `x` or `y` stands beside them.
    """
    halves: dict[tuple[str, str], np.ndarray] = {}
    out: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        stem, parted, ending = name.lower().rpartition("_")
        if not parted or ending not in PARTS:
            out[name] = array
        elif halves.setdefault((stem, PARTS[ending]), array) is not array:
            raise InputError(f"{path.name}: holds {stem}_{ending} twice, under two names.")
    parts = [part for part in dict.fromkeys(PARTS.values()) if ("x", part) in halves]
    if not parts:
        return arrays
    beside = next((name for name in arrays if name.lower() in {"x", "y"}), None)
    if beside is not None:
        raise InputError(
            f"{path.name}: holds {beside} beside x_{parts[0]}, and which is meant is not known. Keep x and y, or those of the parts."
        )
    for stem in sorted({stem for stem, _ in halves}):
        missing = [part for part in parts if (stem, part) not in halves]
        if missing:
            raise InputError(f"{path.name}: {stem}_{missing[0]} is missing beside the other half of {stem}.")
        pieces = [halves[stem, part] for part in parts]
        pieces = [piece.reshape(-1) if piece.shape[1:] == (1,) else piece for piece in pieces]
        for part, piece in zip(parts, pieces, strict=True):
            expected, found = len(halves["x", part]), piece.shape[0] if piece.ndim else 0
            if expected != found:
                raise InputError(f"{path.name}: {stem}_{part} has {found} entries, x_{part} has {expected}.")
            if piece.shape[1:] != pieces[0].shape[1:]:
                raise InputError(
                    f"{path.name}: {stem}_{parts[0]} is {pieces[0].shape}, {stem}_{part} is {piece.shape}."
                )
        out[stem] = np.concatenate(pieces)
    out["split"] = np.repeat(parts, [len(halves["x", part]) for part in parts])
    return out
