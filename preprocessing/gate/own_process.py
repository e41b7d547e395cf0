"""Readers whose C code can die of a damaged file work in a process of their own, which is started anew where it dies.

Not `multiprocessing`: workers of a cluster are daemons, which may have no such children, and its messages are pickles.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from esad.preprocessing import errors
from esad.preprocessing.errors import EsadError, InputError
from esad.preprocessing.gate.refusals import debugging
from esad.preprocessing.gate.wire import receive, send

SECONDS = 600.0
"""A reader that takes longer than this for one file is stopped."""

FRUGAL = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment of the child: libraries that reserve gigabytes of address space would meet its limit with small files."""


class ReadingProcess:
    """A child that calls our readers for us, one call at a time; it starts with the first call."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def call(
        self, function: Callable[..., Any], name: str, *values: Any, packed: int = 0, seconds: float = SECONDS
    ) -> Any:
        """`function(*values)`, computed in the child; `function` is a module's own, of `esad.preprocessing`.

        `name` is the file that it reads, `packed` its size in bytes, which limits the memory of the call (see
        `serve.allowance`). Values and result as `wire.send` takes them; tuples come back as lists. Raises the EsadError
        that `function` raises, and InputError for anything else that befalls it: an exception, its death, no answer in
        time.
        """
        request = {"module": function.__module__, "function": function.__qualname__, "values": values}
        with self._lock:
            child = self._started()
            questions, answers = cast(BinaryIO, child.stdin), cast(BinaryIO, child.stdout)
            try:
                send(questions, {**request, "name": name, "packed": packed})
                if not select.select([answers], [], [], seconds)[0]:
                    self._end()
                    raise InputError(
                        f"{name}: reading it took more than {seconds:g} seconds; it is damaged, or too large."
                    )
                answer = receive(answers)
            except (OSError, EOFError):
                self._end()
                raise InputError(f"{name}: {_death(child)}") from None
            except BaseException:  # stopped between question and answer: the next answer would be this one's
                self._end()
                raise
        if "error" in answer:
            kind = getattr(errors, answer["kind"], InputError)
            raise (kind if issubclass(kind, EsadError) else InputError)(answer["error"])
        return answer["result"]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child = subprocess.Popen(
                # -P: modules of the folder in which a person works, which may be a stranger's run, are none of ours
                [sys.executable, "-P", "-m", "esad.preprocessing.gate.serve"],
                env={**os.environ, **FRUGAL},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if debugging() else subprocess.DEVNULL,  # C libraries remark on damaged files
            )
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                try:
                    if stream is not None:
                        stream.close()
                except OSError:  # what was still to be sent to the dead
                    continue
            self._child = None


def _death(child: subprocess.Popen[bytes]) -> str:
    """Why there was no answer."""
    code = child.returncode or 0
    how = f" ({signal.Signals(-code).name})" if code < 0 and -code in set(signal.Signals) else ""
    return f"the program that reads it died of it{how}; the file is damaged, or the memory was not enough."


_OF_PROCESS: dict[int, ReadingProcess] = {}


def own_process() -> ReadingProcess:
    """This process's own reading process; forked children have one of theirs."""
    number = os.getpid()
    if number not in _OF_PROCESS:
        _OF_PROCESS.clear()
        _OF_PROCESS[number] = ReadingProcess()
        atexit.register(_OF_PROCESS[number]._end)
    return _OF_PROCESS[number]
