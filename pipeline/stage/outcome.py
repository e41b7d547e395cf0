"""What a stage hands back to the command line: one line for the person, one object for a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esad.pipeline.stage.errors import ExitStatus


@dataclass(frozen=True)
class Outcome:
    """`message` says what was written, `next_command` what to run now, `summary` is the `--json` object."""

    out: Path
    message: str
    next_command: str = ""
    refused: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    """The stage did its work, and what it looked at is not in order."""
    partly: bool = False
    """The stage could not look at all that it was to look at."""

    @property
    def exit_status(self) -> ExitStatus:
        """0 where everything asked for was done, 1 where a check failed, 3 where some inputs were refused or not checked."""
        if self.failed:
            return ExitStatus.FAILED
        return ExitStatus.SOME_REFUSED if self.refused or self.partly else ExitStatus.DONE

    @property
    def line(self) -> str:
        """The stage's last line."""
        return f"{self.message} Next: {self.next_command}" if self.next_command else self.message

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {"out": str(self.out), "refused": self.refused, "next": self.next_command, **self.summary}


def items_of(kind: str) -> str:
    """What the items of a kind of store are called, as a plural."""
    return "rows" if kind == "table" else kind
