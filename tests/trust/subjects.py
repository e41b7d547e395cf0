"""Everything that is fuzzed: files of others and folders of our own."""

from __future__ import annotations

from pathlib import Path

from tests.trust import outlines, own_folders
from tests.trust.trial import Subject


def prepare(folder: Path) -> None:
    """Write all good files, once."""
    outlines.prepare(folder / "outlines")
    own_folders.prepare(folder / "own")


def subjects(folder: Path) -> list[Subject]:
    """In the order in which they are worked on."""
    return [*outlines.subjects(folder / "outlines"), *own_folders.subjects(folder / "own")]
