"""The batches of CIFAR-10, CIFAR-100 and sets in their form: Python's and binary ones, in a folder or in the tar as published.

Forms (https://www.cs.toronto.edu/~kriz/cifar.html): a picture is its red, green and blue planes, row by row. A Python batch
is a pickled dict of `data` uint8 (N, 3 * side * side) and `labels`, or `fine_labels` and `coarse_labels`; it is not
unpickled (`plain_pickle`). A binary batch is one record after the other: a label (CIFAR-100: coarse, then fine), 3072 values.
The names of the classes stand beside: `batches.meta`, `meta`, or text files of a name a line.
"""

from __future__ import annotations

import math
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import ALWAYS, MOST_INFLATION, check_size, in_bytes
from esad.preprocessing.gate.refusals import refusing
from esad.preprocessing.natural.idx import unpacked
from esad.preprocessing.natural.plain_pickle import read_plain
from esad.preprocessing.zips import MOST_BYTES

PYTHON_BATCH = re.compile(r"(data_batch_\d+|test_batch|train|test)$")
BINARY_BATCH = re.compile(r"(data_batch_\d+|test_batch|train|test)\.bin$")
NAMED_BATCH = re.compile(r"(data_batch_\d+|test_batch)(\.bin)?$")
"""Names that no other file has; `train` and `test` are batches only beside the names of classes."""
CLASSES = ("batches.meta", "meta", "batches.meta.txt", "fine_label_names.txt")
COARSE = "coarse_label_names.txt"
"""The names of CIFAR-100's 20 groups of classes in its binary version; `meta` has both."""
MOST_MEMBERS = 10_000
"""Of a tar; the published ones have eight."""
SIDE = 32
RECORD = 3 * SIDE * SIDE
WITHOUT_NAMES = {1: (10,), 2: (20, 100)}
"""Labels a record -> how many values each may have where no names are given: coarse, fine."""


@dataclass(frozen=True)
class Batch:
    """Pictures uint8 (N, H, W, 3), and the numbers of their classes (N,), of CIFAR-100's groups of classes, too."""

    pictures: np.ndarray
    classes: np.ndarray
    coarse: np.ndarray | None = None


@dataclass(frozen=True)
class ClassNames:
    """The names of classes, in the order of their numbers; empty where they are not told."""

    fine: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()
    file: str = ""
    """What holds them."""


@dataclass(frozen=True)
class Batches:
    """Batches by name, in order, and the names of their classes."""

    batches: Mapping[str, Batch]
    names: ClassNames = field(default_factory=ClassNames)


def is_batch(path: Path) -> bool:
    """Whether the file is a batch by its name, and by the names of classes beside it where the name says little."""
    name = path.name
    if NAMED_BATCH.match(name):
        return True
    pattern = BINARY_BATCH if name.endswith(".bin") else PYTHON_BATCH
    beside = ("fine_label_names.txt", "batches.meta.txt") if name.endswith(".bin") else ("meta",)
    return pattern.match(name) is not None and any((path.parent / each).is_file() for each in beside)


