"""The door to the room `outlines`: what people outline on slides, as areas. How each program writes them is told inside."""

from __future__ import annotations

from esad.preprocessing.slides.outlines.areas import Areas
from esad.preprocessing.slides.outlines.frame import SlideFrame
from esad.preprocessing.slides.outlines.reading import read_areas, read_outlines

__all__ = ["Areas", "SlideFrame", "read_areas", "read_outlines"]
