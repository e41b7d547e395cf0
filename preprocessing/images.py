"""Pictures from npz files, class folders and zip archives of them: uint8 (H, W, C)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.pictures import Colour, Picture, decode
from esad.preprocessing.splits.labels import split_of_folder
from esad.preprocessing.splits.two_values import CLASS_WORDS, NORMAL_WORDS, fold
from esad.preprocessing.tables.columns import Columns
from esad.preprocessing.tables.items import describe_items, take_items
from esad.preprocessing.tables.npz import load_npz, npz_shapes
from esad.preprocessing.zips import file_names

PICTURE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".j2k", ".avif",
)  # fmt: skip


OF_IMAGES = ("images", "image", "imgs", "img", "data", "pictures")
"""Folders that say that there are images in them."""


def read_npz(path: Path, columns: Columns, size: int | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Pictures uint8 (N, H, W, C) of an npz file and what is known of each (see `tables.describe_items`).

    `x` or `X` is uint8 (N, H, W) or (N, H, W, C); or `x_train`, `y_train`, `x_test`, `y_test`; other names by `npz.with_x`. InputError
    else.
    """
    arrays = load_npz(path)
    columns.check(list(arrays), path)
    columns = columns.found_in(list(arrays), [name for name in arrays if name not in ("x", "X")], path)
    pictures, known = take_items(arrays, columns, path)
    if pictures.ndim not in (3, 4) or pictures.dtype != np.uint8:
        scaled = (
            " If its values are 0 to 1: (255 * x).round().astype('uint8')."
            if pictures.dtype.kind == "f"
            else ""
        )
        raise InputError(
            f"{path.name}: x is {pictures.dtype} {pictures.shape}; expected uint8 (N, H, W) or (N, H, W, C).{scaled}"
        )
    if not len(pictures):
        raise InputError(f"{path.name}: holds no pictures.")
    pictures = pictures[..., None] if pictures.ndim == 3 else pictures
    if pictures.shape[-1] not in (1, 3):
        first = (
            " They seem to stand first: move them last, x.transpose(0, 2, 3, 1)."
            if pictures.shape[1] in (1, 3)
            else ""
        )
        raise InputError(f"{path.name}: {pictures.shape[-1]} channels; expected 1 (grey) or 3 (RGB).{first}")
    if size is not None and pictures.shape[1:3] != (size, size):
        pictures = np.stack([resize(picture, size) for picture in pictures])
    table = pd.DataFrame(known, index=range(len(pictures)))
    return pictures, describe_items(table, columns, path)


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """`picture` (H, W, C) uint8 as (size, size, C): the whole picture, box-filtered when it shrinks."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    method = Image.Resampling.BOX if min(image.size) >= size else Image.Resampling.BILINEAR
    out = np.asarray(image.resize((size, size), method))
    return out[..., None] if out.ndim == 2 else out


def decode_picture(content: bytes, name: str, size: int | None, colour: Colour | None = None) -> Picture:
    """A picture file's bytes as shown (`pictures.decode`), in its own colours or as `colour`, resized to `size`."""
    picture = decode(content, name, colour)
    if size is None or picture.pixels.shape[:2] == (size, size):
        return picture
    return Picture(resize(picture.pixels, size), picture.notes)


def decode_apart(content: bytes, name: str, size: int | None, colour: Colour | None) -> Picture:
    """`decode_picture` in a process of its own: codecs can die of a damaged file, which is then refused alone."""
    pixels, notes = own_process().call(_for_wire, name, content, name, size, colour, packed=len(content))
    return Picture(pixels, tuple(notes))


def _for_wire(content: bytes, name: str, size: int | None, colour: Colour | None) -> list[object]:
    picture = decode_picture(content, name, size, colour)
    return [picture.pixels, list(picture.notes)]


