"""The units of an ingest stage on a Dask cluster: one task a unit, on workers that see the same folders.

Scheduler and workers are the person's (docs/how-to/workers-and-dask.md); this module is a client of them. A task whose
worker dies is given to another one by Dask; one that keeps killing its workers is tried once more with nothing beside it, since
Dask blames all that a dead worker had before it, and is then given up.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.ingest.workers import Process
from esad.pipeline.stage.errors import EsadError, UsageError, explain
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.store import Unit, fingerprint, finished_units

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

CONNECT_SECONDS = 10
WORKER_SECONDS = 30
"""So long a scheduler without workers is waited for at the start."""
LOOK_SECONDS = 0.05
SAY_SECONDS = 30
VISIBLE_SECONDS = 90
"""Network file systems may show a folder as it was up to a minute ago."""


@dataclass(frozen=True)
class Probe:
    """What must be the same on a worker as here: the store's settings file, and one file of the archive."""

    root: Path
    settings: str
    source: Path
    fingerprint: str
    packages: tuple[str, ...]

    @classmethod
    def here(cls, root: Path, source: Path, packages: Sequence[str]) -> Probe:
        """What this machine sees; of a source inside a zip the zip."""
        while not source.exists() and source != source.parent:
            source = source.parent
        settings = (root / "parts" / "settings.json").read_text(encoding="utf-8")
        return cls(root, settings, source, _fingerprint(source), tuple(packages))

    def look(self) -> tuple[str | None, dict[str, str]]:
        """(what is wrong on the machine where this runs, its versions of the packages)."""
        try:
            parts = self.root / "parts"
            if (parts / "settings.json").read_text(encoding="utf-8") != self.settings:
                return f"{self.root} is another folder there", {}
            with tempfile.TemporaryFile(dir=parts) as file:
                file.write(b"probe")
            if _fingerprint(self.source) != self.fingerprint:
                return f"{self.source} is not there, or another file", {}
        except OSError as error:
            return explain(error), {}
        return None, versions(self.packages)


def _fingerprint(path: Path) -> str:
    """Of the file; an empty text where it is none or cannot be read."""
    try:
        return fingerprint(path) if path.is_file() else ""
    except OSError:
        return ""


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of packages on the machine where this runs."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _run_unit(process: Process, root: Path, unit: Unit) -> None:
    process(root, unit)


def _same(process: Process) -> Process:
    """As a task of its own, what all units share travels and is kept once a worker, and is made anew when lost."""
    return process


def _tasks_of(prefix: str, dask_worker: Any) -> int:
    """How many tasks of a store a worker still has; Dask cannot stop a task that runs."""
    return sum(str(key).startswith(prefix) for key in dask_worker.state.tasks)


