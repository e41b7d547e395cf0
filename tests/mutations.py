"""Damaged files: seeded mutations of a good one, and what every reader must do with them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

from esad.preprocessing.errors import InputError, UsageError

COUNT = 1000
MOST_BYTES = 1_000_000_000
EXTREMES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\xff" * 8,
)


def mutated(content: bytes, seed: int) -> bytes:
    """`content` with one to four changes: bytes flipped, cut out, doubled, put in, set to extremes, or the end cut off."""
    numbers = np.random.default_rng(seed)
    out = bytearray(content)
    for _ in range(numbers.integers(1, 5)):
        place, length = int(numbers.integers(len(out) + 1)), int(numbers.integers(1, 17))
        match int(numbers.integers(6)):
            case 0:
                for at in range(place, min(place + length // 4 + 1, len(out))):
                    out[at] ^= 1 << int(numbers.integers(8))
            case 1:
                del out[place : place + length]
            case 2:
                out[place:place] = out[place : place + length]
            case 3:
                out[place:place] = numbers.bytes(length)
            case 4:
                extreme = EXTREMES[int(numbers.integers(len(EXTREMES)))]
                out[place : place + len(extreme)] = extreme
            case 5 if numbers.random() < 0.3:
                del out[place:]
    return bytes(out)


def mutated_zip(content: bytes, seed: int) -> bytes:
    """Every other time a change of a member's content, packed again with a right checksum; else of the whole file."""
    if seed % 2:
        return mutated(content, seed)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = sorted(members)[seed // 2 % len(members)]
    members[chosen] = mutated(members[chosen], seed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inner in members.items():
            archive.writestr(name, inner)
    return buffer.getvalue()


def run(good: bytes, path: Path, read: Callable[[Path], object], count: int = COUNT) -> dict[str, int]:
    """Write `count` mutations of `good` to `path` one after the other and read each: counts of `read` and `refused` ones.

    Anything but a result or an error for people is raised; AssertionError where a reason names an exception, or this
    process or its reading process grows by more than MOST_BYTES.
    """
    change = mutated_zip if good[:2] == b"PK" else mutated
    read_whole, told = 0, list[str]()
    before, most = sum(_memory()), 0
    for seed in range(count):
        path.write_bytes(change(good, seed))
        try:
            read(path)
            read_whole += 1
        except (InputError, UsageError) as error:
            told.append(str(error))
        if seed % 10 == 0:
            most = max(most, sum(_memory()) - before)
    assert most < MOST_BYTES
    assert [reason for reason in told if path.name not in reason] == []
    assert [reason for reason in told if reason.rstrip(").").endswith(("Error", "Exception"))] == []
    return {"read": read_whole, "refused": len(told)}


def _memory() -> Iterator[int]:
    process = psutil.Process()
    for each in (process, *process.children(recursive=True)):
        try:
            yield each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
