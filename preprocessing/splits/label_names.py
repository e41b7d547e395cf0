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
    path = PurePosixPath(_file(name))
    return path.stem if path.suffix[1:2].isalpha() else path.name  # 1.2.840.5 has no ending


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
    closed: set[str] = set()  # what two sources may be meant by is not settled by a later way
    free = [name for name in names if name not in taken]
    for way in WAYS:
        seen: dict[str, str | None] = {}
        for source in free if way.any_case else names:
            key = way.of_source(source)
            seen[key] = None if key in seen else source
        for name in open_:
            asked = way.of_stated(name)
            if name in found or name in closed or asked is None or asked not in seen:
                continue
            meant = seen[asked]
            if meant is None:
                closed.add(name)
            else:
                found[name] = meant
    return found | _by_whole_path([name for name in open_ if name not in found], names)


def _by_whole_path(stated: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Those of `stated` that are paths from a root and end as a source: the longest. None where they are from several roots, since one
    archive's files have the names of another's."""
    found: dict[str, str] = {}
    roots = set()
    for name in stated:
        plain = plain_name(name)
        if not (plain.startswith("/") or plain[1:3] == ":/"):
            continue
        ends = [source for source in sources if plain.endswith("/" + plain_name(source))]
        if ends:
            found[name] = max(ends, key=len)
            root = plain.removesuffix(plain_name(found[name]))
            roots.add(root[:1].casefold() + root[1:] if root[1:3] == ":/" else root)
    return found if len(roots) == 1 else {}
