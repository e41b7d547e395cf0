"""The units of an ingest stage on a Dask cluster: one task a unit, on workers that see the same folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from esad.pipeline.ingest.workers import Process
from esad.pipeline.stage.cluster import Cluster, Probe, wait_until_visible
from esad.preprocessing.store.store import Unit, finished_units

BUSY = "and takes as many units at once, each with its own memory"


def _run_unit(shared: tuple[Process, Path], unit: Unit) -> None:
    process, root = shared
    process(root, unit)


def process_on(
    cluster: Cluster,
    root: Path,
    units: Sequence[Unit],
    process: Process,
    archive: Path,
    packages: Sequence[str],
) -> Iterator[tuple[Unit, str | None]]:
    """Process the units; yields each as it is finished, with the reason where it was given up.

    Raises UsageError where a worker sees other folders or cannot run the stage, EsadError where the scheduler is
    lost or results stay invisible here, and what `process` raises.
    """
    if not units:
        return
    root = root.resolve()
    probe = Probe.here(root, root / "parts" / "settings.json", [archive / units[0].sources[0]], packages)
    cluster.check(probe, "archive and store", BUSY)
    by_name = {f"{unit.number:05d}": unit for unit in units}
    seen = set()
    for ended in cluster.run(root, _run_unit, (process, root), by_name):
        unit = by_name[ended.name]
        if not ended.given_up:
            seen.add(unit.number)
        yield unit, ended.given_up
    wait_until_visible(root, "units", lambda: seen - set(finished_units(root)))
