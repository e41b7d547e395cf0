"""From a file's bytes to the small square, in a process of its own: codecs of DICOM and PNG can die of a damaged file."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.radiographs.reading import read_radiograph
from esad.preprocessing.radiographs.squares import Squaring, small_square


def square_apart(content: bytes, name: str, how: Squaring) -> tuple[np.ndarray, tuple[int, int], list[str]]:
    """(uint8 (size, size), (height, width) of the whole radiograph, notes); InputError for whatever befalls the decoding."""
    square, shape, notes = own_process().call(
        _square, name, content, name, list(astuple(how)), packed=len(content)
    )
    return square, (shape[0], shape[1]), notes


def _square(content: bytes, name: str, how: list) -> list:
    squaring = Squaring(*how)
    decoded = read_radiograph(content, name).picture()
    return [small_square(decoded.pixels, squaring, name), list(decoded.pixels.shape), list(decoded.notes)]
