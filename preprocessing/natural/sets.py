"""Which of an archive's files are published sets of pictures, which files belong to each, and the reading of all kinds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from esad.preprocessing.errors import InputError
from esad.preprocessing.images import PICTURE_SUFFIXES, describe_path, resize
from esad.preprocessing.natural import cifar, idx
from esad.preprocessing.natural.parquet import ReadPictures, is_parquet, parquet_colours, read_parquet
from esad.preprocessing.pictures import Colour, to_channels
from esad.preprocessing.store.store import fingerprint
from esad.preprocessing.tables.columns import Columns

Kind = Literal["idx", "batch", "tar", "parquet"]
CLASS_FILE = "classes.txt"
"""Beside idx files: the names of their classes, one a line in the order of their numbers; `esad fetch` writes it."""
PICKLE_MARKS = (b"\x80", b"(d")
"""Of protocol 2 and later, and of a dict in protocol 0."""
UNNAMED = f"with classes by number, no names of them beside it (idx: {CLASS_FILE}, one a line)"
UNLABELLED = "without a file of labels beside it"


@dataclass(frozen=True)
class PictureSet:
    """A file of many pictures; `beside` is what each file that belongs to it is -> its path, relative to the archive."""

    kind: Kind
    beside: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self, archive: Path, source: str) -> str:
        """Of the file and of those beside it, 16 hex digits; OSError where one is not there."""
        own = fingerprint(archive / source)
        if not self.beside:
            return own
        parts = [
            own,
            *(f"{part} {fingerprint(archive / name)}" for part, name in sorted(self.beside.items())),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Found:
    """`sources` without the files that belong to others; the sets among them; what to say of what was left out."""

    sources: list[str]
    sets: dict[str, PictureSet]
    told: list[str]


def is_set(path: Path) -> bool:
    """Whether a folder's file is part of a published set, by its name and those beside it."""
    name = path.name
    if is_parquet(name) or idx.is_idx_name(name) or cifar.is_batch(path):
        return True
    return cifar.is_tar(name) and name.lower().startswith("cifar")


def find_sets(archive: Path, sources: Sequence[str]) -> Found:
    """Sort out sets of pictures, and bring each together with its labels and the names of its classes.

    Labels are found by the published names, beside the pictures, named or not; one pictures' file and one labels' file of
    any names belong together. Of a file that lies there packed and unpacked, and of a tar beside its folder, one is read.
    """
    kinds = {source: kind for source in sources if (kind := _kind(archive / source)) is not None}
    kept, told = _without_doubles(list(sources), kinds)
    sets = [source for source in kept if source in kinds]
    labels = _labels_of(archive, [source for source in sets if kinds[source] == "idx"])
    beside = {
        source: {**labels.get(source, {}), **_classes_of(archive, source, kinds[source])} for source in sets
    }
    taken = {name for names in beside.values() for name in names.values()}
    return Found(
        [source for source in kept if source not in taken],
        {source: PictureSet(kinds[source], names) for source, names in beside.items() if source not in taken},
        told,
    )


def set_colours(archive: Path, source: str, found: PictureSet) -> Counter[str]:
    """How many of a set's pictures are grey and how many rgb; of idx and CIFAR by the form alone, counted by bytes."""
    path = archive / source
    if found.kind == "parquet":
        return parquet_colours(path)
    try:
        pictures = max(path.stat().st_size // cifar.RECORD, 1)
    except OSError:  # refused in words where it is read
        return Counter()
    return Counter({"grey" if found.kind == "idx" else "rgb": pictures})


def read_set(
    archive: Path, source: str, found: PictureSet, columns: Columns, size: int | None, colour: Colour
) -> ReadPictures:
    """A set's pictures as `colour` and `size` (None = as they are).

    Rows have `place`, `split` and `class_name` (idx, CIFAR) or what a Parquet file says (`stated` and others). InputError for
    any fault of the file or of one that belongs to it.
    """
    path = archive / source
    if found.kind == "parquet":
        return read_parquet(path, columns, size, colour)
    read = _read_idx if found.kind == "idx" else _read_cifar
    pictures, table, notes = read(archive, source, found)
    pictures, note = to_channels(pictures, colour)
    if size is not None and pictures.shape[1:3] != (size, size):
        pictures = np.stack([resize(picture, size) for picture in pictures])
    return ReadPictures(pictures, table, [*notes, *([note] if note else [])])


def _read_idx(archive: Path, source: str, found: PictureSet) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    labels = found.beside.get("labels")
    pictures, classes = idx.read_pictures(archive / source, archive / labels if labels else None)
    table = pd.DataFrame({"place": [str(row) for row in range(len(pictures))]})
    table["split"] = idx.split_of_name(source) or describe_path(source)["split"]
    if classes is None:
        return pictures, table, [UNLABELLED]
    named = found.beside.get("classes")
    names = _class_file(archive / named) if named else ()
    if names and int(classes.max()) >= len(names):
        raise InputError(
            f"{labels}: has a label {int(classes.max())}, and {named} the names of {len(names)} classes, from 0 on."
        )
    table["class_name"] = _names_of(classes, names)
    return pictures, table, [] if names else [UNNAMED]


def _read_cifar(archive: Path, source: str, found: PictureSet) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    path = archive / source
    classes, coarse = (found.beside.get(part) for part in ("classes", "coarse"))
    read = (
        cifar.read_batch_tar(path)
        if found.kind == "tar"
        else cifar.read_batch_file(
            path, archive / classes if classes else None, archive / coarse if coarse else None
        )
    )
    tables = []
    for name, batch in read.batches.items():
        rows = range(len(batch.pictures))
        table = pd.DataFrame(
            {"place": [f"{name}/{row}" if found.kind == "tar" else str(row) for row in rows]}
        )
        table["split"] = cifar.split_of_batch(name)
        table["class_name"] = _names_of(batch.classes, read.names.fine)
        if batch.coarse is not None:
            table["coarse_class"] = _names_of(batch.coarse, read.names.coarse)
        tables.append(table)
    shapes = {batch.pictures.shape[1:] for batch in read.batches.values()}
    if len(shapes) > 1:
        raise InputError(f"{path.name}: its batches hold pictures of several sizes.")
    pictures = np.concatenate([batch.pictures for batch in read.batches.values()])
    return pictures, pd.concat(tables, ignore_index=True), [] if read.names.fine else [UNNAMED]


def _names_of(numbers: np.ndarray, names: Sequence[str]) -> pd.Series:
    """The names of classes by number, or the numbers as text."""
    return pd.Series([names[number] if names else str(number) for number in numbers.tolist()], dtype="string")


def _class_file(path: Path) -> tuple[str, ...]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}).") from error
    return cifar.text_names(content, path.name)


