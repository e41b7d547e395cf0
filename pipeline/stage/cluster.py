"""A stage's work on a Dask cluster: tasks on workers that see the same folders.

Scheduler and workers are the person's (docs/how-to/workers-and-dask.md); this module is a client of them. A task whose
worker dies is given to another one by Dask; one that keeps killing its workers is tried once more with nothing beside it, since
Dask blames all that a dead worker had before it, and is then given up.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.stage.errors import EsadError, UsageError, explain
from esad.pipeline.stage.progress import say
from esad.preprocessing.store.store import fingerprint

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
    """What must be the same on a worker as here: the folder `root` that tasks write, by a file in it, and `files` that they read."""

    root: Path
    mark: Path
    content: str
    files: tuple[tuple[Path, str], ...]
    packages: tuple[str, ...]

    @classmethod
    def here(cls, root: Path, mark: Path, files: Sequence[Path], packages: Sequence[str]) -> Probe:
        """What this machine sees of the folder `root` and of `files`; of a file inside a zip the zip."""
        seen = tuple((path, _fingerprint(path)) for path in map(_on_disk, files))
        return cls(root, mark, mark.read_text(encoding="utf-8"), seen, tuple(packages))

    def look(self) -> tuple[str | None, dict[str, str]]:
        """(what is wrong on the machine where this runs, its versions of the packages)."""
        try:
            if self.mark.read_text(encoding="utf-8") != self.content:
                return f"{self.root} is another folder there", {}
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(b"probe")
            for path, known in self.files:
                if _fingerprint(path) != known:
                    return f"{path} is not there, or another file", {}
        except OSError as error:
            return explain(error), {}
        return None, versions(self.packages)


def _on_disk(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


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


def _same(shared: Any) -> Any:
    """As a task of its own, what all tasks share travels and is kept once a worker, and is made anew when lost."""
    return shared


_ALONE = threading.Lock()


def _apply(function: Callable[[Any, Any], Any], shared: Any, argument: Any) -> Any:
    return function(shared, argument)


def _apply_alone(function: Callable[[Any, Any], Any], shared: Any, argument: Any) -> Any:
    with _ALONE:
        return function(shared, argument)


def _tasks_of(prefix: str, dask_worker: Any) -> int:
    """How many tasks of a folder a worker still has; Dask cannot stop a task that runs."""
    return sum(str(key).startswith(prefix) for key in dask_worker.state.tasks)


@dataclass(frozen=True)
class Ended:
    """A task that ended: its `name`, what it returned, and the reason where it was given up."""

    name: str
    result: Any = None
    given_up: str | None = None


@dataclass(frozen=True)
class Cluster:
    """A connection to a scheduler that has workers."""

    client: Client
    address: str

    def run(
        self,
        root: Path,
        function: Callable[[Any, Any], Any],
        shared: Any,
        tasks: Mapping[str, Any],
        alone: bool = False,
    ) -> Iterator[Ended]:
        """Call `function(shared, argument)` for the argument of each of `tasks`, by name; yields each as it ends.

        `root` is the folder that they write. With `alone` a worker of several threads does one at a time: what torch computes
        has the process's threads, settings and device for itself. A stop, or what `function` raises, cancels the rest. Raises
        EsadError where the scheduler is lost.
        """
        from distributed import KilledWorker

        if not tasks:
            return
        held = self.client.submit(_same, shared, key=f"{_prefix(root)}{uuid.uuid4().hex}")
        apply = partial(_apply_alone if alone else _apply, function)
        killed: list[str] = []
        for name, found in self._run(root, apply, held, tasks):
            if isinstance(found, KilledWorker):
                killed.append(name)
            else:
                yield Ended(name, found)
        for name in killed:
            for _, found in self._run(root, apply, held, {name: tasks[name]}):
                deadly = isinstance(found, KilledWorker)
                yield Ended(name, given_up=_reason(found)) if deadly else Ended(name, found)

    def _run(
        self, root: Path, apply: Callable[[Any, Any], Any], shared: Future, tasks: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """(name, what the task returned or KilledWorker) as they end; a stop or any other error cancels the rest."""
        from distributed import as_completed

        call = uuid.uuid4().hex[:8]
        name_of = {f"{_prefix(root)}{call}-{name}": name for name in tasks}
        shares = ([shared] * len(tasks), list(tasks.values()))
        futures = self.client.map(apply, *shares, key=list(name_of), pure=False)
        ending = as_completed(futures, loop=self.client.loop)
        held = {str(future.key): future for future in futures}
        del (
            futures
        )  # what has ended must be let go of: Dask does it again where it was kept on a worker that dies
        try:
            for key in self._as_they_end(ending, held):
                future = held.pop(key)
                if future.status == "lost":
                    # it ended, and before we looked its worker died: Dask does it again, which must end before the rest
                    held[key] = future
                    ending.add(future)
                    continue
                found = self._found(future)
                del future
                yield name_of[key], found
        except BaseException:
            if self.client.status == "running":
                self.client.cancel(list(held.values()))
            raise

    def _found(self, future: Future) -> Any:
        """What an ended task returned, or KilledWorker; raises what else it raised, EsadError for a lost scheduler."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return error
            raise error
        try:
            if future.status != "cancelled":
                return future.result()
        except KilledWorker as error:  # its worker died with the result, and the others that made it again
            return error
        except (CancelledError, CommClosedError):
            pass
        raise EsadError(
            f"--scheduler {self.address}: lost the scheduler. Start it and run the same command again: it "
            "continues where it was."
        )

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

    def check(self, probe: Probe, folders: str, busy: str) -> None:
        """UsageError where a worker sees other `folders` or lacks this package; other versions and threads are said.

        `busy` is what comes of a worker's having several threads.
        """
        ours = versions(probe.packages)
        for worker, (problem, theirs) in self.client.run(probe.look).items():
            if problem:
                raise UsageError(
                    f"worker {worker}: {problem.rstrip('.')}. All workers must see {folders} under the same paths (a shared "
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
            say(f"worker {busiest} has {threads[busiest]} threads {busy}; start workers with --nthreads 1.")

    def ask(self, function: Callable[..., Any], *values: Any) -> dict[str, Any]:
        """`function(*values)` on each worker, by its address."""
        return self.client.run(function, *values)

    def tell(self, function: Callable[[], object]) -> None:
        """Call `function()` on the workers that answer: nothing depends on it."""
        with suppress(OSError):
            if self.client.status == "running":
                self.client.run(function, on_error="ignore")

    def check_package(self) -> None:
        """UsageError where a worker lacks this program; it is asked for by Python's own means, since it may lack it."""
        for worker, found in self.client.run(find_spec, __name__, on_error="return").items():
            if found is None or isinstance(found, BaseException):
                raise UsageError(
                    f"worker {worker} does not have this program ({found or 'an older esad'}). Install the same esad "
                    "there, and start the worker with the Python it is installed in."
                )

    def wait_for_earlier_calls(self, root: Path) -> None:
        """Wait until no worker is at a task of this folder: one of a stopped call would write into what comes next."""
        told = False
        while any(self.client.run(_tasks_of, _prefix(root)).values()):
            if not told:
                say(f"{root}: waiting for workers that still finish a unit of an earlier call.")
            told = True
            time.sleep(10 * LOOK_SECONDS)


def wait_until_visible(root: Path, what: str, missing: Callable[[], Collection[Any]]) -> None:
    """Wait until none of what tasks wrote into `root` is `missing` here; EsadError after VISIBLE_SECONDS."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while lacking := missing():
        if time.monotonic() > deadline:
            raise EsadError(
                f"{root}: workers finished {len(lacking)} {what} that are not to be seen here (first: {min(lacking)}). "
                "Is it the same folder on all machines? Run the same command again."
            )
        time.sleep(10 * LOOK_SECONDS)


def _prefix(root: Path) -> str:
    """How the keys of all tasks of a folder begin."""
    return f"esad-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}-"


def _reason(error: Any) -> str:
    """Of a task that is given up, for people."""
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
    """Within the block, the cluster whose scheduler is at `address`; no worker is at a task of the folder `root`.

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


@contextmanager
def perhaps_connected(address: str | None, root: Path) -> Iterator[Cluster | None]:
    """`connected`, or within the block None where no `address` is given.

    As the work is done, what workers that died meanwhile left in `root` under temporary names is removed.
    """
    if address is None:
        yield None
        return
    with connected(address, root) as cluster:
        yield cluster
    if root.is_dir():
        from esad.preprocessing.store.writing import remove_temporaries

        remove_temporaries(root)
