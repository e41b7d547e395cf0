"""Lengths as files state them -> microns per pixel. Pure."""

from __future__ import annotations

import math
import re

MICROSCOPIC = (0.01, 20.0)
"""Microns per pixel that a slide can have; print resolutions (300 dpi = 85 um) and defaults (72, 96 dpi, 1) lie outside."""
UM_PER_TIFF_UNIT = {2: 25_400.0, 3: 10_000.0}
"""TIFF 6.0, ResolutionUnit: inch and centimetre; 1 is no unit at all."""
UM_PER_UNIT = {
    "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometers": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3, "pm": 1e-6, "Å": 1e-4, "angstrom": 1e-4,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3, "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4, "dm": 1e5,
    "m": 1e6, "meter": 1e6, "metre": 1e6, "in": 25_400.0, "inch": 25_400.0, "inches": 25_400.0,
    "thou": 25.4, "mil": 25.4, "li": 25_400 / 12, "ft": 304_800.0, "pt": 25_400 / 72,
}  # fmt: skip
"""Of OME's UnitsLength (schema 2016-06) those that a microscope can mean, and the words that other writers use."""
SAME = {"\u03bc": "\u00b5", "\u212b": "\u00c5", "A\u030a": "\u00c5", "\u00c2\u00b5": "\u00b5"}
"""Greek mu for the micro sign, the angstrom sign and A with a combining ring for A-ring, and UTF-8 read as Latin 1."""
STATED_MPP = re.compile(r"\bMPP\s*=\s*([0-9.eE+-]+)")
IMAGEJ_UNIT = re.compile(r"^unit=(.+)$", re.M)


def um_per(unit: str) -> float | None:
    """Microns in one `unit`; None where it is no length (pixel, reference frame) or not known."""
    unit = unit.strip()
    for other, usual in SAME.items():
        unit = unit.replace(other, usual)
    unit = re.sub(r"\\u00b5", "\u00b5", unit, flags=re.I)  # as ImageJ escapes it
    shouted = len(unit) > 2 or (len(unit) == 2 and unit.isupper())  # "Mm" is a megametre
    return UM_PER_UNIT.get(unit.lower() if shouted else unit)


def microscopic(mpp: float | None) -> float | None:
    """`mpp`, or None where no slide can have so many microns per pixel."""
    usable = mpp is not None and math.isfinite(mpp) and MICROSCOPIC[0] < mpp < MICROSCOPIC[1]
    return mpp if usable else None


def number(text: str | None) -> float | None:
    """A positive, finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def mpp_in_words(description: str, resolution: float | None = None) -> float | None:
    """Microns per pixel of an ImageDescription: Aperio's "MPP = 0.5", or ImageJ's "unit=um"; None where it states none.

    ImageJ's `resolution` (TIFF XResolution, pixels) is per its own unit.
    """
    found = STATED_MPP.search(description)
    if found:
        return microscopic(number(found[1]))
    unit = IMAGEJ_UNIT.search(description) if description.startswith("ImageJ=") else None
    length = um_per(unit[1]) if unit else None
    return microscopic(length / resolution) if length and resolution else None
