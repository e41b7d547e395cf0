"""Work in forked copies of the test's process: kills, signals and several ranks without seconds of imports each."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import traceback
from collections.abc import Callable

from esad.pipeline.cli.app import call
from esad.pipeline.stage.errors import EsadError

CRASHED = 99
LONGEST = 120
"""Seconds after which a copy that hangs says where, and ends."""


def fork(work: Callable[[], object], **environment: str) -> int:
    """Do `work` in a copy of this process; returns its number. It leaves as the command line does, without clearing up."""
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        return number
    status = CRASHED
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=sys.__stderr__)
    try:
        os.environ.update(environment)
        work()
        status = 0
    except EsadError as error:
        sys.stderr.write(f"error: {error}\n")
        status = int(error.exit_status)
    except BaseException:  # noqa: BLE001 - whatever it is, this copy must not go on as the test
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(number: int) -> int:
    """Exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def in_ranks(work: Callable[[int], object], count: int = 2) -> list[int]:
    """`work(rank)` in `count` processes side by side; returns how they ended."""
    return [wait(number) for number in [fork(lambda rank=rank: work(rank)) for rank in range(count)]]


def as_torchrun(command: Callable[[], object], count: int = 2) -> list[int]:
    """`command` in `count` copies of this process, with the variables that torchrun sets; returns their numbers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {
        "TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    return [fork(command, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(count)]


def esad_as_torchrun(
    words: list[str], before: Callable[[], object] = lambda: None, count: int = 2
) -> list[int]:
    """The same of `esad WORDS`; each copy does `before` first."""

    def command() -> None:
        before()
        os._exit(call(words))

    return as_torchrun(command, count)
