"""OME-XML of an OME-TIFF: its images, their planes, pixel sizes and channels (OME schema 2016-06). Pure.

Names of images, channels and stains are looked at and never passed on: they may hold a patient's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from esad.preprocessing.slides.readers.stated_scale import microscopic, number, um_per

MARK = re.compile(r"<(?:\w+:)?OME[\s>]")
BESIDE_THE_SLIDE = re.compile(r"\b(label|macro|thumbnail|overview|barcode|preview)\b", re.I)
"""In the name of an image: a picture of the glass, no part of the slide."""
NUMBERED = re.compile(r"(channel|ch|c)?[\s:_-]*\d+([\s:_-]+\d+)*", re.I)
RGB_NAMES = {"red": 0, "r": 0, "green": 1, "g": 1, "blue": 2, "b": 2}
MOST_PLANES = 1 << 16
PIXEL_SIZE_UNIT = "µm"
"""What PhysicalSizeXUnit is where it is not given."""


@dataclass(frozen=True)
class OmeImage:
    """One Image element. `planes`: the TIFF directory of each plane, None where it lies in another file.

    `mpp`: microns per pixel of x and y, None where not stated; `told` says why not. `magnification` of the objective.
    `rgb_order`: red, green, blue as places among three channels; None where the names of channels say otherwise.
    """

    width: int
    height: int
    channels: int
    depth: int
    times: int
    planes: tuple[int | None, ...]
    beside: bool
    mpp: tuple[float | None, float | None]
    told: str | None
    magnification: float | None
    bits: int | None
    fluorescent: bool
    rgb_order: tuple[int, int, int] | None


def is_ome(description: str) -> bool:
    """Whether an ImageDescription is OME-XML, well-formed or not."""
    return bool(MARK.search(description[:4096]))


def read_ome(description: str) -> list[OmeImage] | None:
    """The images of OME-XML, in its order; None where it is not well-formed, or holds entities."""
    try:
        root = fromstring(description.strip().lstrip("\ufeff"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, RecursionError):
        return None
    objectives = {
        element.get("ID"): number(
            element.get("NominalMagnification") or element.get("CalibratedMagnification")
        )
        for element in _all(root, "Objective")
    }
    images, next_plane = [], 0
    for element in _children(root, "Image"):
        pixels = next(_children(element, "Pixels"), None)
        if pixels is None:
            continue
        image = _image(element, pixels, root.get("UUID"), next_plane, objectives)
        if image is None:
            return None
        images.append(image)
        next_plane += len(image.planes)
    return images


def _image(
    element: Element,
    pixels: Element,
    uuid: str | None,
    next_plane: int,
    objectives: dict[str | None, float | None],
) -> OmeImage | None:
    """One image; None where its sizes are no numbers."""
    sizes = [_whole(pixels.get(f"Size{axis}"), None if axis in "XY" else 1) for axis in "XYCZT"]
    if any(size is None or not size > 0 for size in sizes):
        return None
    width, height, channels, depth, times = (int(size or 0) for size in sizes)
    if channels * depth * times > MOST_PLANES:
        return None
    described = list(_children(pixels, "Channel"))
    together = max([_whole(channel.get("SamplesPerPixel"), 1) or 1 for channel in described], default=1)
    count = max(1, channels // together) * depth * times
    mpp, told = _pixel_size(pixels)
    settings = next(_children(element, "ObjectiveSettings"), next(_children(element, "ObjectiveRef"), None))
    return OmeImage(
        width, height, channels, depth, times, _planes(pixels, count, next_plane, uuid),
        bool(BESIDE_THE_SLIDE.search(element.get("Name") or "")), mpp, told,
        objectives.get(settings.get("ID")) if settings is not None else None,
        _whole(pixels.get("SignificantBits"), None), any(map(_fluoresces, described)), _rgb_order(described),
    )  # fmt: skip


def _pixel_size(pixels: Element) -> tuple[tuple[float | None, float | None], str | None]:
    """Microns per pixel of x and y, and what to say where a size is there and not used."""
    found: list[float | None] = []
    told = None
    for axis in "XY":
        size, unit = (
            pixels.get(f"PhysicalSize{axis}"),
            pixels.get(f"PhysicalSize{axis}Unit") or PIXEL_SIZE_UNIT,
        )
        value, length = number(size), um_per(unit)
        found.append(microscopic(value * length) if value is not None and length is not None else None)
        if size is not None and found[-1] is None:
            known = (
                unit
                if length is not None or unit.strip().lower() in ("pixel", "reference frame")
                else "another unit"
            )
            told = (
                f"its OME-XML states a pixel size of {value if value is not None else 'no number'} ({known})"
            )
    return (found[0], found[1]), told


def _planes(pixels: Element, count: int, next_plane: int, uuid: str | None) -> tuple[int | None, ...]:
    """TIFF directory of each of `count` planes; TiffData without a place follow one another."""
    planes: list[int | None] = list(range(next_plane, next_plane + count))
    stated = list(_children(pixels, "TiffData"))
    if count != 1 and not any(element.get("IFD") or element.get("FirstC") for element in stated):
        stated = stated[:1]
    for place, element in enumerate(stated):
        identifier = next(_children(element, "UUID"), None)
        elsewhere = identifier is not None and uuid is not None and (identifier.text or "").strip() != uuid
        first = _whole(element.get("IFD"), None)
        axes = [_whole(element.get(f"First{axis}"), 0) for axis in "CZT"]
        start = max(axis or 0 for axis in axes) if any(axes) else (place if len(stated) == count else 0)
        length = (
            _whole(element.get("PlaneCount"), 1 if first is not None and len(stated) > 1 else count) or count
        )
        for step in range(min(length, count - start)):
            if elsewhere:
                planes[start + step] = None
            elif first is not None:
                planes[start + step] = first + step
    return tuple(planes)


def _fluoresces(channel: Element) -> bool:
    """Whether a channel says that it is of a fluorophore."""
    words = (channel.get("ContrastMethod") or "") + (channel.get("IlluminationType") or "")
    return (
        channel.get("Fluor") is not None
        or channel.get("EmissionWavelength") is not None
        or "fluor" in words.lower()
        or "epifluor" in words.lower()
    )


def _rgb_order(channels: list[Element]) -> tuple[int, int, int] | None:
    """Places of red, green and blue among the channels; as they come where names are missing or only numbers."""
    names = [(channel.get("Name") or "").strip().lower() for channel in channels]
    colours = [RGB_NAMES[name] for name in names if name in RGB_NAMES]
    if sorted(colours) == [0, 1, 2] and len(names) == 3:
        return (colours.index(0), colours.index(1), colours.index(2))
    plain = len(names) != 3 or all(not name or NUMBERED.fullmatch(name) for name in names)
    return (0, 1, 2) if plain else None


def _whole(text: str | None, default: int | None) -> int | None:
    if text is None:
        return default
    return int(text) if re.fullmatch(r"\d{1,9}", text.strip()) else None


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _local(child) == name)


def _all(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element.iter() if _local(child) == name)
