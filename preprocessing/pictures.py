"""One encoded picture (PNG, JPEG, TIFF, WebP, GIF, JPEG 2000, AVIF, BMP, PNM) as uint8, as a viewer shows it. Pure.

Turned as its EXIF orientation says (Exif 2.32, 4.6.4, tag 0x0112). CMYK becomes RGB, palettes their colours, 16 bits 8 by
their full range. An alpha channel is dropped: what a picture has under its transparent parts shows, since any other
background would be an invention. Colour profiles are not applied. What was changed or assumed is told in notes, whose words
are all in this file.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from esad.preprocessing.errors import InputError

Colour = Literal["grey", "rgb"]
FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "AVIF", "PPM")
"""Known by their content; others are never opened (PostScript, say, is a program that Pillow would have run)."""
CODECS = {
    ".jpg": ("jpg", "JPEG"), ".jpeg": ("jpg", "JPEG"), ".webp": ("webp", "WebP"), ".avif": ("avif", "AVIF"),
    ".jp2": ("jpg_2000", "JPEG 2000"), ".j2k": ("jpg_2000", "JPEG 2000"),
}  # fmt: skip
"""Ending -> Pillow's name of the library that it needs, and the format's own: an installation may lack it."""
MOST_PIXELS = 178_956_970
"""Where Pillow's warning becomes an error: twice Image.MAX_IMAGE_PIXELS as it comes, half a gigabyte of RGB."""
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
LUMA = (19595, 38470, 7471)
"""ITU-R BT.601 in 1/65536, as Pillow's convert("L")."""
WIDE_NOTE = 32767
"""Values of 16 bits that reach no more than half of the range may be 8 to 15 bits that were stored without scaling."""
DOWNSIZED = 1
"""Of TIFF's NewSubfileType: the page is a smaller copy of another one (TIFF 6.0, 254)."""
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF 6.0, section 2, and BigTIFF."""
WHITE_IS_ZERO_16 = ((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
"""How Pillow takes 16 bits of grey, big endian, of which white is 0: it has the other three, and not these."""
SAMPLE_KINDS = {1: "whole", 2: "signed", 3: "floating"}
"""SampleFormat (TIFF 6.0, 339)."""

TURNED = "turned as its EXIF orientation says"
TO_GREY, TO_RGB = "colour converted to grey", "grey converted to rgb"
FROM_CMYK = "CMYK converted to RGB"
OPAQUE = "transparency dropped"
FIRST_FRAME = "first of several frames"
DIM = f"16 bits that reach {WIDE_NOTE} at most, read by their full range (of 12 bits: multiply the values by 16, of 14: by 4)"
SHARES, LEVELS = "floating values of 0 to 1 brought to 0 to 255", "floating values taken as 0 to 255"
NOTES = (TO_GREY, TO_RGB, TURNED, FROM_CMYK, OPAQUE, FIRST_FRAME, DIM, SHARES, LEVELS)
"""All that is noted, in the order in which it is told."""


@dataclass(frozen=True)
class Picture:
    """Pixels uint8 (H, W, 1) or (H, W, 3), and what was changed or assumed (of NOTES)."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """What a picture says before it is decoded: (width, height) as shown, and whether its mode is a grey one."""

    size: tuple[int, int]
    grey: bool

    @property
    def colour(self) -> Colour:
        return "grey" if self.grey else "rgb"


def decode(content: bytes, name: str, colour: Colour | None = None) -> Picture:
    """The picture of a file's bytes, in its own colours or as `colour`; InputError, naming `name`, for any fault.

    Refused: more than MOST_PIXELS (before decoding), TIFF of several pages, values that are no grey levels (not finite,
    negative, floating beyond 255, whole numbers beyond 65535).
    """
    with _faults_in_words(name, content):
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            _check_size(image, name)
            notes = _frames(image, name)
            by_pillow = image.format == "TIFF"  # which it turns as it loads it
            orientation = _orientation(image) if by_pillow else None
            image.load()
            orientation = (
                orientation if by_pillow else _orientation(image)
            )  # of PNG it would load, and hide faults
            picture = _as_shown(image, name)
            pixels = picture.pixels
            if orientation:
                notes.append(TURNED)
                pixels = pixels if by_pillow else TURNS[orientation](pixels)
        pixels, converted = to_channels(pixels, colour)
        notes += [*picture.notes, *([converted] if converted else [])]
        return Picture(np.ascontiguousarray(pixels), tuple(note for note in NOTES if note in notes))


def read_header(file: BinaryIO) -> Header | None:
    """What the open `file` says of its picture, of which little is read; None where it cannot be told."""
    try:
        with _faults_in_words(""), Image.open(file, formats=_formats()) as image:
            width, height = image.size
            done = image.format == "TIFF"  # its size is that of the turned picture
            unknown = (
                image.format == "PNG" and "exif" not in image.info
            )  # Pillow would decode it all to look behind
            if not (done or unknown) and (_orientation(image) or 1) >= 5:
                width, height = height, width
            return Header((width, height), _is_grey(image.mode))
    except InputError:
        return None


def to_channels(pictures: np.ndarray, colour: Colour | None) -> tuple[np.ndarray, str | None]:
    """uint8 (..., 1 or 3) as `colour`, and the note of it where that changed them: luma of BT.601, or grey three times."""
    channels = pictures.shape[-1]
    if colour == "grey" and channels == 3:
        red, green, blue = (pictures[..., place].astype(np.uint32) for place in range(3))
        luma = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + 0x8000) >> 16
        return luma.astype(np.uint8)[..., None], TO_GREY
    if colour == "rgb" and channels == 1:
        return np.repeat(pictures, 3, axis=-1), TO_RGB
    return pictures, None


def _formats() -> list[str]:
    """Those of FORMATS that this Pillow reads."""
    Image.init()
    TiffImagePlugin.OPEN_INFO.setdefault(*WHITE_IS_ZERO_16)
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _faults_in_words(name: str, content: bytes = b"") -> Iterator[None]:
    """InputError, in words of our own, for whatever a decoder raises; its warnings are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its text holds an address in memory
        raise InputError(f"{name}: not a readable picture ({_unknown(name, content)}).") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: more than {MOST_PIXELS} pixels; no more are read.") from error
    except MemoryError as error:
        raise InputError(f"{name}: takes more memory than there is.") from error
    except Exception as error:
        cut = "truncated" in str(error).lower()
        told = "its pixels end too early" if cut else "damaged, or of a kind that is not read"
        raise InputError(f"{name}: not a readable picture ({told}).") from error