def npz_colours(path: Path) -> Counter[str]:
    """How many pictures of an npz are grey and how many rgb, by the headers of x, X or x_train and x_test; {} if unknown."""
    votes: Counter[str] = Counter()
    try:
        for name, shape in npz_shapes(path).items():
            if name.lower() in ("x", "x_train", "x_test"):
                votes["rgb" if len(shape) == 4 and shape[-1] == 3 else "grey"] += shape[0]
    except Exception:  # noqa: BLE001  a damaged file has no vote; it is refused in words where it is read
        return Counter()
    return votes


def describe_path(relative: str, archive: str = "") -> dict[str, str | None]:
    """`split` and `class_name` from a path such as train/normal/a.png or normal/a.png.

    A folder named train, test, validation, val, train_val, eval or test_public is the split, and the folder below it the class;
    without such a folder the first one is the class. A picture in neither is of the class that a folder above the split, or
    the folder `archive`, is named after, if that is one of CLASS_WORDS, else of none. InputError for a picture in a folder that is
    called normal and in one that is called an anomaly: cancer/normal/a.png.
    """
    split, below = split_and_below(relative)
    folders = PurePosixPath(relative).parts[:-1]
    above = folders[: _first_part(folders) or 0]
    if not below or fold(below[0]) in CLASS_WORDS:  # else the first folder names a class of its own
        check_one_class(below or above)
    if below:
        return {"split": split, "class_name": below[0]}
    named = [folder for folder in (archive, *above) if fold(folder) in CLASS_WORDS]
    return {"split": split, "class_name": named[-1] if named else None}


def check_one_class(folders: Sequence[str]) -> None:
    """InputError where one of the `folders` is called normal and one an anomaly. It says nothing else of the path, which may hold a
    name."""
    says = {word in NORMAL_WORDS: folder for folder in folders if (word := fold(folder)) in CLASS_WORDS}
    if len(says) == 2:
        raise InputError(
            f"lies in a folder {says[True]!r} and in one {says[False]!r}; is it normal or an anomaly? Give each its own folder."
        )


def split_and_below(relative: str) -> tuple[str | None, tuple[str, ...]]:
    """(the split that a folder of a picture's path names, if any, the folders below it, or all): the first of these is the class.

    A folder of the same part in it (`train/train/cats`, as many zips unpack) is no class, nor is one of OF_IMAGES above one that is
    called as classes are (`train/images/normal`).
    """
    folders = PurePosixPath(relative).parts[:-1]
    place = _first_part(folders)
    if place is None:
        return None, folders
    split, below = split_of_folder(folders[place]), place + 1
    while below < len(folders) and split_of_folder(folders[below]) == split:
        below += 1
    if (
        below + 1 < len(folders)
        and folders[below].lower() in OF_IMAGES
        and fold(folders[below + 1]) in CLASS_WORDS
    ):
        below += 1
    return split, folders[below:]


def _first_part(folders: Sequence[str]) -> int | None:
    """Which of the `folders` is the first that is called after a part."""
    return next((place for place, name in enumerate(folders) if split_of_folder(name)), None)


def zip_members(path: Path) -> list[str]:
    """Names of the pictures in a zip, sorted; InputError where it is broken, empty, or a name leaves the archive."""
    pictures = [name for name in file_names(path) if is_picture(name)]
    if not pictures:
        raise InputError(f"{path.name}: holds no pictures ({', '.join(PICTURE_SUFFIXES)}).")
    return pictures


def is_picture(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def is_npz(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith(".npz")


def inner_names(members: list[str]) -> dict[str, str]:
    """Member -> its path without the one folder that holds them all, if a zip has one that is no class or split."""
    tops = {PurePosixPath(name).parts[0] for name in members}
    if len(tops) != 1:
        return {name: name for name in members}
    (top,) = tops
    says = split_of_folder(top) is not None or top.lower() in CLASS_WORDS
    wrapped = not says and all("/" in name for name in members)
    return {name: name[len(top) + 1 :] if wrapped else name for name in members}