@dataclass(frozen=True)
class Cluster:
    """A connection to a scheduler that has workers."""

    client: Client
    address: str

    def process(
        self, root: Path, units: Sequence[Unit], process: Process, archive: Path, packages: Sequence[str]
    ) -> Iterator[tuple[Unit, str | None]]:
        """Process the units; yields each as it is finished, with the reason where it was given up.

        Raises UsageError where a worker sees other folders or cannot run the stage, EsadError where the scheduler is
        lost or results stay invisible here, and what `process` raises.
        """
        from distributed import KilledWorker

        if not units:
            return
        root = root.resolve()
        self._check_workers(Probe.here(root, archive / units[0].sources[0], packages))
        shared = self.client.submit(_same, process, key=f"{_prefix(root)}{uuid.uuid4().hex}")
        killed: list[Unit] = []
        for unit, error in self._run(shared, root, units):
            if isinstance(error, KilledWorker):
                killed.append(unit)
            else:
                yield unit, None
        for unit in killed:
            for _, error in self._run(shared, root, [unit]):
                yield unit, _reason(error) if isinstance(error, KilledWorker) else None
        given_up = {unit.number for unit in killed}
        self._wait_until_visible(root, {unit.number for unit in units} - given_up)

    def _run(
        self, shared: Future, root: Path, units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, BaseException | None]]:
        """(unit, None or KilledWorker) as they end; a stop or any other error cancels the rest."""
        from distributed import KilledWorker, as_completed

        call = uuid.uuid4().hex[:8]
        unit_of = {f"{_prefix(root)}{call}-{unit.number:05d}": unit for unit in units}
        shares = ([shared] * len(units), [root] * len(units), units)
        futures = self.client.map(_run_unit, *shares, key=list(unit_of), pure=False)
        ending = as_completed(futures, loop=self.client.loop)
        held = {str(future.key): future for future in futures}
        del (
            futures
        )  # what has ended must be let go of: Dask does it again where it was kept on a worker that dies
        try:
            for key in self._as_they_end(ending, held):
                future = held.pop(key)
                status = future.status
                if status == "lost":
                    # it ended, and before we looked its worker died: Dask does it again, which must end before the store
                    held[key] = future
                    ending.add(future)
                    continue
                error = future.exception() if status == "error" else None
                if error is not None and not isinstance(error, KilledWorker):
                    raise error
                if status == "cancelled":
                    raise EsadError(
                        f"--scheduler {self.address}: lost the scheduler. Start it and run the same command again: it "
                        "continues where it was."
                    )
                del future
                yield unit_of[key], error
        except BaseException:
            if self.client.status == "running":
                self.client.cancel(list(held.values()))
            raise

    def _as_they_end(self, ending: as_completed, held: Mapping[str, Future]) -> Iterator[str]:
        """The keys as their tasks end; says so where no worker is left to work on them."""
        told = time.monotonic()
        while held:
            yield from [str(future.key) for future in ending.next_batch(block=False)]
            time.sleep(LOOK_SECONDS)
            if time.monotonic() - told > SAY_SECONDS:
                told = time.monotonic()
                if not self._workers():
                    say(f"--scheduler {self.address}: no worker is left; waiting for one.")

    def _workers(self) -> Mapping[str, Any]:
        """What the scheduler states of its workers, by address."""
        return self.client.scheduler_info(n_workers=-1)["workers"]

    def _check_workers(self, probe: Probe) -> None:
        """UsageError where a worker sees other folders or lacks this package; other versions and threads are said."""
        ours = versions(probe.packages)
        for worker, (problem, theirs) in self.client.run(probe.look).items():
            if problem:
                raise UsageError(
                    f"worker {worker}: {problem}. All workers must see archive and store under the same paths (a shared "
                    "file system)."
                )
            unlike = [
                f"{name} {theirs[name]} (here {ours[name]})" for name in ours if theirs[name] != ours[name]
            ]
            if unlike:
                say(f"worker {worker} has {', '.join(unlike)}: what it makes may differ in its last bits.")
        threads = {address: int(stated["nthreads"]) for address, stated in self._workers().items()}
        busiest = max(threads, key=lambda address: threads[address], default=None)
        if busiest is not None and threads[busiest] > 1:
            say(
                f"worker {busiest} has {threads[busiest]} threads and takes as many units at once, each with its own "
                "memory; start workers with --nthreads 1."
            )

    def check_package(self) -> None:
        """UsageError where a worker lacks this program; it is asked for by Python's own means, since it may lack it."""
        for worker, found in self.client.run(find_spec, __name__, on_error="return").items():
            if found is None or isinstance(found, BaseException):
                raise UsageError(
                    f"worker {worker} does not have this program ({found or 'an older esad'}). Install the same esad "
                    "there, and start the worker with the Python it is installed in."
                )

    def wait_for_earlier_calls(self, root: Path) -> None:
        """Wait until no worker is at a unit of this store: one of a stopped call would write into what comes next."""
        told = False
        while any(self.client.run(_tasks_of, _prefix(root.resolve())).values()):
            if not told:
                say(f"{root}: waiting for workers that still finish a unit of an earlier call.")
            told = True
            time.sleep(10 * LOOK_SECONDS)

    def _wait_until_visible(self, root: Path, numbers: set[int]) -> None:
        deadline = time.monotonic() + VISIBLE_SECONDS
        while missing := numbers - set(finished_units(root)):
            if time.monotonic() > deadline:
                raise EsadError(
                    f"{root}: workers finished {len(missing)} units that are not to be seen here (first: "
                    f"{min(missing)}). Is it the same folder on all machines? Run the same command again."
                )
            time.sleep(10 * LOOK_SECONDS)


def _prefix(root: Path) -> str:
    """How the keys of all tasks of a store begin."""
    return f"esad-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}-"


def _reason(error: Any) -> str:
    """Of a unit that is given up, for people."""
    return (
        f"{error.allowed_failures + 1} workers died while they worked on it, with nothing else beside it; they may lack "
        "memory: see their logs."
    )


def _knock(address: str) -> None:
    """UsageError where no Dask scheduler answers at `address`; a Client that cannot connect takes long to give up."""
    import asyncio

    from distributed import Security
    from distributed.comm import connect

    async def knock() -> None:
        comm = await connect(address, timeout=CONNECT_SECONDS, **Security().get_connection_args("client"))
        await comm.close()

    try:
        asyncio.run(knock())
    except (OSError, ValueError, MemoryError) as error:
        # a MemoryError: what another kind of server said was taken for a length
        told = "another kind of server does" if isinstance(error, MemoryError) else error
        raise UsageError(
            f"--scheduler {address}: no Dask scheduler answers there ({told}). Start one with: dask scheduler --host "
            "127.0.0.1 --dashboard-address 127.0.0.1:8787"
        ) from error


@contextmanager
def connected(address: str, root: Path) -> Iterator[Cluster]:
    """Within the block, the cluster whose scheduler is at `address`; no worker is at a unit of the store at `root`.

    Raises UsageError where no scheduler answers within CONNECT_SECONDS, it has no workers after WORKER_SECONDS, or one
    of them lacks this program.
    """
    from distributed import Client

    _knock(address)
    # a lost scheduler is said here, in one line
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise UsageError(
                f"--scheduler {address}: it has no workers. Start some with: dask worker {address} --nthreads 1 --host "
                "127.0.0.1 --dashboard-address 127.0.0.1:0"
            ) from error
        cluster = Cluster(client, address)
        cluster.check_package()
        cluster.wait_for_earlier_calls(root)
        yield cluster