def _unknown(name: str, content: bytes) -> str:
    """Why Pillow knows none of its formats in `content`."""
    library, called = CODECS.get(PurePosixPath(name).suffix.lower(), ("", ""))
    if library and not features.check(library):
        return f"this installation of Pillow reads no {called}; convert it to PNG"
    return _unread_tiff(content) if content[:4] in TIFF_MARKS else "no known format"


def _unread_tiff(content: bytes) -> str:
    """What the samples of a TIFF's first page are, which Pillow does not read; numbers of its tags alone."""
    try:
        big = content[2:4] in (b"\x2b\0", b"\0\x2b")
        with warnings.catch_warnings(), io.BytesIO(content) as file:
            warnings.simplefilter("ignore")
            tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if big else 8])
            file.seek(tags.next)
            tags.load(file)
            tags[256]  # its width: Pillow passes over what a damaged directory lacks
        samples, compression = int(tags.get(277, 1)), int(tags.get(259, 1))
        bits, kinds = (int(max(tags.get(tag, (1,)))) for tag in (258, 339))
    except Exception:  # noqa: BLE001  whatever a damaged directory ends in
        return "a damaged TIFF, or of a kind that is not read"
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return f"a TIFF of compression {compression}, which is not read; save it without compression"
    told = f"a TIFF of {samples} {SAMPLE_KINDS.get(kinds, 'other')} samples of {bits} bits a pixel, which is not read"
    return f"{told}; save 8 or 16 bits a sample, or one sample of 32 bits"


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:  # Pillow's own check may be switched off
        raise InputError(f"{name}: {width} x {height} pixels; at most {MOST_PIXELS} are read.")


