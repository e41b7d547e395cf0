"""Exit statuses, what the system says in words, and the errors that stages raise.

The errors are defined in `esad.preprocessing.errors`, the lowest layer.
"""

from __future__ import annotations

import errno
from enum import IntEnum

from esad.preprocessing.errors import EsadError, InputError, NothingToKeep, UsageError

__all__ = [
    "CannotTrain",
    "EsadError",
    "ExitStatus",
    "InputError",
    "NothingToKeep",
    "Stopped",
    "UsageError",
    "explain",
]


class ExitStatus(IntEnum):
    """What the shell gets."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    SOME_REFUSED = 3
    STOPPED = 75  # EX_TEMPFAIL: run me again


class CannotTrain(EsadError):
    """These settings give no model on these data: others may."""


class Stopped(EsadError):
    """Stopped on request (SIGTERM or Ctrl-C) with everything needed to go on kept."""

    exit_status = ExitStatus.STOPPED


ADVICE = {
    errno.ENOSPC: "Free some space, then run the same command again: it continues where it was.",
    errno.EDQUOT: "Free some space, then run the same command again: it continues where it was.",
    errno.EACCES: "Check the permissions, or choose another --out.",
    errno.EROFS: "The file system is read-only: choose another --out.",
    errno.EFBIG: "A limit on the size of files is in force (ulimit -f): raise it, or choose another --out.",
}


def explain(error: OSError) -> str:
    """An operating system's error as a sentence that names the file and what to do."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}. {ADVICE.get(error.errno or 0, '')}".strip()