def is_tar(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith((".tar.gz", ".tgz", ".tar"))


def split_of_batch(name: str) -> str:
    """data_batch_1 and train are train, test_batch and test are test."""
    return "test" if PurePosixPath(name).name.startswith("test") else "train"


def read_batch_file(path: Path, classes: Path | None, coarse: Path | None) -> Batches:
    """One batch and, from the files beside it, the names of its classes; InputError for any fault, naming the file."""
    with refusing(path.name, "batch of pictures"):
        check_size(path.name, path.stat().st_size, path.stat().st_size)
        batch = _batch(path.read_bytes(), path.name)
    texts = {"fine": classes, "coarse": coarse}
    names = _names({part: (each.name, _small(each)) for part, each in texts.items() if each is not None})
    _check_numbers(batch, names, path.name)
    return Batches({path.name: batch}, names)


def read_batch_tar(path: Path) -> Batches:
    """All batches of a tar, packed or not, read member by member and never extracted; InputError for any fault.

    Members are known by their names; others are passed over. Refused are names that leave the archive, two members of one
    name, batches of two folders, and what is too large (`check_size`).
    """
    batches: dict[str, Batch] = {}
    texts: dict[str, tuple[str, bytes]] = {}
    with refusing(path.name, "tar of CIFAR's batches"), unpacked(path) as file:
        for member, content in _members(path, _Bounded(file, path)):
            name, place = PurePosixPath(member).name, f"{path.name}/{member}"
            if name in CLASSES:
                texts["fine"] = (place, content)
            elif name == COARSE:
                texts["coarse"] = (place, content)
            else:
                batches[name] = _batch(content, place)
    if not batches:
        raise InputError(
            f"{path.name}: holds no batches of CIFAR (data_batch_1, test_batch, …); pictures in a tar: unpack it, or make a "
            "zip of class folders."
        )
    names = _names(texts)
    for name, batch in batches.items():
        _check_numbers(batch, names, f"{path.name}/{name}")
    return Batches(dict(sorted(batches.items())), names)


class _Bounded:
    """An opened tar's bytes: no single read takes more than MOST_BYTES, and nothing leads beyond what the file may hold."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.name = file, path.name
        self.end = max(ALWAYS, MOST_INFLATION * path.stat().st_size)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_BYTES:
            raise InputError(f"{self.name}: a member is larger than {in_bytes(MOST_BYTES)}.")
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        if place > self.end:
            raise InputError(f"{self.name}: claims more than {MOST_INFLATION} times its size.")
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()


def _members(path: Path, bounded: _Bounded) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the members that are batches or name their classes."""
    total, packed, folders, seen = 0, path.stat().st_size, set[str](), set[str]()
    with tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r:") as archive:
        for count, entry in enumerate(archive):
            if count >= MOST_MEMBERS:
                raise InputError(f"{path.name}: holds more than {MOST_MEMBERS} files; it is no tar of CIFAR.")
            parts = PurePosixPath(entry.name)
            wanted = parts.name in (*CLASSES, COARSE)
            if not entry.isfile() or not (
                wanted or PYTHON_BATCH.match(parts.name) or BINARY_BATCH.match(parts.name)
            ):
                continue
            if parts.is_absolute() or ".." in parts.parts or "\\" in entry.name:
                raise InputError(f"{path.name}: member {entry.name!r} points out of the archive.")
            folders.add(parts.parent.as_posix())
            if entry.name in seen or len(folders) > 1:
                raise InputError(
                    f"{path.name}: holds {parts.name!r} twice, or batches of several folders; keep those of one set."
                )
            seen.add(entry.name)
            if entry.issparse() or not 0 <= entry.size <= MOST_BYTES:
                raise InputError(
                    f"{path.name}: member {entry.name!r} is larger than {in_bytes(MOST_BYTES)}, or has holes."
                )
            total += entry.size
            check_size(path.name, total, packed)
            content = archive.extractfile(entry)
            assert content is not None  # a regular file has some
            yield entry.name, content.read(entry.size)


def _small(path: Path) -> bytes:
    """The names of classes; InputError for a file that is too large to hold names."""
    with refusing(path.name, "file of class names"):
        if path.stat().st_size > 1 << 20:
            raise InputError(f"{path.name}: too large for the names of classes.")
        return path.read_bytes()


def _batch(content: bytes, name: str) -> Batch:
    return _binary_batch(content, name) if name.lower().endswith(".bin") else _python_batch(content, name)


def _python_batch(content: bytes, name: str) -> Batch:
    values = _dict_of(read_plain(content, name), name)
    data = values.get("data")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or not len(data):
        raise InputError(f"{name}: holds no array data of pictures (N, 3 x height x width).")
    side = math.isqrt(data.shape[1] // 3)
    if side == 0 or 3 * side * side != data.shape[1]:
        raise InputError(f"{name}: data is {data.shape}; expected three planes of a square picture a row.")
    numbers = {
        key: _numbers(values[key], key, len(data), name)
        for key in ("labels", "fine_labels", "coarse_labels")
        if key in values
    }
    classes = numbers.get("labels", numbers.get("fine_labels"))
    if classes is None:
        raise InputError(f"{name}: holds no labels (or fine_labels); it has {', '.join(sorted(values)[:8])}.")
    pictures = data.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
    return Batch(np.ascontiguousarray(pictures), classes, numbers.get("coarse_labels"))


def _dict_of(value: object, name: str) -> dict[str, object]:
    """`value`, a dict whose keys are texts, of bytes or characters; InputError for anything else."""
    if not isinstance(value, dict):
        raise InputError(f"{name}: holds a {type(value).__name__}; expected a dict of data and labels.")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): of for key, of in value.items()}


