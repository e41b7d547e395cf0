"""Reading a zip as if it were a folder: nothing is extracted, no name leaves it, no member grows without bound."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from esad.preprocessing.errors import InputError

MOST_BYTES = 1 << 28
"""Of one member, unpacked: a radiograph of 16 bits has 40 MiB at most, and a bomb a thousand times its packed size."""
FAULTS = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, NotImplementedError, ValueError)


def file_names(path: Path) -> list[str]:
    """Names of the files in a zip, sorted and once each; hidden ones and what macOS adds are left out.

    Backslashes, which some programs of Windows write against the format (APPNOTE 4.4.17.1), are slashes. InputError where it cannot be
    read, or a name is absolute, holds `..` or a drive, or two become one: then the whole file is refused.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            written = {entry.filename for entry in archive.infolist() if not entry.is_dir()}
    except FAULTS as error:
        raise InputError(f"{path.name}: not a readable zip ({error}).") from error
    names = [name.replace("\\", "/") for name in sorted(written) if not name.endswith("\\")]
    for name in names:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or name[1:2] == ":":
            raise InputError(f"{path.name}: member {name!r} points out of the archive.")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path.name}: holds {twice!r} twice, with slashes and with backslashes.")
    return [name for name in sorted(names) if not _hidden(name)]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def as_written(archive: zipfile.ZipFile, name: str) -> str:
    """The name in the archive of what `file_names` lists with slashes."""
    known = archive.NameToInfo
    if name in known:
        return name
    turned = name.replace("/", "\\")
    return (
        turned if turned in known else next((each for each in known if each.replace("\\", "/") == name), name)
    )


def read_member(archive: zipfile.ZipFile, name: str, count: int | None = None) -> bytes:
    """A member's content, or its first `count` bytes; InputError where it cannot be read or is larger than MOST_BYTES."""
    try:
        name = as_written(archive, name)
        size = archive.getinfo(name).file_size
        if size > MOST_BYTES:
            raise InputError(f"{name}: {size >> 20} MiB in the zip; at most {MOST_BYTES >> 20} MiB are read.")
        with archive.open(name) as member:  # gives no more than the stated size, and then checks the sum
            return member.read() if count is None else member.read(count)
    except FAULTS as error:
        reason = "encrypted" if "encrypted" in str(error) else str(error)
        raise InputError(f"{name}: cannot be read from the zip ({reason}).") from error
