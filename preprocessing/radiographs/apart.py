"""From a file's bytes to the small square, in a process of its own: codecs of DICOM and PNG can die of a damaged file."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np

from esad.preprocessing.errors import InputError
from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.radiographs.reading import read_radiograph
from esad.preprocessing.radiographs.squares import Squaring, small_square


def square_apart(
    content: bytes | Path, name: str, how: Squaring
) -> tuple[np.ndarray, tuple[int, int], list[str]]:
    """(uint8 (size, size), (height, width) of the whole radiograph, notes); InputError for whatever befalls the decoding.

    Of a Path that process reads the content itself: a file comes sooner out of the page cache than through a pipe.
    """
    given, packed = (content, len(content)) if isinstance(content, bytes) else _stated(content, name)
    square, shape, notes = own_process().call(_square, name, given, name, list(astuple(how)), packed=packed)
    return square, (shape[0], shape[1]), notes


def _stated(path: Path, name: str) -> tuple[str, int]:
    try:
        return str(path.absolute()), path.stat().st_size
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}).") from error


def _square(content: bytes | str, name: str, how: list) -> list:
    squaring = Squaring(*how)
    whole = content if isinstance(content, bytes) else Path(content).read_bytes()
    decoded = read_radiograph(whole, name).picture()
    return [small_square(decoded.pixels, squaring, name), list(decoded.pixels.shape), list(decoded.notes)]
