"""Digests of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of files one after the other, hexadecimal."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                whole.update(block)
    return whole.hexdigest()
