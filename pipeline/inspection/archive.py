"""The files that items came from: found in the archive, known by their fingerprint, opened as slides or read as pictures."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from esad.pipeline.inspection.layers import thumbnail
from esad.pipeline.inspection.pyramid import Pyramid, SlidePyramid, StoredPyramid
from esad.pipeline.inspection.security import file_inside
from esad.pipeline.inspection.subject import Subject
from esad.pipeline.stage.errors import EsadError, InputError
from esad.preprocessing.slides.readers.by_name import slide_of_name
from esad.preprocessing.slides.reading import is_slide
from esad.preprocessing.store.store import is_same_file
from esad.preprocessing.zips import read_member

MOST_OPEN = 6
"""Slides that are held open."""
NOT_SAID = "the archive is not known: start with --archive FOLDER to see the slides themselves"


class Archive:
    """The folder `root` (or a file alone) that the store was made of; None where nobody said."""

    def __init__(self, subject: Subject, root: Path | None) -> None:
        self._subject, self._root = subject, root
        self._open: OrderedDict[int, tuple[Pyramid, str]] = OrderedDict()
        self._seen: dict[str, tuple[tuple[int, int, int], bool]] = {}
        self._pictures: dict[str, tuple[Image.Image, list[float]]] = {}
        self._named: dict[str, Path] = {}
        self._lock = Lock()

    def find(self, source: str) -> tuple[Path | None, str]:
        """The file of a source (of a member of a zip the zip), or None and why: away, another one, or nobody knows where."""
        if self._root is None:
            return None, NOT_SAID
        folder = self._root if self._root.is_dir() else self._root.parent
        if self._subject.kind == "embeddings" and not is_slide(Path(source)):
            return self._slide_of(folder, source)
        path = file_inside(folder, source)
        member = path is None
        if member:
            parents = [parent.as_posix() for parent in Path(source).parents if parent.as_posix() != "."]
            path = next((found for name in parents if (found := file_inside(folder, name))), None)
        if path is None:
            return None, f"{Path(source).name} is not in the archive any more"
        try:
            same = member or self._is_same(path, source)
        except OSError as error:
            return None, f"{Path(source).name} cannot be read ({error.strerror})"
        if not same:
            return None, f"{Path(source).name} in the archive is another file than the one that was scored"
        return path, ""

    def _slide_of(self, folder: Path, source: str) -> tuple[Path | None, str]:
        """The slide that a file of vectors is of, or None and why; it is looked for once, and again where it has gone."""
        known = self._named.get(source)
        if known is None or not known.is_file():
            known = slide_of_name(folder, source)
        if known is None:
            return None, f"no slide in the archive is called as {Path(source).name}"
        self._named[source] = known
        return known, ""

    def _is_same(self, path: Path, source: str) -> bool:
        """Whether it is the file that the store was made of, as far as the store says; looked at anew where the file has changed."""
        sources = self._subject.sources
        if sources is None or source not in sources.index:
            return True
        now, known = path.stat(), sources.loc[source, "fingerprint"]
        key = (now.st_size, now.st_mtime_ns, now.st_ino)
        if self._seen.get(source, (None, False))[0] != key:
            self._seen[source] = (key, not isinstance(known, str) or is_same_file(path, known))
        return self._seen[source][1]

    def pyramid(self, slide: int) -> tuple[Pyramid, str]:
        """A slide's pyramid, and why it is that of the stored tiles alone (empty where it is the slide itself)."""
        with self._lock:
            path, told = self.find(str(self._subject.slides["source"].iloc[slide]))
            known = self._open.get(slide)
            if known is not None and known[1] == told:  # it may have vanished, or come back
                self._open.move_to_end(slide)
                return known
            found = self._opened(slide, path, told)
            self._open[slide] = found
            while (
                len(self._open) > MOST_OPEN
            ):  # another thread may be reading it: it closes as the last one lets go of it
                self._open.popitem(last=False)
            return found

    def _opened(self, slide: int, path: Path | None, told: str) -> tuple[Pyramid, str]:
        if path is not None:
            try:
                return SlidePyramid(path), ""
            except (InputError, OSError) as error:
                told = str(error)
        store, rows = self._subject.store, self._subject.rows_of_slide(slide)
        read = None if store is None or not store.pictures else lambda chosen: store.read(rows[chosen])
        if store is None:
            told = f"{told}; its store is gone, too"
        stored = StoredPyramid(
            self._subject.size(slide), self._subject.boxes(slide), read, thumbnail(self._subject, slide)
        )
        return stored, told

    def picture(self, row: int) -> tuple[Image.Image, list[float]]:
        """The full-size picture that an item was made of, and x, y, width, height in its pixels of what the item shows.

        InputError, in words, where the file is away, is no picture of its own, or cannot be read.
        """
        source = str(self._subject.items["source"].iloc[row])
        path, told = self.find(source)
        if path is None:
            raise InputError(told)
        with self._lock:
            if source not in self._pictures:  # it is asked for twice: what it shows, and its pixels
                self._pictures = {source: self._read(path, source)}
            return self._pictures[source]

    def _read(self, path: Path, source: str) -> tuple[Image.Image, list[float]]:
        content, name = _content(path, source), Path(source).name
        if self._subject.kind == "radiographs":
            return self._radiograph(content, name)
        from esad.preprocessing.images import decode_apart, is_picture

        if not is_picture(name):
            raise InputError(f"{name} holds many pictures; the stored one is shown")
        pixels = decode_apart(content, name, None, None).pixels
        return as_image(pixels), [0, 0, pixels.shape[1], pixels.shape[0]]

    def _radiograph(self, content: bytes, name: str) -> tuple[Image.Image, list[float]]:
        from esad.preprocessing.radiographs.reading import read_radiograph
        from esad.preprocessing.radiographs.squares import Squaring, covered_square

        pixels = read_radiograph(content, name).picture().pixels
        store = self._subject.store
        settings = store.settings if store is not None else {}
        stated = {
            key: settings[key]
            for key in ("resizing", "crop", "size", "equalise")
            if settings.get(key) is not None
        }
        left, top, side = covered_square(pixels.shape, Squaring(**stated))
        return Image.fromarray(pixels), [left, top, side, side]


