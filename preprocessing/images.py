"""Pictures from npz files, class folders and zip archives of them: uint8 (H, W, C)."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from esad.preprocessing.errors import InputError
from esad.preprocessing.splits.labels import SPLIT_WORDS, SPLITS
from esad.preprocessing.tables import Columns, describe_items, load_npz, take_items
from esad.preprocessing.zips import file_names

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
NORMAL_NAMES = ("normal", "good")


def read_npz(path: Path, columns: Columns, size: int | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Pictures uint8 (N, H, W, C) of an npz file and what is known of each (see `tables.describe_items`).

    `x` or `X` is uint8 (N, H, W) or (N, H, W, C); or `x_train`, `y_train`, `x_test`, `y_test`. InputError else.
    """
    arrays = load_npz(path)
    columns.check(list(arrays), path)
    pictures, known = take_items(arrays, columns, path)
    if pictures.ndim not in (3, 4) or pictures.dtype != np.uint8:
        raise InputError(
            f"{path.name}: x is {pictures.dtype} {pictures.shape}; expected uint8 (N, H, W) or (N, H, W, C)."
        )
    if not len(pictures):
        raise InputError(f"{path.name}: holds no pictures.")
    pictures = pictures[..., None] if pictures.ndim == 3 else pictures
    if pictures.shape[-1] not in (1, 3):
        raise InputError(f"{path.name}: {pictures.shape[-1]} channels; expected 1 (grey) or 3 (RGB).")
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


def decode_picture(content: bytes, name: str, size: int | None) -> np.ndarray:
    """uint8 (H, W, 1) for grey, (H, W, 3) for any other picture; InputError where it cannot be decoded.

    16-bit grey is brought to 8 bit by its full range.
    """
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not a readable picture (no known format).") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: not a readable picture ({error}).") from error
    if image.mode.startswith(("I", "F")):
        picture = (np.asarray(image, dtype=np.float64) / 257).clip(0, 255).round().astype(np.uint8)[..., None]
    elif image.mode in ("L", "1", "LA"):
        picture = np.asarray(image.convert("L"))[..., None]
    else:
        picture = np.asarray(image.convert("RGB"))
    return picture if size is None or picture.shape[:2] == (size, size) else resize(picture, size)


def describe_path(relative: str) -> dict[str, str | None]:
    """`split` and `class_name` from a path such as train/normal/a.png or normal/a.png.

    A folder named train, test, validation, val or train_val is the split, and the folder below it the class;
    without such a folder the first one is the class. A picture in neither has none.
    """
    folders = PurePosixPath(relative).parts[:-1]
    words = [SPLIT_WORDS.get(folder.lower(), folder.lower()) for folder in folders]
    place = next((place for place, word in enumerate(words) if word in SPLITS), None)
    below = folders if place is None else folders[place + 1 :]
    return {"split": None if place is None else words[place], "class_name": below[0] if below else None}


def labels_of_classes(classes: pd.Series) -> pd.Series:
    """Int8 labels where the classes tell: of exactly two, one called normal or good, that is 0, the other 1; else null.

    More classes stay classes: which of them are normal is a setting of training (`data.normal_classes`).
    """
    names = classes.astype("string").str.lower()
    labels = pd.Series(pd.NA, index=classes.index, dtype="Int8")
    if names.nunique() == 2 and names.dropna().isin(NORMAL_NAMES).sum() not in (0, names.notna().sum()):
        labels[names.notna()] = (~names[names.notna()].isin(NORMAL_NAMES)).astype("Int8")
    return labels


def zip_members(path: Path) -> list[str]:
    """Names of the pictures in a zip, sorted; InputError where it is broken, empty, or a name leaves the archive."""
    pictures = [name for name in file_names(path) if is_picture(name)]
    if not pictures:
        raise InputError(f"{path.name}: holds no pictures ({', '.join(PICTURE_SUFFIXES)}).")
    return pictures


def is_picture(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def inner_names(members: list[str]) -> dict[str, str]:
    """Member -> its path without the one folder that holds them all, if a zip has one that is no class or split."""
    tops = {PurePosixPath(name).parts[0] for name in members}
    if len(tops) != 1:
        return {name: name for name in members}
    (top,) = tops
    word = SPLIT_WORDS.get(top.lower(), top.lower())
    wrapped = word not in (*SPLITS, *NORMAL_NAMES) and all("/" in name for name in members)
    return {name: name[len(top) + 1 :] if wrapped else name for name in members}
