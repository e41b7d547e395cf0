"""Which input a name in a file of labels means, where it is not written as the archive writes it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


def plain_name(name: str) -> str:
    """A path with slashes, in composed Unicode (a Mac stores `ä` as two characters), without `./` and spaces at its ends."""
    text = unicodedata.normalize("NFC", name).strip().replace("\\", "/")
    while text.startswith("./"):
        text = text[2:]
    return text


def _file(name: str) -> str:
    return plain_name(name).rsplit("/", 1)[-1]


def _stem(name: str) -> str:
    return PurePosixPath(_file(name)).stem


@dataclass(frozen=True)
class Way:
    """How a stated name may mean a source: both are compared as `seen`; `bare` names alone, without a folder."""

    seen: Callable[[str], str]
    bare: bool
    any_case: bool = False

    def of_source(self, name: str) -> str:
        """A source as it is compared."""
        seen = self.seen(name)
        return seen.casefold() if self.any_case else seen

    def of_stated(self, name: str) -> str | None:
        """A stated name as it is compared; None where it is not, since it names a folder."""
        plain = plain_name(name)
        if self.bare and "/" in plain:
            return None
        return plain.casefold() if self.any_case else plain


WAYS = tuple(
    Way(seen, bare, case)
    for case in (False, True)
    for seen, bare in ((plain_name, False), (_file, True), (_stem, True))
)
"""In the order in which they are tried."""


def meant_sources(stated: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Stated name -> the source that it means, of those that are written otherwise than it.

    Tried in this order: the path written otherwise (`plain_name`), the file's name alone, its name without the ending, all of it
    without regard to case, a whole path from the root (`/data/xrays/a.png` of a.png). What two sources could be meant by means none.
    A source that is stated as it is written is not meant by a name in another case, too.
    """
    names = list(sources)
    exact, found = set(names), dict[str, str]()
    open_ = [name for name in dict.fromkeys(stated) if name not in exact]
    if not open_:
        return found
    taken = set(stated)
    free = [name for name in names if name not in taken]
    for way in WAYS:
        seen: dict[str, str | None] = {}
        for source in free if way.any_case else names:
            key = way.of_source(source)
            seen[key] = None if key in seen else source
        for name in open_:
            meant = None if name in found else seen.get(way.of_stated(name) or "")
            if meant is not None:
                found[name] = meant
    for name in open_:
        plain = plain_name(name)
        if name not in found and (plain.startswith("/") or plain[1:3] == ":/"):
            ends = [source for source in names if plain.endswith("/" + plain_name(source))]
            if len(ends) == 1:
                found[name] = ends[0]
    return found