def _frames(image: Image.Image, name: str) -> list[str]:
    """The note of an animation; InputError for a TIFF of several pages, any of which might be meant."""
    if not getattr(image, "is_animated", False):
        return []
    if image.format != "TIFF":
        return [FIRST_FRAME]
    pages, whole = int(getattr(image, "n_frames", 1)), 0
    for page in range(pages):
        image.seek(page)
        whole += not int(image.tag_v2.get(254, 0)) & DOWNSIZED  # type: ignore[attr-defined]
    image.seek(0)
    if whole > 1:
        raise InputError(f"{name}: {whole} pages; expected one picture. Save each page as a file of its own.")
    return []


def _orientation(image: Image.Image) -> int | None:
    """2 to 8 where the picture is to be turned or mirrored, else None; EXIF that cannot be read says nothing."""
    try:
        stated = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  damaged EXIF is no fault of the pixels
        return None
    return stated if isinstance(stated, int) and 2 <= stated <= 8 else None


def _is_grey(mode: str) -> bool:
    return mode in GREY_MODES or mode.startswith("I;")


def _as_shown(image: Image.Image, name: str) -> Picture:
    """The loaded image in its own colours, as it lies."""
    if image.mode == "F":
        return _of_floats(np.asarray(image), _white_is_zero(image), name)
    if image.mode.startswith("I"):
        return _of_whole_numbers(np.asarray(image), _top_value(image), _white_is_zero(image), name)
    notes = [FROM_CMYK] if image.mode == "CMYK" else []
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
        notes.append(OPAQUE)
    if image.mode in ("La", "RGBa"):  # colours that are already multiplied by alpha
        image = image.convert(f"{image.mode[:-1]}A")
    pixels = np.asarray(image.convert("L" if _is_grey(image.mode) else "RGB"))
    if _tiff_tag(image, 339) in ((2,), (2, 2, 2)) and (low := int(pixels.view(np.int8).min())) < 0:
        raise InputError(f"{name}: signed samples of 8 bits, down to {low}; expected 0 to 255.")
    return Picture(pixels[..., None] if pixels.ndim == 2 else pixels, tuple(notes))


def _tiff_tag(image: Image.Image, tag: int) -> object:
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def _white_is_zero(image: Image.Image) -> bool:
    """PhotometricInterpretation 0 (TIFF 6.0, 262); Pillow turns 8 bits round itself, and others not."""
    return _tiff_tag(image, 262) == 0


def _top_value(image: Image.Image) -> int:
    """What white is: 4095 in a TIFF whose samples are 12 bits long, else the greatest number of 16 bits."""
    return 4095 if _tiff_tag(image, 258) == (12,) else 65535


def _of_whole_numbers(values: np.ndarray, top: int, inverted: bool, name: str) -> Picture:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > top:
        raise InputError(f"{name}: grey levels of {low} to {high}; expected 0 to {top}.")
    pixels = ((values.astype(np.uint32) * 510 + top) // (2 * top)).astype(np.uint8)
    notes = (DIM,) if top > WIDE_NOTE >= high > 0 else ()
    return Picture((255 - pixels if inverted else pixels)[..., None], notes)


def _of_floats(values: np.ndarray, inverted: bool, name: str) -> Picture:
    if not np.isfinite(values).all():
        raise InputError(f"{name}: floating values that are not finite (NaN or infinite); replace them.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise InputError(f"{name}: floating values of {low:g} to {high:g}; expected 0 to 1, or 0 to 255.")
    whole = high <= 1
    pixels = (
        np.floor(values * np.float32(255 if whole else 1) + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    )
    return Picture((255 - pixels if inverted else pixels)[..., None], (SHARES if whole else LEVELS,))


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""EXIF orientation -> (H, W, C) as it is to be shown (Exif 2.32, 4.6.4)."""
