"""The slide that a file of vectors is of: called as it is, but for the ending."""

from __future__ import annotations

from pathlib import Path

from esad.preprocessing.slides.outlines.frame import same_name
from esad.preprocessing.slides.reading import is_slide


def slide_of_name(root: Path, source: str) -> Path | None:
    """The one slide below `root` with the stem of `source`, in any case; None where there is none, or several."""
    name = same_name(Path(source).stem)
    found = [
        path
        for path in sorted(root.rglob("*"))
        if same_name(path.stem) == name
        and path.is_file()
        and path.resolve().is_relative_to(root.resolve())
        and is_slide(path)
    ]
    return found[0] if len(found) == 1 else None
