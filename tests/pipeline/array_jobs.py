"""Ingest of small array files with mishaps, in a module of its own: worker processes import no more than this."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import numpy as np
import pandas as pd

from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import run_job, source_row
from esad.preprocessing.store.store import write_json, write_unit


def process(archive, before, root, unit):
    """An array file to its unit; `before` is called with the source first."""
    (source,) = unit.sources
    before(source)
    array = np.load(archive / source)
    items = pd.DataFrame({"source": source, "place": [str(n) for n in range(len(array))]})
    write_unit(root, unit, array, items, pd.DataFrame([source_row(archive, source, len(items))]))


def at_once(source):
    pass


def once_for_a_minute(mark, source):
    """The first time source 2 comes, say in `mark` which process has it, and be busy."""
    if source == "2.npy" and not mark.exists():
        write_json(mark, os.getpid())
        time.sleep(60)


def deadly(source):
    if source == "2.npy":
        os.kill(os.getpid(), signal.SIGKILL)


def lost_when_done(mark, source):
    """Source 1 kills the process that has done source 0, once; doing source 0 anew takes long."""
    if source == "0.npy":
        if mark.exists():
            time.sleep(3)
        else:
            write_json(mark, os.getpid())
    elif source == "1.npy" and not mark.with_suffix(".killed").exists():
        while not mark.exists():
            time.sleep(0.02)
        time.sleep(0.5)  # the client hears that source 0 is done
        mark.with_suffix(".killed").touch()
        os.kill(int(mark.read_text()), signal.SIGKILL)


def held(hold, source):
    """All but source 0 wait until the file `hold` is gone."""
    while source != "0.npy" and hold.exists():
        time.sleep(0.02)


def ingest(archive, out, before=at_once, scheduler=None, workers=1):
    sources = sorted(path.name for path in archive.iterdir())
    job = Job("test", "images", archive, sources, {}, partial(process, archive, before))
    return run_job(job, IngestOptions(out, workers=workers, scheduler=scheduler))
