"""Members of zips as sources of an ingest stage, named ZIP/MEMBER."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from esad.pipeline.stage.errors import InputError
from esad.preprocessing.zips import as_written, read_member


@dataclass(frozen=True)
class Member:
    """A member of the zip `file` (relative to the archive); the fingerprint is its checksum and size, 16 hex digits."""

    file: str
    name: str
    size: int
    fingerprint: str


def with_members(
    archive: Path, sources: Sequence[str], names_of: Callable[[Path], list[str]]
) -> tuple[list[str], dict[str, Member]]:
    """`sources` where a zip gives way to its members that `names_of` it gives; and source -> member.

    A zip that cannot be read stays, to be refused by whoever reads it.
    """
    out: list[str] = []
    members: dict[str, Member] = {}
    for source in sources:
        names = []
        if source.lower().endswith(".zip"):
            try:
                names = names_of(archive / source)
            except InputError:
                out.append(source)
                continue
            with zipfile.ZipFile(archive / source) as opened:
                for name in names:
                    entry = opened.getinfo(as_written(opened, name))
                    stamp = f"{entry.CRC:08x}{entry.file_size:08x}"
                    members[f"{source}/{name}"] = Member(source, name, entry.file_size, stamp)
        out += [f"{source}/{name}" for name in names] or [source]
    return out, members


@dataclass
class ZipReader:
    """Reads members while it is entered; a zip is opened once."""

    archive: Path
    members: dict[str, Member]
    _open: dict[str, zipfile.ZipFile] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, source: str) -> bytes:
        """The content of the member `source`; InputError where it cannot be read."""
        member = self.members[source]
        if member.file not in self._open:
            try:
                opened = zipfile.ZipFile(self.archive / member.file)
            except (OSError, zipfile.BadZipFile) as error:  # it was readable when its members were listed
                raise InputError(f"{source}: the zip can no longer be read.") from error
            self._open[member.file] = self._stack.enter_context(opened)
        return read_member(self._open[member.file], member.name)

    def row(self, source: str, items: int) -> dict[str, Any]:
        """The row of a member that was done, for `write_unit`."""
        member = self.members[source]
        return {
            "source": source, "state": "done", "reason": None, "attempts": 1, "items": items, "bytes": member.size,
            "fingerprint": member.fingerprint,
        }  # fmt: skip
