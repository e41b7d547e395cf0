"""Exit statuses, and the errors that stages raise (defined in `preprocessing.errors`, the lowest layer)."""

from __future__ import annotations

from enum import IntEnum

from preprocessing.errors import EsadError, InputError, UsageError

__all__ = ["EsadError", "ExitStatus", "InputError", "Stopped", "UsageError"]


class ExitStatus(IntEnum):
    """What the shell gets."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    SOME_REFUSED = 3
    STOPPED = 75  # EX_TEMPFAIL: run me again


class Stopped(EsadError):
    """Stopped on request (SIGTERM or Ctrl-C) with everything needed to go on kept."""

    exit_status = ExitStatus.STOPPED