def _content(path: Path, source: str) -> bytes:
    try:
        if path.as_posix().endswith(source):
            return path.read_bytes()
        member = source[source.index(path.name) + len(path.name) + 1 :]
        with zipfile.ZipFile(path) as archive:
            return read_member(archive, member)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{Path(source).name}: cannot be read ({error})") from error


def stored_picture(subject: Subject, row: int) -> np.ndarray:
    """An item's stored pixels, uint8 (H, W, C); EsadError where the store is gone."""
    if subject.store is None:
        raise EsadError(subject.store_told)
    return subject.store.read(np.array([row]))[0]


def as_image(pixels: np.ndarray) -> Image.Image:
    """uint8 (H, W, C) as a picture of its colours."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def sheet(subject: Subject, rows: np.ndarray, side: int) -> bytes:
    """PNG of the items at `rows` beside each other in squares of `side` pixels, each reduced where it is larger, never enlarged."""
    from esad.pipeline.inspection.pyramid import png

    if subject.store is None:
        raise EsadError(subject.store_told)
    pixels = subject.store.read(rows)
    height, width = pixels.shape[1:3]
    pixels = pixels if pixels.shape[-1] == 3 else pixels.repeat(3, -1)
    if max(height, width) <= side:
        cell_height, cell_width = height, width
    else:
        scale = side / max(height, width)
        cell_height, cell_width = max(1, round(height * scale)), max(1, round(width * scale))
        small = [
            Image.fromarray(each).resize((cell_width, cell_height), Image.Resampling.BOX) for each in pixels
        ]
        pixels = np.stack([np.asarray(each) for each in small])
    return png(np.ascontiguousarray(pixels.transpose(1, 0, 2, 3).reshape(cell_height, -1, 3)))


def overview(subject: Subject, slide: int, side: int) -> bytes | None:
    """PNG of a slide's overview, its longer side at most `side`; None without one."""
    from esad.pipeline.inspection.pyramid import png

    picture = thumbnail(subject, slide)
    if picture is None:
        return None
    picture.thumbnail((side, side))
    buffer = io.BytesIO(png(picture))
    return buffer.getvalue()
