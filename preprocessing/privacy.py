"""Patient identifiers, and where asked for names of files and sites, become keyed hashes: the same one gives the same hash.

Nobody can go back from a patient's; for names of files and sites the owner of the key keeps a list beside it.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import hmac
import io
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from esad.preprocessing.errors import UsageError
from esad.preprocessing.store.csv_cells import escaped, plain
from esad.preprocessing.store.durable import flush, flush_handle, make_folder

KEY_BYTES = 32
DEFAULT_KEY = Path("~/.config/esad/group.key")


def read_key(path: Path | None) -> bytes:
    """The key in `path` (default ~/.config/esad/group.key); made, readable by its owner alone, where absent.

    Raises UsageError for a file that is too short to be a key, or that others may read: whoever has it can try names until
    one gives the hash.
    """
    path = (path or DEFAULT_KEY).expanduser()
    if not path.exists():
        _make_key(path)
    check_closed(path)
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise UsageError(
            f"{path}: {len(key)} bytes are no key; expected at least 16. Remove the file to have one made."
        )
    return key


def check_closed(path: Path) -> None:
    """UsageError where others may read or write the file; systems without such permissions are not asked.

    Who does not own it may read it through its group, and root one of mode 0440: so Kubernetes hands out secrets.
    """
    if os.name != "posix":
        return
    status = path.stat()
    mode, owner = stat.S_IMODE(status.st_mode), status.st_uid
    through_group = owner != os.geteuid() or (owner == 0 and mode == 0o440)
    of_group = stat.S_IWGRP if through_group else stat.S_IRWXG
    if mode & (stat.S_IRWXO | of_group):
        raise UsageError(
            f"{path}: others may read or write it (mode {mode:04o}); expected 0600. Close it with: chmod 600 {path}. If that changes "
            "nothing, its file system keeps no permissions: put the key on one that does, and name it there. If others may have read "
            "it, take a new key."
        )


def _make_key(path: Path) -> None:
    """A new random key, complete the moment it has its name; one that another process made first stands."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
        flush(temporary)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        flush(path.parent)
    finally:
        temporary.unlink()


def group_hash(key: bytes, identifier: str) -> str:
    """12 hex digits of HMAC-SHA256 over the identifier."""
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:12]


def file_hash(key: bytes, source: str) -> str:
    """16 hex digits of HMAC-SHA256 over a source's path relative to its archive."""
    return hmac.new(key, b"file\0" + source.encode(), hashlib.sha256).hexdigest()[:16]


def site_hash(key: bytes, site: str) -> str:
    """12 hex digits of HMAC-SHA256 over the name of a site, which may name a hospital."""
    return hmac.new(key, b"site\0" + site.encode(), hashlib.sha256).hexdigest()[:12]


def names_file(key_file: Path | None) -> Path:
    """The list of hashed file names, beside the key."""
    path = (key_file or DEFAULT_KEY).expanduser()
    return path.with_name(f"{path.name}.names.csv")


def remember_names(key_file: Path | None, hashed: Mapping[str, str]) -> None:
    """Add source -> hash to `names_file`, readable by its owner alone; what stands there stays.

    They are on the disk as it returns. A line that a killed process left half written is ended, so that it spoils no other.
    """
    path = names_file(key_file)
    known = read_names(key_file)
    fresh = {name: source for source, name in hashed.items() if name not in known}
    lines = io.StringIO()
    csv.writer(lines).writerows((name, escaped(source)) for name, source in sorted(fresh.items()))
    added = (_end_of(path.read_bytes()) if path.is_file() else b"") + lines.getvalue().encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # one append: what another process adds at the same time stays whole
        if os.write(descriptor, added) < len(added):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        flush_handle(descriptor)
    finally:
        os.close(descriptor)
    flush(path.parent)


def _end_of(content: bytes) -> bytes:
    """What ends a list whose last line was half written, by a process that was killed or a disk that was full: it is then no row of two."""
    within = content.count(b'"') % 2 == 1
    if not content or (content.endswith(b"\n") and not within):
        return b""
    return (b'"' if within else b"") + b",half,written\n"


def read_names(key_file: Path | None) -> dict[str, str]:
    """Hash -> source of every file name that was hashed with a key; empty where none was."""
    path = names_file(key_file)
    if not path.is_file():
        return {}
    check_closed(path)
    content = path.read_bytes()
    text = (content + _end_of(content)).decode(errors="replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    return {row[0]: plain(row[1]) for row in rows if len(row) == 2}


def key_name(key: bytes) -> str:
    """8 hex digits that tell one key from another without giving it away."""
    return hashlib.sha256(b"esad group key\0" + key).hexdigest()[:8]
