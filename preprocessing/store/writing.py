"""Files written whole or not at all: under a temporary name, flushed to disk, then renamed; a full disk is named with what it lacks."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from esad.preprocessing.errors import EsadError
from esad.preprocessing.store.csv_cells import csv_text
from esad.preprocessing.store.durable import BESIDE, LOCK, give_name, make_folder

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT)
ALLOCATE = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None) if os.name == "posix" else None
"""Linux alone has it: fallocate(2), with a length of 64 bits."""
if ALLOCATE is not None:
    ALLOCATE.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
TEMPORARY = re.compile(r"\..+\.\d+(\.\w+)?")
"""What `temporary_path` makes."""
HIDDEN_FOLDER = re.compile(rf"\..+\.({'|'.join(BESIDE)})")
"""What `remove_folder` and `replace_folder` leave."""
ALMOST_FULL = 1 << 20
"""A library's error without a number, on a disk with fewer bytes free than these, is taken for a full disk."""


def temporary_path(path: Path) -> Path:
    """Where `path` is written before it gets its name, in its own folder, which is made; keeps the suffix."""
    make_folder(path.parent)
    # random, since writers on two machines can have the same process number
    return path.with_name(f".{path.stem}.{secrets.randbelow(10**12)}{path.suffix}")


def write_atomically(path: Path, write: Callable[[Path], object], needed: int | None = None) -> None:
    """Call `write(temporary path)`, flush the result and rename it to `path`; the temporary name keeps the suffix.

    As it returns, the file and its name are on the disk: a power cut takes neither.

    OSError names `path`; where the disk is full, what is `needed` (bytes; None: not known) and what is free, too. With
    `needed` that is said before anything is written.
    """
    temporary = temporary_path(path)
    try:
        with named_in_errors(path, temporary, needed):
            if needed is not None:
                check_room(path, needed)
            write(temporary)
            give_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(root: Path) -> None:
    """Remove what killed writers left under the temporary names of `write_atomically` and `remove_folder`, in the whole folder.

    Folders inside that another stage writes to (scores in a run) are left to it: they have a lock of their own.
    """
    for place, folders, names in os.walk(root):
        for name in folders:
            beside = Path(place) / f"{name.rpartition('.')[0]}{LOCK}"  # of who is making it now
            if HIDDEN_FOLDER.fullmatch(name) and not beside.exists():
                shutil.rmtree(Path(place) / name)
        folders[:] = [
            name
            for name in folders
            if not HIDDEN_FOLDER.fullmatch(name) and not (Path(place) / name / LOCK).exists()
        ]
        for name in names:
            if TEMPORARY.fullmatch(name):
                (Path(place) / name).unlink(missing_ok=True)


def free_bytes(folder: Path) -> int | None:
    """What may still be written there; None where the file system does not tell."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def check_room(path: Path, needed: int) -> None:
    """OSError (ENOSPC) where the disk of `path` has fewer than `needed` bytes free, (EFBIG) where a file may not be so long."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0] if resource else -1
    if resource and limit != resource.RLIM_INFINITY and needed > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    free = free_bytes(path.parent)
    if free is not None and needed > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def set_aside(file: int, size: int) -> None:
    """Have the file system set `size` bytes aside for an open file, where it does such a thing; OSError where it has not so many.

    What is then written finds its place known: a third less time goes into it. Not `os.posix_fallocate`, which writes a
    byte into every block where the file system knows no other way.
    """
    if ALLOCATE is not None and ALLOCATE(file, 0, 0, size) != 0:
        number = ctypes.get_errno()
        if number in (*FULL, errno.EFBIG):
            raise OSError(number, os.strerror(number))


@contextmanager
def named_in_errors(path: Path, temporary: Path, needed: int | None = None) -> Iterator[None]:
    """Within the block an OSError of `temporary`, or of no file, becomes one of `path`; of a full disk with the bytes.

    numpy's and Pillow's own errors have neither a number nor a file: they are told by the room that is left.
    """
    try:
        yield
    except OSError as error:
        number, free = error.errno, free_bytes(path.parent)
        if number is None and free is not None and free < ALMOST_FULL:
            number = errno.ENOSPC
        if number is None or error.filename not in (None, str(temporary), str(path)):
            raise
        raise OSError(number, _told(number, needed, free), str(path)) from error


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Within the block, which makes `folder` beside its place, what is raised on a full disk becomes an OSError of it, with what is free.

    Libraries have errors of their own there (torch's RuntimeError, pydicom's with the number in its text): these are told by the
    room that is left.
    """
    try:
        yield
    except EsadError:
        raise
    except Exception as error:
        number, free = getattr(error, "errno", None), free_bytes(folder.parent)
        if number is None and (
            (free is not None and free < ALMOST_FULL) or f"[Errno {errno.ENOSPC}]" in str(error)
        ):
            number = errno.ENOSPC
        if number not in FULL:
            raise
        raise OSError(number, _told(number, None, free), str(folder)) from error


def _told(number: int, needed: int | None, free: int | None) -> str:
    """The system's word for an error; of a full disk with what is needed and free."""
    if number not in FULL:
        return os.strerror(number)
    sizes = [
        f"{megabytes(size)} {what}" for size, what in ((needed, "needed"), (free, "free")) if size is not None
    ]
    return f"{os.strerror(number)} ({', '.join(sizes)})" if sizes else os.strerror(number)


def megabytes(size: int) -> str:
    """`12.3 MB`, of 10^6 bytes."""
    return f"{size / 1e6:.1f} MB"


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes, atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content), len(content))


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: object) -> None:
    """Write `content` as indented JSON with sorted keys, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, atomically; a bit that flips later is found by the checksums of its pages."""
    write_atomically(
        path, lambda temporary: table.to_parquet(temporary, index=False, write_page_checksum=True)
    )


def write_row_groups(path: Path, groups: Iterable[pa.Table]) -> None:
    """Write Arrow tables of one schema, at least one, behind each other as one Parquet file, a row group each, atomically.

    They are asked for one by one, so that only one need be in memory.
    """

    def write(temporary: Path) -> None:
        with ExitStack() as opened:
            writer = None
            for group in groups:
                writer = writer or opened.enter_context(
                    pq.ParquetWriter(temporary, group.schema, write_page_checksum=True)
                )
                writer.write_table(group)
                del group  # before the next is made
                pa.default_memory_pool().release_unused()

    write_atomically(path, write)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, atomically; texts that a spreadsheet would run are escaped (`csv_cells`)."""
    write_text(path, csv_text(table))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as `.npy` (no pickle), atomically."""

    class Plain:
        """A file that numpy does not take for one: its own way of writing to files hides the system's error."""

        def __init__(self, write: Callable[[bytes], object]) -> None:
            self.write = write

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.lib.format.write_array(Plain(file.write), array, allow_pickle=False)  # type: ignore[arg-type]

    write_atomically(path, write, array.nbytes)
