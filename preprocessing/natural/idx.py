"""idx files, as MNIST and its likes are published: pictures in one file, their classes in another, packed with gzip or not.

The format is described with MNIST (http://yann.lecun.com/exdb/mnist): two zero bytes, the type of the values, the number of
dimensions, each dimension as a big-endian 32-bit number, the values.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.limits import check_size
from esad.preprocessing.gate.refusals import refusing
from esad.preprocessing.splits.labels import SPLIT_WORDS, SPLITS

GZIP_MARK = b"\x1f\x8b"
BYTES = 0x08
"""The type of unsigned bytes."""
OTHER_TYPES = {
    0x09: "signed bytes", 0x0B: "whole numbers of 16 bits", 0x0C: "whole numbers of 32 bits", 0x0D: "floating numbers of 32 bits",
    0x0E: "floating numbers of 64 bits",
}  # fmt: skip
LABELS, PICTURES = 1, 3
"""How many dimensions files of labels (N) and of pictures (N, H, W) have."""
NAME = re.compile(r"(images|labels)([-._])idx([13])([-._]ubyte)?(\.gz)?$", re.IGNORECASE)
"""How the files of MNIST, Fashion-MNIST, KMNIST and EMNIST are called: train-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte."""


def is_idx_name(name: str) -> bool:
    """By its ending."""
    return NAME.search(name) is not None


def dimensions(path: Path) -> int | None:
    """How many dimensions the idx file has, by its first bytes; None where it is no idx file of unsigned bytes."""
    try:
        with unpacked(path) as file:
            head = file.read(4)
    except (OSError, EOFError, zlib.error):
        return None
    return head[3] if len(head) == 4 and head[:3] == bytes((0, 0, BYTES)) else None


def partner_names(name: str) -> list[str]:
    """What the file of the labels may be called that belongs to the pictures' file `name`; [] for names of another kind."""
    found = NAME.search(name)
    if found is None or found[1].lower() != "images":
        return []
    stem, upper = name[: found.start()], found[1].isupper()
    plain = f"{stem}{'LABELS' if upper else 'labels'}{found[2]}idx1{found[4] or ''}"
    return [f"{plain}{found[5] or ''}", plain, f"{plain}.gz"]


def split_of_name(name: str) -> str | None:
    """train, validation or test by a word in a file's name; t10k, as MNIST has it, is test."""
    for word in re.split(r"[^a-z0-9]+", Path(name).name.lower()):
        meant = SPLIT_WORDS.get(word, word)
        if meant in SPLITS or word == "t10k":
            return "test" if word == "t10k" else meant
    return None


def read_idx(path: Path) -> np.ndarray:
    """The unsigned bytes of an idx file: uint8 of one (N), two, or three dimensions (N, H, W).

    InputError where it is none, holds values of another type, is cut short or goes on behind its values, or claims more than
    it can hold (`check_size`), before anything is unpacked.
    """
    with refusing(path.name, "idx file"), unpacked(path) as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0":
            raise InputError(f"{path.name}: not an idx file (it begins with {head.hex() or 'nothing'}).")
        if head[2] != BYTES:
            kind = OTHER_TYPES.get(head[2], f"values of type {head[2]:#04x}")
            raise InputError(f"{path.name}: holds {kind}; expected unsigned bytes, 0 to 255.")
        if not LABELS <= head[3] <= PICTURES:
            raise InputError(
                f"{path.name}: has {head[3]} dimensions; expected 3 (grey pictures) or 1 (labels)."
            )
        shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
        count = math.prod(shape)
        check_size(path.name, count, path.stat().st_size)
        content = file.read(count + 1)  # one more, at which gzip compares its checksum
    if len(content) != count:
        sizes, found = " x ".join(map(str, shape)), "more" if len(content) > count else f"{len(content)}"
        raise InputError(
            f"{path.name}: claims {sizes} values of one byte each and holds {found}; it is damaged."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_pictures(path: Path, labels: Path | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(uint8 (N, H, W, 1), the class of each as a number (N,) or None where there is no file of `labels`).

    InputError where either is damaged, holds the other's kind of values, or their counts differ.
    """
    pictures = read_idx(path)
    if pictures.ndim != PICTURES:
        what = "labels and no pictures" if pictures.ndim == LABELS else "no pictures (N, height, width)"
        raise InputError(f"{path.name}: holds {what}; the file of the pictures is not beside it.")
    if not pictures.size:
        raise InputError(f"{path.name}: holds no pictures.")
    if labels is None:
        return pictures[..., None], None
    classes = read_idx(labels)
    if classes.ndim != LABELS:
        raise InputError(
            f"{labels.name}: has {classes.ndim} dimensions; expected one, a label for each picture."
        )
    if len(classes) != len(pictures):
        raise InputError(
            f"{path.name}: holds {len(pictures)} pictures, {labels.name} {len(classes)} labels; they do not belong together."
        )
    return pictures[..., None], classes


def unpacked(path: Path) -> BinaryIO:
    """The file opened for reading, through gzip where it is packed, whatever it is called."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MARK
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")