def _kind(path: Path) -> Kind | None:
    """By its name, or of a file whose name says nothing by its first bytes."""
    name = path.name.lower()
    if name.endswith((*PICTURE_SUFFIXES, ".npz", ".zip")):
        return None
    if is_parquet(name):
        return "parquet"
    if idx.is_idx_name(name) or idx.dimensions(path) is not None:
        return "idx"
    if cifar.is_tar(name):
        return "tar"
    if cifar.is_batch(path) or name.endswith(".bin") or _begins(path, PICKLE_MARKS):
        return "batch"
    return None


def _begins(path: Path, marks: tuple[bytes, ...]) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2).startswith(marks)
    except OSError:
        return False


def _without_doubles(sources: list[str], kinds: Mapping[str, Kind]) -> tuple[list[str], list[str]]:
    """(`sources` without idx files that lie there unpacked, too, and tars beside their folder; what to say of them)."""
    there = set(sources)
    folders = {PurePosixPath(source).parent for source in sources if kinds.get(source) == "batch"}
    left = []
    for source, kind in kinds.items():
        packed = kind == "idx" and source.lower().endswith(".gz") and source[:-3] in there
        around = PurePosixPath(source).parent
        unpacked = kind == "tar" and any(folder.parent == around for folder in folders)
        if packed or unpacked:
            left.append(source)
    told = (
        [f"{len(left)} packed files are left out: what they hold lies unpacked beside them."] if left else []
    )
    return [source for source in sources if source not in left], told


def _labels_of(archive: Path, sources: list[str]) -> dict[str, dict[str, str]]:
    """Source of pictures -> {"labels": path} for idx files."""
    found: dict[str, dict[str, str]] = {}
    for source in sources:
        folder = PurePosixPath(source).parent
        names = [(folder / name).as_posix() for name in idx.partner_names(PurePosixPath(source).name)]
        named = next((name for name in names if (archive / name).is_file()), None)
        if named is not None:
            found[source] = {"labels": named}
    used = {names["labels"] for names in found.values()}
    single = [source for source in sources if source not in found and source not in used]
    by_dimensions = {
        count: [source for source in single if idx.dimensions(archive / source) == count]
        for count in (idx.PICTURES, idx.LABELS)
    }
    if all(len(each) == 1 for each in by_dimensions.values()):
        pictures, labels = by_dimensions[idx.PICTURES][0], by_dimensions[idx.LABELS][0]
        if not (
            idx.is_idx_name(pictures) and idx.is_idx_name(labels)
        ):  # such names would have found each other
            found[pictures] = {"labels": labels}
    return found


def _classes_of(archive: Path, source: str, kind: Kind) -> dict[str, str]:
    """The files that name the classes of a set: part -> path."""
    folder = PurePosixPath(source).parent
    binary = source.lower().endswith(".bin")
    wanted: dict[str, tuple[str, ...]] = {}
    if kind == "idx":
        wanted = {"classes": (CLASS_FILE,)}
    elif kind == "batch":
        wanted = {"classes": tuple(name for name in cifar.CLASSES if name.endswith(".txt") == binary)}
        wanted |= {"coarse": (cifar.COARSE,)} if binary else {}
    paths = {
        part: [(folder / name).as_posix() for name in names if name != PurePosixPath(source).name]
        for part, names in wanted.items()
    }
    there = {
        part: next((name for name in names if (archive / name).is_file()), None)
        for part, names in paths.items()
    }
    return {part: name for part, name in there.items() if name is not None}
