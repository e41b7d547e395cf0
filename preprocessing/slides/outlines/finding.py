"""Which outline file goes with which slide: by stem, or by the file names that a COCO file is about."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.slides.outlines.frame import same_name
from esad.preprocessing.slides.outlines.labelme_coco import coco_stems, is_coco
from esad.preprocessing.slides.outlines.reading import FAULTS, SUFFIXES, json_of, outline_bytes
from esad.preprocessing.slides.reading import SUFFIXES as SLIDE_SUFFIXES
from esad.preprocessing.slides.reading import is_slide
from esad.preprocessing.zips import file_names

NO_OUTLINES = (".md5", ".sha1", ".sha256", ".sha512", ".dvc")
"""Endings of files beside a slide that cannot be its outlines: check sums."""
MASK = re.compile(
    r"(?P<stem>.+)[ _-](?:masks?|annotations?|annots?|labels?|seg|segmentations?|tumou?rs?|lesions?|gt|outlines?|rois?|regions?)",
    re.IGNORECASE,
)
"""Names that people and programs give masks and outlines: SLIDE_mask."""
WORDS_BEHIND = 2
"""So many words may stand behind a slide's name in that of an outline file which is nearly its own, or one before it."""
SHORTEST = 3
"""Characters of a slide's name without digits that says which slide is meant."""
MOST_LED = 3
"""Slides that a file may be of whose name is the beginning of theirs."""


@dataclass(frozen=True)
class Matches:
    """Outline files of a folder: by slide, and those that are of none of the slides."""

    files: dict[str, Path]
    """Lower-case stem of the slide -> its file; a COCO file may be that of several."""
    others: tuple[Path, ...]
    unread: Mapping[str, Path] = field(default_factory=dict)
    """Lower-case stem of a slide without outline file -> a file of its name whose ending is of no format that is read, or an outline
    file that matches no slide and is named nearly as this one."""
    vague: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    """Of the others, a file whose name may mean slides without outline file, and says so too vaguely to take their labels -> their
    lower-case stems."""


def _files(folder: Path) -> Iterator[Path]:
    """All files below `folder`, and those in its zips as ARCHIVE.zip/MEMBER; UsageError for a broken zip.

    Links to nothing are among them, and folders that are called as an outline file and hold none: they are refused where a
    slide has them. Also zips in which is neither an outline nor a slide. UsageError for a link to a folder.
    """
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.name.startswith("."):
            continue
        if path.is_symlink() and path.is_dir():
            raise UsageError(
                f"{path}: a link to a folder, which is not followed, and it may hold outlines. Copy the folder there, or take the link off."
            )
        if path.is_dir():
            if is_outline(path) and not any(is_outline(inner) for inner in path.rglob("*")):
                yield path
        elif path.suffix.lower() == ".zip":
            if not zipfile.is_zipfile(path):
                raise UsageError(
                    f"{path}: not a readable zip, and it may hold outlines. Copy it anew, or take it away."
                )
            inner_paths = [path / name for name in file_names(path)]
            if not any(is_outline(inner) or inner.suffix.lower() in SLIDE_SUFFIXES for inner in inner_paths):
                yield path
            yield from (inner for inner in inner_paths if not inner.name.startswith("."))
        else:
            yield path


def is_outline(path: Path) -> bool:
    """Whether the name is that of an outline file of a format that is read."""
    return path.suffix.lower() in SUFFIXES


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


def _slides_of(path: Path, wanted: _Wanted | None) -> list[str]:
    """Lower-case stems of the slides that the file outlines, among `wanted` or at all."""
    own = _stems(path)
    of_own = [own[-1]] if wanted is None else wanted.of(own)[:1]
    content = _coco(path)
    if content is None:
        return of_own
    try:
        told = coco_stems(content)
    except FAULTS:
        return of_own
    return sorted(set(told) if wanted is None else set(wanted.of(told))) or of_own


def _words(stem: str) -> tuple[str, ...]:
    """What stands between blanks, points, brackets, dashes and the like."""
    return tuple(re.findall(r"[^\W_]+", same_name(stem)))


def _loose_words(stem: str) -> tuple[str, ...]:
    """Runs of letters and of digits, these without zeros before them: `s01`, `S-1` and `s1` are the same."""
    runs = re.findall(r"\d+|[^\W\d_]+", same_name(stem))
    return tuple((run.lstrip("0") or "0") if run.isdigit() else run for run in runs)


def _says_which(stem: str) -> bool:
    """Whether a slide's name is one that files of other things hardly have: letters with digits, or SHORTEST characters with a letter."""
    bare = same_name(stem)
    letters, digits = any(map(str.isalpha, bare)), any(map(str.isdigit, bare))
    return letters and (digits or len(bare) >= SHORTEST)


