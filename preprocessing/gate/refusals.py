"""Whatever a reader raises becomes a refusal of the one input that it was reading."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esad.preprocessing.errors import EsadError, InputError

DEBUG = "ESAD_DEBUG"
"""Environment variable that `--debug` sets, so that processes of workers have it, too."""

OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE}
"""Errors of the system that are no fault of the file that is read."""

NOWHERE = "a link to a file that is not there; fetch it (git-annex, DVC), or take the link away."


def leads_nowhere(path: Path) -> bool:
    """Whether `path` is a link whose target is not there, or that leads to itself; git-annex and DVC leave such."""
    return path.is_symlink() and not path.exists()


def debugging() -> bool:
    """Whether tracebacks are shown."""
    return bool(os.environ.get(DEBUG))


@contextmanager
def refusing(name: str, what: str = "file") -> Iterator[None]:
    """Within the block any exception becomes an InputError "NAME: not a readable WHAT (why)"; EsadErrors pass.

    A fault of the program looks the same from here: with `--debug` the traceback is shown. A full disk, which is no fault of
    the input, passes, too.
    """
    try:
        yield
    except EsadError:
        raise
    except Exception as error:  # any reader may raise anything on a damaged file
        if isinstance(error, OSError) and error.errno in OF_WRITING:
            raise
        if debugging():
            traceback.print_exc(file=sys.stderr)
        raise InputError(f"{name}: not a readable {what} ({in_words(error)}).") from error


def in_words(error: BaseException) -> str:
    """Why an exception was raised, as a person reads it: never the name of its class."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.object[error.start]:#04x} at {error.start} is no {error.encoding}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    spoken = (
        " " in text
        and text[0].isalnum()
        and not isinstance(error, (KeyError, AttributeError, TypeError, IndexError, NameError))
    )
    return text[:200] if spoken else "it is damaged or cut short"
