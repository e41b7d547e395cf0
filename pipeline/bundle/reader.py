"""MONAI's way to read an image file, as a store reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, ensure_tuple

from esad.preprocessing.images import decode_apart, is_picture
from esad.preprocessing.pictures import Colour


class PictureReader(ImageReader):
    """For `LoadImaged`: pixels (H, W, C) of 0 to 255 as `esad images` stores them, the right way up.

    Not MONAI's PILReader: that leaves EXIF orientations, transparency, CMYK and 16 bits to the person.
    """

    def __init__(self, colour: Colour, size: int | None = None) -> None:
        """`colour` grey or rgb, `size` the square in pixels that pictures are resized to; None = as they are."""
        super().__init__()
        self.colour, self.size = colour, size

    def verify_suffix(self, filename: Any) -> bool:
        """Whether the ending is that of a picture."""
        return all(is_picture(str(name)) for name in ensure_tuple(filename))

    def read(self, data: Any, **_: Any) -> tuple[str, bytes]:
        """Name and bytes of the one file."""
        (path,) = ensure_tuple(data)
        return Path(path).name, Path(path).read_bytes()

    def get_data(self, img: Sequence[Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """(uint8 (H, W, C), MONAI's meta data); InputError for a damaged file.

        Decoded here and not in `read`, whose errors make LoadImaged try other readers, which would read it otherwise.
        """
        name, content = img
        pixels = decode_apart(content, name, self.size, self.colour).pixels
        return pixels, {MetaKeys.SPATIAL_SHAPE: np.array(pixels.shape[:2]), MetaKeys.ORIGINAL_CHANNEL_DIM: -1}


def metas_for_csv(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The meta data of a batch's pictures, their names as cells of CSV (RFC 4180): MONAI's saver writes them as they are, and a name may
    hold a comma."""
    metas = [dict(item["image"].meta) for item in batch]
    for meta in metas:
        name = str(meta["filename_or_obj"])
        if any(mark in name for mark in ',"\r\n'):
            name = '"' + name.replace('"', '""') + '"'
        meta["filename_or_obj"] = name
    return metas
