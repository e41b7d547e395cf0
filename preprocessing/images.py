"""Pictures from npz files, class folders and zip archives of them: uint8 (H, W, C)."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from preprocessing.errors import InputError
from preprocessing.labels import SPLIT_WORDS, SPLITS
from preprocessing.tables import Columns, describe_items, join_halves, load_npz

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
NORMAL_NAMES = ("normal", "good")


def read_npz(path: Path, columns: Columns, size: int | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Pictures uint8 (N, H, W, C) of an npz file and what is known of each (see `tables.describe_items`).

    `x` or `X` is uint8 (N, H, W) or (N, H, W, C); or `x_train`, `y_train`, `x_test`, `y_test`. InputError else.
    """
    arrays = join_halves(load_npz(path), path)
    columns.check(list(arrays), path)
    name = next((name for name in ("x", "X") if name in arrays), None)
    if name is None:
        raise InputError(
            f"{path.name}: expected an array x (N x H x W [x C]) or x_train; it has {', '.join(arrays)}."
        )
    pictures = arrays.pop(name)
    if pictures.ndim not in (3, 4) or pictures.dtype != np.uint8:
        raise InputError(
            f"{path.name}: {name} is {pictures.dtype} {pictures.shape}; expected uint8 (N, H, W) or (N, H, W, C)."
        )
    pictures = pictures[..., None] if pictures.ndim == 3 else pictures
    if pictures.shape[-1] not in (1, 3):
        raise InputError(f"{path.name}: {pictures.shape[-1]} channels; expected 1 (grey) or 3 (RGB).")
    if size is not None and pictures.shape[1:3] != (size, size):
        pictures = np.stack([resize(picture, size) for picture in pictures])
    known = pd.DataFrame({key: a for key, a in arrays.items() if a.ndim == 1 and len(a) == len(pictures)})
    return pictures, describe_items(known, columns, path)


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
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: not a readable picture ({error}).") from error
    if image.mode.startswith(("I", "F")):
        picture = (np.asarray(image, dtype=np.float64) / 257).clip(0, 255).round().astype(np.uint8)[..., None]
    elif image.mode in ("L", "1", "LA"):
        picture = np.asarray(image.convert("L"))[..., None]
    else:
        picture = np.asarray(image.convert("RGB"))
    return picture if size is None or picture.shape[:2] == (size, size) else resize(picture, size)


def describe_path(relative: str) -> dict[str, str | None]:
    """`split` and `class_name` from a path such as train/normal/a.png: the folder above the file is its class."""
    parts = list(PurePosixPath(relative).parts[:-1])
    split = None
    for part in list(parts):
        word = SPLIT_WORDS.get(part.lower(), part.lower())
        if word in SPLITS:
            split = word
            parts.remove(part)
            break
    return {"split": split, "class_name": parts[-1] if parts else None}


def labels_of_classes(classes: pd.Series) -> pd.Series:
    """Int8 labels where the classes tell: one called normal or good is 0 and the others are 1; else null."""
    names = classes.astype("string").str.lower()
    if not names.isin(NORMAL_NAMES).any():
        return pd.Series(pd.NA, index=classes.index, dtype="Int8")
    return (~names.isin(NORMAL_NAMES)).astype("Int8").mask(names.isna())


def zip_members(path: Path) -> list[str]:
    """Names of the pictures in a zip; InputError where it is broken or a name leaves the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path.name}: not a readable zip ({error}).") from error
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path.name}: member {name!r} points out of the archive.")
    return sorted(
        n for n in names if n.lower().endswith(PICTURE_SUFFIXES) and not PurePosixPath(n).name.startswith(".")
    )
