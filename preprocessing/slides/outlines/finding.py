"""Which outline file goes with which slide: by stem, or by the file names that a COCO file is about."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.slides.outlines.labelme_coco import coco_stems, is_coco
from esad.preprocessing.slides.outlines.reading import FAULTS, json_of, outline_bytes
from esad.preprocessing.slides.reading import SUFFIXES as SLIDE_SUFFIXES
from esad.preprocessing.zips import file_names

SUFFIXES = (".xml", ".ndpa", ".geojson", ".json")


@dataclass(frozen=True)
class Matches:
    """Outline files of a folder: by slide, and those that are of none of the slides."""

    files: dict[str, Path]
    """Lower-case stem of the slide -> its file; a COCO file may be that of several."""
    others: tuple[Path, ...]


def _outline_files(folder: Path) -> Iterator[Path]:
    """All outline files below `folder`, and those in its zips as ARCHIVE.zip/MEMBER; UsageError for a broken zip."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if not path.is_file() or path.name.startswith("."):
            continue
        found = [path]
        if path.suffix.lower() == ".zip":
            if not zipfile.is_zipfile(path):
                raise UsageError(
                    f"{path}: not a readable zip, and it may hold outlines. Copy it anew, or take it away."
                )
            found = [path / name for name in file_names(path)]
        yield from (one for one in found if one.suffix.lower() in SUFFIXES and not one.name.startswith("."))


def _stems(path: Path) -> list[str]:
    """What slide the file may be of: SLIDE.xml, and SLIDE.ndpi.ndpa or SLIDE.svs.geojson."""
    stem = Path(path.stem)
    bare = [stem.stem] if stem.suffix.lower() in SLIDE_SUFFIXES else []
    return [name.lower() for name in (stem.name, *bare)]


def _coco(path: Path) -> dict[str, Any] | None:
    """The content of a COCO file; None for others, and for what cannot be read, which is told where a slide has it."""
    if path.suffix.lower() != ".json":
        return None
    try:
        if b'"images"' not in outline_bytes(path):  # spares other large files the parsing
            return None
        content = json_of(path)
        return content if is_coco(content) else None
    except (InputError, *FAULTS):
        return None


def _slides_of(path: Path, wanted: set[str] | None) -> list[str]:
    """Lower-case stems of the slides that the file outlines, among `wanted` or at all."""
    own = _stems(path)
    of_own = [own[-1]] if wanted is None else [stem for stem in own if stem in wanted][:1]
    content = _coco(path)
    if content is None:
        return of_own
    try:
        told = set(coco_stems(content))
    except FAULTS:
        return of_own
    return sorted(told if wanted is None else told & wanted) or of_own


def match_outlines(folder: Path, stems: Iterable[str] | None = None) -> Matches:
    """The outline files below `folder` (or in a zip there) for the slides `stems` (any case), or for all there are.

    Members of a zip are told as ARCHIVE.zip/MEMBER, which `read_areas` understands. Raises UsageError where two files outline
    the same slide, or a zip cannot be read.
    """
    wanted = None if stems is None else {stem.lower() for stem in stems}
    found: dict[str, Path] = {}
    others = []
    for path in _outline_files(folder):
        slides = _slides_of(path, wanted)
        if not slides:
            others.append(path)
        for stem in slides:
            if stem in found:
                raise UsageError(f"{found[stem]} and {path} both outline the slide {stem}; keep one of them.")
            found[stem] = path
    return Matches(found, tuple(others))


def find_outlines(folder: Path, stems: Iterable[str] | None = None) -> dict[str, Path]:
    """Lower-case stem of a slide -> its outline file; see `match_outlines`."""
    return match_outlines(folder, stems).files