def _numbers(values: object, key: str, count: int, name: str) -> np.ndarray:
    """Labels (N,) int64; InputError where they are no whole numbers, or not one for each picture."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(plain, list) or not all(type(one) is int and 0 <= one < 1 << 31 for one in plain):
        raise InputError(f"{name}: {key} are not a list of whole numbers.")
    if len(plain) != count:
        raise InputError(f"{name}: holds {count} pictures and {len(plain)} {key}; it is damaged.")
    return np.asarray(plain, np.int64)


def _binary_batch(content: bytes, name: str) -> Batch:
    fits = [labels for labels in (1, 2) if content and len(content) % (labels + RECORD) == 0]
    if len(fits) > 1:  # by the names that the two sets have
        fits = [2 if re.search(r"(train|test)\.bin$", name) else 1]
    if not fits:
        raise InputError(
            f"{name}: is {len(content)} bytes long; expected records of {1 + RECORD} (CIFAR-10) or {2 + RECORD} (CIFAR-100)."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, fits[0] + RECORD)
    pictures = rows[:, fits[0] :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    classes = rows[:, fits[0] - 1].astype(np.int64)
    limits = WITHOUT_NAMES[fits[0]]
    batch = Batch(
        np.ascontiguousarray(pictures), classes, rows[:, 0].astype(np.int64) if fits[0] == 2 else None
    )
    for numbers, limit in zip((classes,) if fits[0] == 1 else (batch.coarse, classes), limits, strict=True):
        if numbers is not None and int(numbers.max()) >= limit:
            raise InputError(
                f"{name}: has a label {int(numbers.max())}; expected 0 to {limit - 1}. It is no binary batch of CIFAR."
            )
    return batch


def _names(texts: Mapping[str, tuple[str, bytes]]) -> ClassNames:
    """The names of classes from the files that hold them: part -> (name of the file, content)."""
    fine: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()
    for part, (name, content) in texts.items():
        if name.endswith(".txt"):
            found = text_names(content, name)
            fine, coarse = (fine, found) if part == "coarse" else (found, coarse)
            continue
        values = _dict_of(read_plain(content, name), name)
        listed = {key: _words(of, key, name) for key, of in values.items() if key.endswith("label_names")}
        fine = listed.get("label_names", listed.get("fine_label_names", ()))
        coarse = listed.get("coarse_label_names", ())
        if not fine:
            raise InputError(f"{name}: holds no label_names (or fine_label_names).")
    return ClassNames(fine, coarse, " and ".join(name for name, _ in texts.values()))


def text_names(content: bytes, name: str) -> tuple[str, ...]:
    """The names of classes, one a line; InputError where it is no UTF-8, holds none, or one twice."""
    with refusing(name, "list of class names"):
        return _distinct([line.strip() for line in content.decode("utf-8-sig").splitlines()], name)


def _words(values: object, key: str, name: str) -> tuple[str, ...]:
    plain = values if isinstance(values, list) else [None]
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in plain]
    if not all(isinstance(word, str) for word in words):
        raise InputError(f"{name}: {key} are not a list of names.")
    return _distinct([str(word).strip() for word in words], name)


def _distinct(words: list[str], name: str) -> tuple[str, ...]:
    while words and not words[-1]:
        words.pop()
    if not words or not all(words) or len(set(words)) < len(words):
        raise InputError(f"{name}: is no list of the names of classes (one is empty, or stands there twice).")
    return tuple(words)


def _check_numbers(batch: Batch, names: ClassNames, name: str) -> None:
    for numbers, known in ((batch.classes, names.fine), (batch.coarse, names.coarse)):
        if numbers is not None and known and int(numbers.max()) >= len(known):
            raise InputError(
                f"{name}: has a label {int(numbers.max())}, and {names.file} the names of {len(known)} classes, from 0 on."
            )
