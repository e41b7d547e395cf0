"""Patient identifiers become keyed hashes: the same patient gives the same group, and nobody can go back."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from preprocessing.errors import UsageError

KEY_BYTES = 32
DEFAULT_KEY = Path("~/.config/esad/group.key")


def read_key(path: Path | None) -> bytes:
    """The key in `path` (default ~/.config/esad/group.key); made, readable by its owner alone, where absent.

    Raises UsageError for a file that is too short to be a key.
    """
    path = (path or DEFAULT_KEY).expanduser()
    if not path.exists():
        _make_key(path)
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise UsageError(
            f"{path}: {len(key)} bytes are no key; expected at least 16. Remove the file to have one made."
        )
    return key


def _make_key(path: Path) -> None:
    """A new random key, complete the moment it has its name; one that another process made first stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def group_hash(key: bytes, identifier: str) -> str:
    """12 hex digits of HMAC-SHA256 over the identifier."""
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:12]


def key_name(key: bytes) -> str:
    """8 hex digits that tell one key from another without giving it away."""
    return hashlib.sha256(b"esad group key\0" + key).hexdigest()[:8]
