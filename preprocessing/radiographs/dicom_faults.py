"""What pydicom and its decoders raise on damaged files, and how a person is told of it: never in their words or names."""

from __future__ import annotations

import struct
import zlib

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import UID_dictionary

from esad.preprocessing.dicom_codecs import is_available

FAULTS = (
    ArithmeticError, AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OSError, RuntimeError,
    struct.error, TypeError, ValueError, zlib.error, InvalidDicomError, MemoryError,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged files."""


class UnusablePixels(ValueError):
    """The pixels are no picture, for a reason in words of our own."""


def in_words(error: BaseException) -> str:
    """Why a file could not be read. What pydicom says may quote an element, which may hold a name."""
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, (AttributeError, KeyError)):
        return "an element that is needed is missing"
    if isinstance(error, NotImplementedError):
        return "of a kind that is not read"
    return "damaged, or shorter than it says"


def pixels_in_words(dataset: pydicom.Dataset, error: BaseException) -> str:
    """Why the pixels of `dataset` could not be decoded."""
    if isinstance(error, UnusablePixels):
        return str(error)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax not in UID_dictionary:
        return "unknown transfer syntax"
    return f"{syntax.name}: {in_words(error) if _decoded(syntax) else 'no decoder for it is installed'}"


def _decoded(syntax: pydicom.uid.UID) -> bool:
    if not syntax.is_encapsulated or is_available(syntax):
        return True
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
