"""Whether a slide's readers survive it: tried in a process of its own before this one opens it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from esad.preprocessing.gate.own_process import own_process
from esad.preprocessing.slides.readers.opening import READ_ERRORS, open_handle

GLIMPSE = 64
"""Pixels of a level's side that are read: enough to start each decoder."""


def probe_slide(path: Path) -> None:
    """Open the slide and read a corner of its first and last level elsewhere; InputError where it cannot be opened, or kills.

    OpenSlide ends the process where memory that a damaged file asks for is not there.
    """
    own_process().call(_glimpse, path.name, str(path), packed=path.stat().st_size if path.is_file() else 0)


def _glimpse(path: str) -> None:
    handle = open_handle(Path(path))
    try:
        for level in {0, len(handle.level_dimensions) - 1}:
            width, height = handle.level_dimensions[level]
            with contextlib.suppress(*READ_ERRORS):  # a tile that cannot be read is told where tiles are read
                handle.read_region((0, 0), level, (min(width, GLIMPSE), min(height, GLIMPSE)))
    finally:
        handle.close()
