"""How much a file may claim to hold: as much as it can hold, and as the memory at hand takes."""

from __future__ import annotations

from pathlib import Path

import psutil

from esad.preprocessing.errors import InputError

ALWAYS = 1 << 28
"""Bytes that any file may grow to, however well it is packed."""
MOST_INFLATION = 100
"""Times that larger content may exceed its packed size: tables of real numbers reach 2 to 20, a bomb 1,000."""
SHARE = 0.5
"""Of the memory at hand, what one file may take."""


def memory_at_hand() -> int:
    """Bytes that this process can still take: what the machine has available, or what is left of its cgroup's limit."""
    available = psutil.virtual_memory().available
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            available = min(available, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such cgroup, or the word max
            continue
    return max(available, 0)


def check_size(name: str, stated: int, packed: int) -> None:
    """InputError where content of `stated` bytes, packed into `packed`, is a bomb or does not fit into memory."""
    check_inflation(name, stated, packed)
    at_hand = int(memory_at_hand() * SHARE)
    if stated > max(at_hand, 1 << 26):
        raise InputError(
            f"{name}: holds {in_bytes(stated)}; {in_bytes(at_hand)} of memory are at hand for one file. Split it into "
            "several files, or use a machine with more memory."
        )


def check_inflation(name: str, stated: int, packed: int) -> None:
    """InputError where content of `stated` bytes, packed into `packed`, is a bomb; enough where it is read piece by piece."""
    if stated > max(ALWAYS, packed * MOST_INFLATION):
        raise InputError(
            f"{name}: claims {in_bytes(stated)} in {in_bytes(packed)} of file; at most {MOST_INFLATION} times the file, or "
            f"{in_bytes(ALWAYS)}, are read."
        )


def in_bytes(count: int) -> str:
    """`17 MB`, `1.5 GB`: powers of ten, as file managers show them."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
