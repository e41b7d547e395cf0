"""One process writes to an output at a time: a second one refuses, and names the first.

The lock is the kernel's (flock) on a small file, in which the process says who it is. So it ends with the process, however that ends, and
what a killed one leaves stops nobody. On network file systems that pass such locks on (NFS does) it holds between machines, too; where
there are none, stages write as if they were alone.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.log import now
from esad.preprocessing.store.durable import BESIDE, LOCK, flush, missing_folders

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NONE_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.EBADF)
"""What file systems say that have no locks."""
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_HELD: dict[Path, tuple[int, int]] = {}
"""Lock file -> the process (not a copy of it) and thread that have it: a report that evaluates takes that of the scores twice."""


def lock_of(out: Path, inside: bool = True) -> Path:
    """The file: OUT/.lock, or .NAME.lock beside a file, or beside a folder that is made elsewhere and renamed as a whole."""
    return out / LOCK if inside else out.with_name(f".{out.name}{LOCK}")


@contextmanager
def writing_to(out: Path, inside: bool = True) -> Iterator[None]:
    """Within the block no other process, and no other thread, is in such a block of the same output.

    The folder (or with `inside` False the one above) is made, and removed again if it stays empty. What a killed process left under
    temporary names is removed first. EsadError, naming process, machine and since when, where another one writes there.
    """
    path = lock_of(out, inside).resolve()
    mine = (os.getpid(), threading.get_ident())
    if fcntl is None or _HELD.get(path) == mine or (inside and out.exists() and not out.is_dir()):
        yield  # a file in place of the folder is the stage's to refuse
        return
    made = _made_folder(path.parent)
    try:
        handle = _taken(path, out)
        try:
            _HELD[path] = mine
            yield
        finally:
            _HELD.pop(path, None)
            if handle is not None:
                path.unlink(missing_ok=True)  # while it is held: nobody has taken it yet
                os.close(handle)
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty: the stage wrote something
                folder.rmdir()


def _made_folder(folder: Path) -> list[Path]:
    """The folders that had to be made, the innermost first."""
    missing = missing_folders(folder)
    _make(folder)
    for each in reversed(missing):  # a power cut must not take the folder, and all in it
        with suppress(OSError):  # which another process has just removed again
            flush(each.parent)
    return missing


def _make(folder: Path) -> None:
    """Make a folder, which another process may be making and removing at the same time."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except FileExistsError:
            if os.path.lexists(folder) and not folder.is_dir():
                raise
        except FileNotFoundError:  # the folder above went meanwhile
            continue


def _taken(path: Path, out: Path) -> int | None:
    """The open lock file, which nobody else holds; None where there are no locks."""
    while True:
        was_there = path.exists()
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has just removed the folder, which stayed empty
            _make(path.parent)
            continue
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            if not path.exists():
                return None  # a finished folder that may only be read; what must be written there the stage says itself
            handle = os.open(path, os.O_RDONLY)  # another person's
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_still(handle, path):  # the one who had it removed it meanwhile
                os.close(handle)
                continue
            if was_there:
                _clear_up(path)
            _sign(handle)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                raise EsadError(_told(path, out)) from None
            if error.errno not in NONE_HERE:
                raise
            path.unlink(missing_ok=True)
            return None
        except BaseException:
            os.close(handle)
            raise
        return handle


def _is_still(handle: int, path: Path) -> bool:
    """Whether the open file is the one that has the name."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)


def _clear_up(path: Path) -> None:
    """Remove what the process left that had the lock before and was killed: inside the folder, or beside what is made as a whole."""
    from esad.preprocessing.store.writing import TEMPORARY, remove_temporaries

    if path.name == LOCK:
        remove_temporaries(path.parent)
        return
    name = path.name.removesuffix(LOCK)  # with its dot
    for word in BESIDE:
        shutil.rmtree(path.with_name(f"{name}.{word}"), ignore_errors=True)
    stem = Path(name).stem if Path(name).suffix else name
    for each in path.parent.glob(f"{glob.escape(stem)}.*"):
        if TEMPORARY.fullmatch(each.name) and each.is_file():
            each.unlink(missing_ok=True)


def _sign(handle: int) -> None:
    """Say in the lock file who has it; on a full disk the lock holds without it."""
    who = {"pid": os.getpid(), "host": platform.node(), "since": now().isoformat(timespec="seconds")}
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(who).encode(), 0)


def _told(path: Path, out: Path) -> str:
    """That another process writes to `out`, and which."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        other = f"process {int(who['pid'])} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        other = "another process"
    return f"{out}: is being written by {other}. Wait until it ends, or stop it, then run the same command again; or choose another output."
