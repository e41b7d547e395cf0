"""One stage in a process of its own: how long it took and how much memory it had, for the scripts of this folder."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

RUN = """
import re, resource, sys
from pathlib import Path
from esad.pipeline.cli.app import call
status = call(sys.argv[1:])
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(status, own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Not `getrusage` of the process itself, whose highest memory is that of the process that started it, too."""
KIB_IN_MIB = 1024


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock, and resident memory at its highest in MiB: of the process, and of the largest one that it started."""

    seconds: float
    own_mib: float
    child_mib: float

    @property
    def peak_mib(self) -> float:
        """Of whichever was the largest."""
        return max(self.own_mib, self.child_mib)


def taken(words: list[str], good: tuple[int, ...] = (0,)) -> Taken:
    """What `esad WORDS` took; RuntimeError with its last words where it ends with a status that is none of `good`."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUN, *words], check=False, capture_output=True, text=True)
    status, own, child = (
        (int(word) for word in done.stdout.split()[-3:]) if done.returncode == 0 else (1, 0, 0)
    )
    if status not in good:
        raise RuntimeError(f"{status}: esad {' '.join(words)}: {done.stderr[-2000:]}")
    return Taken(time.perf_counter() - began, own / KIB_IN_MIB, child / KIB_IN_MIB)