class _Wanted:
    """The lower-case stems of slides, by how outline files may write them."""

    def __init__(self, stems: Iterable[str]) -> None:
        self._stems = {stem.lower() for stem in stems}
        self._alike: dict[str, list[str]] = {}
        self._by_words: dict[tuple[str, ...], list[str]] = {}
        self._beginning: dict[tuple[str, ...], list[str]] = {}
        self._by_loose_words: dict[tuple[str, ...], list[str]] = {}
        for stem in sorted(self._stems):
            self._alike.setdefault(same_name(stem), []).append(stem)
            words = _words(stem)
            self._by_words.setdefault(words, []).append(stem)
            self._by_loose_words.setdefault(_loose_words(stem), []).append(stem)
            for count in range(1, len(words)):
                self._beginning.setdefault(words[:count], []).append(stem)

    def of(self, names: Iterable[str]) -> list[str]:
        """The stems that `names` mean, in their order: the very one, else the one that differs only as `same_name` allows."""
        found = []
        for name in names:
            if name.lower() in self._stems:
                found.append(name.lower())
                continue
            alike = self._alike.get(same_name(name), [])
            if len(alike) > 1:
                raise UsageError(
                    f"an outline file of {name!r} may be of {alike[0]!r} or {alike[1]!r}; rename one slide."
                )
            found += alike
        return found

    def named_by(self, path: Path) -> list[str]:
        """The stem that the file's name begins with, before a point, the longest, or before a word as MASK has them; [] where there is
        none."""
        parts = path.name.split(".")
        names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
        masks = [found["stem"] for found in map(MASK.fullmatch, names) if found]
        return self.of([*names, *masks])[:1]

    def nearly(self, path: Path) -> list[str]:
        """The stems that an outline file is of by all likelihood which is named as none: the longest that its name begins with, word by
        word, with WORDS_BEHIND more, or ends with, with one more; else those that begin with all of its words, if they are few."""
        words = _words(_stems(path)[-1])
        same = self._by_words.get(words, [])
        if same:
            return same
        for count in range(len(words) - 1, 0, -1):
            ahead = self._by_words.get(words[:count], []) if len(words) - count <= WORDS_BEHIND else []
            behind = self._by_words.get(words[1:], []) if len(words) - count == 1 else []
            behind = [
                stem for stem in behind if any(map(str.isdigit, stem)) or MASK.fullmatch(f"_ {words[0]}")
            ]
            found = sorted({stem for stem in (*ahead, *behind) if _says_which(stem)})
            if found:
                return found
        led = self._beginning.get(words, [])
        return led if len(led) <= MOST_LED else []

    def perhaps(self, path: Path) -> list[str]:
        """The stems that an outline file may be of which is named as none and not nearly: that its name contains anywhere, that begin with
        it however many they are, or that it begins with or is but for zeros and separators, `s1` of `s01_HE`."""
        stem = _stems(path)[-1]
        words, loose = _words(stem), _loose_words(stem)
        for count in range(len(words), 0, -1):
            parts = (words[first : first + count] for first in range(len(words) - count + 1))
            found = sorted({stem for part in parts for stem in self._by_words.get(part, [])})
            if found:
                return found
        led = self._beginning.get(words, [])
        if led or not loose:
            return led
        alike = (self._by_loose_words.get(loose[:count], []) for count in range(len(loose), 0, -1))
        return next(filter(None, alike), [])


def match_outlines(
    folder: Path, stems: Iterable[str] | None = None, own: Collection[Path] | None = None
) -> Matches:
    """The outline files below `folder` (or in a zip there) for the slides `stems` (any case), or for all there are.

    Members of a zip are told as ARCHIVE.zip/MEMBER, which `read_areas` understands. `own` are the slides' files: another file with the
    ending of a slide and the name of one is its mask. Raises UsageError where two files outline
    the same slide, a file may be of two, or a zip cannot be read.
    """
    wanted = None if stems is None else _Wanted(stems)
    found: dict[str, Path] = {}
    unread: dict[str, Path] = {}
    others = []
    vague: dict[Path, list[str]] = {}
    for path in _files(folder):
        if not is_outline(path):
            if wanted is not None and path.suffix.lower() not in NO_OUTLINES and not _is_own(path, own):
                unread |= dict.fromkeys(wanted.named_by(path), path)
            continue
        slides = _slides_of(path, wanted)
        if not slides:
            others.append(path)
            near = wanted.named_by(path) or wanted.nearly(path) if wanted is not None else []
            unread |= dict.fromkeys(near, path)
            vague[path] = wanted.perhaps(path) if wanted is not None and not near else []
        for stem in slides:
            if stem in found:
                raise UsageError(f"{found[stem]} and {path} both outline the slide {stem}; keep one of them.")
            found[stem] = path
    unread = {stem: path for stem, path in unread.items() if stem not in found}
    meant = {path: tuple(stem for stem in stems if stem not in found) for path, stems in vague.items()}
    return Matches(found, tuple(others), unread, {path: stems for path, stems in meant.items() if stems})


def _is_own(path: Path, own: Collection[Path] | None) -> bool:
    """Whether a file is a slide itself; of unknown `own` files each that is called as slides are."""
    if own is not None and path.suffix.lower() in SLIDE_SUFFIXES:
        return path.resolve() in own
    return is_slide(path)


def find_outlines(folder: Path, stems: Iterable[str] | None = None) -> dict[str, Path]:
    """Lower-case stem of a slide -> its outline file; see `match_outlines`."""
    return match_outlines(folder, stems).files
