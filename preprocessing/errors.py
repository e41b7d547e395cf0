"""The one base of all errors that are meant for the person at the keyboard."""

from __future__ import annotations


class EsadError(Exception):
    """A message for people: the file, the value, what was expected, what to do. Ends a stage with status 1."""

    exit_status = 1


class UsageError(EsadError):
    """The command or a setting is wrong (status 2): nothing was done, and asking again differently helps."""

    exit_status = 2


class InputError(EsadError):
    """One input is refused. Stages record it in `failures.csv` and go on with the others."""


class NothingToKeep(EsadError):
    """One input is in order but holds nothing to keep. Stages record it as done, without items, for this reason."""
