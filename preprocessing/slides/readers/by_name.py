"""The slide that a file of vectors is of: called as it is, but for the ending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from esad.preprocessing.slides.outlines.frame import same_name
from esad.preprocessing.slides.reading import is_slide


def files_by_name(root: Path) -> dict[str, list[Path]]:
    """Everything below `root` by its stem as `same_name` has it: an archive is gone through once, whatever is looked for."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        found.setdefault(same_name(path.stem), []).append(path)
    return found


def slide_of_name(root: Path, source: str, files: Mapping[str, Sequence[Path]] | None = None) -> Path | None:
    """The one slide below `root` with the stem of `source`, in any case; None where there is none, or several.

    `files` are those of `files_by_name`, where they are known.
    """
    known = files_by_name(root) if files is None else files
    found = [
        path
        for path in known.get(same_name(Path(source).stem), ())
        if path.is_file() and path.resolve().is_relative_to(root.resolve()) and is_slide(path)
    ]
    return found[0] if len(found) == 1 else None
