"""Memory that networks on pictures use again and again stays with the process."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of the parameters in glibc's malloc.h."""
KEPT_BYTES = 2**31 - 1
LARGE_BYTES = 2**30


@cache
def keep_freed_memory() -> bool:
    """Have glibc keep up to 2 GiB of freed memory for the next tensor; returns whether it could be told. Once a process.

    glibc gives blocks of more than 32 MiB, a layer's output at the paper's width, back to the system when they are freed.
    The system hands them out anew page by page and zeroed, which took 18 % of a step (measurements.md#network-cost). Peak
    memory is a little higher. Elsewhere (another C library, macOS, Windows) nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        mallopt(MMAP_THRESHOLD, LARGE_BYTES) and mallopt(TRIM_THRESHOLD, KEPT_BYTES)
    )
