"""What lasts through kills and power cuts: files and names flushed in order, folders replaced and emptied so that one can go on.

A name that announces something (a shard's, `store.json`) must not be on the disk before what it announces. So a file is flushed, then
renamed, then its folder's list of names is flushed, and a folder that is made has its own name flushed in the one above.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

NO_FLUSHING = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
"""What file systems say that cannot flush a file, or a folder: some shares, and pipes."""
LOCK = ".lock"
"""In a folder that a stage writes to, or as the end of `.NAME.lock` beside a file: see `esad.pipeline.stage.lock`."""

BESIDE = ("partial", "old")
"""`.NAME.partial` is a folder that is made to become NAME, `.NAME.old` what had the name before."""


def flush(path: Path) -> None:
    """Flush a file to disk, or a folder's names; OSError where the disk fails, or is full."""
    if os.name == "nt":  # a folder cannot be opened there, and a file only to write
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        flush_handle(handle)
    finally:
        os.close(handle)


def flush_handle(handle: int) -> None:
    """Flush an open file or folder; where its file system knows no such thing nothing is done."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FLUSHING:
            raise


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the innermost first."""
    return list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, with their names on the disk."""
    missing = missing_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        flush(each.parent)


def give_name(temporary: Path, path: Path) -> None:
    """Rename a file that is written, in place of what has the name: the file is on the disk before its name is, and the name after it."""
    flush(temporary)
    os.replace(temporary, path)
    flush(path.parent)


def take_name(path: Path) -> None:
    """Remove a file that announces something, before that is changed; nothing where it is not there."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        flush(path.parent)


def replace_folder(fresh: Path, folder: Path) -> None:
    """Give the folder `fresh`, beside it, the name of `folder`: at any moment this name leads to the old one, to nothing or to the new."""
    for path in sorted(fresh.rglob("*")):
        flush(path)
    flush(fresh)
    flush(fresh.parent)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but, perhaps, the lock of who writes to it."""
    return all(path.name == LOCK for path in folder.iterdir())


def is_barely_begun(root: Path) -> bool:
    """Whether `root` is empty, or what a stage leaves that is stopped at its very first write."""
    names = {path.relative_to(root).as_posix() for path in root.rglob("*")}
    return all(re.fullmatch(r"parts|parts/\.settings\.\d+\.json|\.lock", name) for name in names)


def empty_folder(folder: Path, known_by: str, announced_by: Sequence[str] = ()) -> None:
    """Remove what a folder holds, but for its lock; it may be a mounted one, so that it stays itself.

    First go the files that say that something is finished (`announced_by`, patterns of names in it), last the one that says whose folder
    it is (`known_by`, which may be in a folder inside): killed meanwhile, it is a folder that was begun. Folders inside go at once, each
    under a hidden name (`remove_folder`).
    """
    for pattern in announced_by:
        for path in sorted(folder.glob(pattern)):
            take_name(path)
    last = folder / known_by
    spared = {last, folder / LOCK, *last.parents}
    for place in dict.fromkeys((last.parent, folder)):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path in spared:
                continue
            if path.is_dir() and not path.is_symlink():
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)
    flush(folder)
    take_name(last)
    if last.parent != folder and last.parent.is_dir():
        last.parent.rmdir()


def remove_folder(folder: Path) -> None:
    """Remove a folder at once: it is given a hidden name first, since its files go in any order; nothing where it is not there."""
    hidden = folder if folder.name.startswith(".") else folder.with_name(f".{folder.name}.old")
    if hidden != folder and folder.exists():
        shutil.rmtree(hidden, ignore_errors=True)
        os.replace(folder, hidden)
        flush(folder.parent)
    shutil.rmtree(hidden, ignore_errors=not hidden.exists())
