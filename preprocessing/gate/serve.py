"""The child of `own_process`: answers calls that come on stdin until stdin ends."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from esad.preprocessing.errors import EsadError
from esad.preprocessing.gate.limits import ALWAYS, MOST_INFLATION, SHARE, memory_at_hand
from esad.preprocessing.gate.refusals import debugging, in_words
from esad.preprocessing.gate.wire import receive, send

PACKAGE = "esad.preprocessing."
"""Only functions from here are called."""

STATM = os.open("/proc/self/statm", os.O_RDONLY) if Path("/proc/self/statm").exists() else None
"""Where Linux tells how much address space this process has; elsewhere there is no limit."""


def allowance(packed: int) -> int:
    """Bytes of address space that the reading of a file of `packed` bytes may add: what it may claim, four times, since
    a decoder and our float32 hold copies; no more than the memory at hand."""
    wanted = max(4 * ALWAYS, 4 * MOST_INFLATION * packed)
    return int(wanted if wanted == 4 * ALWAYS else min(wanted, max(memory_at_hand() * SHARE, 4 * ALWAYS)))


def _limit_memory(packed: int) -> None:
    """A bomb then ends in MemoryError here, not in the death of another process of the machine."""
    if STATM is not None:
        now = int(os.pread(STATM, 64, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = now + allowance(packed)
        resource.setrlimit(
            resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The result of one call, or what became of it in words."""
    try:
        assert request["module"].startswith(PACKAGE)
        function = getattr(importlib.import_module(request["module"]), request["function"])
        _limit_memory(request["packed"])
        return {"result": function(*request["values"])}
    except EsadError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # noqa: BLE001  any reader may raise anything on a damaged file
        if debugging():
            traceback.print_exc(file=sys.stderr)
        return {"error": f"{request['name']}: not a readable file ({in_words(error)}).", "kind": "InputError"}


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there is no further question."""
    while True:
        try:
            request = receive(questions)
        except EOFError:
            return
        send(answers, answer(request))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the group; the parent decides
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # a library that prints does not write into the answers
        serve(sys.stdin.buffer, out)
