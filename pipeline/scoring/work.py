"""The work of scoring in pieces, each with a small file of its own, by this process, by several, or by a Dask cluster.

SCORES/.work holds these files until all is done, so that scoring that was stopped or killed goes on where it was. Pieces and
batches are the same whoever does them, so the scores are, too.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.run_folder import Run, open_run, resolve_device
from esad.pipeline.scoring.batches import SIZES, read_once
from esad.pipeline.stage.cluster import Cluster, Probe, perhaps_connected, wait_until_visible
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.memory import give_freed_memory_back
from esad.pipeline.stage.progress import progress, say
from esad.pipeline.stage.ranks import any_of, is_first, process_group, several
from esad.preprocessing.store.durable import remove_folder
from esad.preprocessing.store.reading import damaged, read_array
from esad.preprocessing.store.store import Store
from esad.preprocessing.store.writing import write_array, write_json

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.fit import Items
    from esad.models.training.ranks import Ranks

WORK = ".work"
PACKAGES = ("esad", "numpy", "torch")
BUSY = "and scores one shard at a time all the same"


@dataclass(frozen=True)
class Opened:
    """What scoring needs in the process that does it: the run, the store, and once asked for its method on the device."""

    run: Run
    store: Store
    folder: Path
    """The SCORES folder."""
    wanted: str
    """The device that was asked for: auto, cpu, cuda or cuda:N."""

    @cached_property
    def device(self) -> torch.device:
        """Where this process computes."""
        return resolve_device(self.wanted)

    @cached_property
    def method(self) -> Method:
        """The trained method, folded for scoring."""
        from esad.models.folding import folded

        return folded(self.run.method(self.device))

    @cached_property
    def items(self) -> Items:
        """The store's items, as the run sees them."""
        return read_once(self.run.seen(self.store), self.device)

    @cached_property
    def on_cpu(self) -> Opened:
        """The same for what is only said of the method: this machine may lack the device that a cluster's workers have."""
        known = self.__dict__.get("device")
        return self if known is not None and known.type == "cpu" else replace(self, wanted="cpu")


Advance = Callable[[int], object]
Work = Callable[[Opened, Any, Advance], np.ndarray]
"""Does one piece: what it needs, which piece, and what to call as items are done; its rows are the piece's file."""


@dataclass(frozen=True)
class Pieces:
    """Pieces of work by name, and how many items each has; `folder` holds the files of those that are done."""

    folder: Path
    arguments: Mapping[str, Any]
    sizes: Mapping[str, int]

    def begin(self, of: Mapping[str, Any], void: Path | None = None) -> None:
        """Keep what is there of the same work, as `of` describes it, else begin anew.

        A file that cannot be read, or has other rows than the piece, is said and removed. The folder `void`, which pieces write to, is
        removed before other work is begun.
        """
        path, content = self.folder / "of.json", json.loads(json.dumps(of))
        if begun_as(path) != content:
            for folder in (self.folder, void):
                if folder is not None:
                    remove_folder(folder)
            write_json(path, content)
            return
        for name in self.arguments:
            if self.path(name).exists() and not self._whole(name):
                say(f"{self.path(name)}: is damaged, and is done again.")
                self.path(name).unlink()

    def _whole(self, name: str) -> bool:
        try:
            rows = read_array(self.path(name), "", mapped=True)
        except EsadError:
            return False
        return rows.shape[:1] == (self.sizes[name],)

    def path(self, name: str) -> Path:
        """The file of a piece."""
        return self.folder / f"{name}.npy"

    def missing(self) -> list[str]:
        """Names of the pieces that are not done."""
        there = {path.stem for path in self.folder.glob("*.npy")}
        return [name for name in self.arguments if name not in there]

    def read(self, name: str) -> np.ndarray:
        """The rows of a piece that is done; EsadError where its file is damaged."""
        path, remedy = self.path(name), "run the same command again"
        rows = read_array(path, remedy)
        if len(rows) != self.sizes[name]:
            raise damaged(path, f"is damaged ({len(rows)} rows, expected {self.sizes[name]})", remedy)
        return rows


def begun_as(path: Path) -> object:
    """What the work was begun as whose mark is at `path`; None where that is missing or damaged: then all is done again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Crew:
    """Who does the pieces: `cluster`'s workers, one of the processes `ranks` of torchrun, or this process; `wanted` is the device that
    was asked for."""

    cluster: Cluster | None
    ranks: Ranks | None
    wanted: str

    @property
    def first(self) -> bool:
        """This process writes the tables."""
        return is_first()

    def agreed(self, decide: Callable[[], bool]) -> bool:
        """What the first process decides; all processes must ask together."""
        return any_of(self.ranks, self.first and decide())[0]

    def meet(self) -> None:
        """Wait for the other processes."""
        any_of(self.ranks, False)

    @cached_property
    def device(self) -> str:
        """cpu or cuda: where the work is done, and both where workers differ. Asked for only where there is work: UsageError where this
        machine lacks the device."""
        if self.cluster is None:
            return _device_type(self.wanted)
        return ", ".join(sorted(set(self.cluster.ask(_device_type, self.wanted).values())))

    def work(self, opened: Opened, work: Work, pieces: Pieces, description: str) -> None:
        """Do all pieces that are not done; as it returns, they are, in all processes.

        Raises EsadError where workers died of a piece.
        """
        if not pieces.arguments:
            return
        give_freed_memory_back()
        missing = self._missing(pieces)
        if self.cluster is not None and missing:
            self._on_cluster(self.cluster, opened, work, pieces, missing, description)
        elif missing:
            with progress(description, sum(pieces.sizes[name] for name in missing)) as bar:
                for name in missing:
                    write_array(pieces.path(name), work(opened, pieces.arguments[name], bar.advance))
        self.meet()
        if self.first and (self.cluster or self.ranks):
            wait_until_visible(opened.folder, "pieces", pieces.missing)

    def _missing(self, pieces: Pieces) -> list[str]:
        """The pieces that are not done, as the first process sees it; of several processes this one's share of them."""
        there = set(pieces.missing()) if self.first else set()
        lacking = any_of(self.ranks, *(name in there for name in pieces.arguments))
        missing = [name for name, lacks in zip(pieces.arguments, lacking, strict=True) if lacks]
        if self.ranks is None:
            return missing
        return _share(missing, pieces.sizes, self.ranks.rank, self.ranks.count)

    def _on_cluster(
        self,
        cluster: Cluster,
        opened: Opened,
        work: Work,
        pieces: Pieces,
        missing: list[str],
        description: str,
    ) -> None:
        folder = opened.folder.resolve()
        run, store = opened.run.root.resolve(), opened.store.root.resolve()
        mark = pieces.folder.resolve() / "of.json"
        read = [run / "model.safetensors", run / "config.yaml", store / "store.json"]
        cluster.check(Probe.here(folder, mark, read, PACKAGES), "RUN, STORE and SCORES", BUSY)
        request = Request(run, store, folder, opened.wanted, mark.read_text(encoding="utf-8"))
        tasks = {name: (pieces.path(name).resolve(), pieces.arguments[name]) for name in missing}
        reasons = []
        with progress(description, sum(pieces.sizes[name] for name in missing)) as bar:
            for ended in cluster.run(folder, partial(_on_worker, work), request, tasks, alone=True):
                if ended.given_up:
                    reasons.append(f"{ended.name}: {ended.given_up}")
                bar.advance(pieces.sizes[ended.name])
        if reasons:
            raise EsadError(
                f"{folder}: {len(reasons)} of {len(tasks)} pieces could not be done ({reasons[0]}) Run the same command "
                "again: it does only these."
            )


def _share(names: list[str], sizes: Mapping[str, int], rank: int, count: int) -> list[str]:
    """The names that process `rank` of `count` takes: the largest first, each to whom has least; all compute the same."""
    loads, owner = [0] * count, {}
    for name in sorted(names, key=lambda name: (-sizes[name], name)):
        owner[name] = loads.index(min(loads))
        loads[owner[name]] += sizes[name]
    return [name for name in names if owner[name] == rank]


@dataclass(frozen=True)
class Request:
    """What a worker of a cluster opens, once: whole paths, the device, and the text that tells this work from another."""

    run: Path
    store: Path
    folder: Path
    device: str
    of: str


_OPENED: dict[Request, Opened] = {}
_OPENING = threading.Lock()


def opened_once(request: Request) -> Opened:
    """What this process has open for `request`; what it had for another one is let go of."""
    with _OPENING:
        if request not in _OPENED:
            _OPENED.clear()
            _OPENED[request] = Opened(
                open_run(request.run), Store(request.store), request.folder, request.device
            )
        return _OPENED[request]


def _on_worker(work: Work, request: Request, task: tuple[Path, Any]) -> None:
    """A piece on a worker."""
    path, argument = task
    write_array(path, work(opened_once(request), argument, lambda _: None))


def _device_type(name: str) -> str:
    return resolve_device(name).type


def _let_go() -> None:
    with _OPENING:
        _OPENED.clear()


def described_work(opened: Opened, device: str, **more: Any) -> dict[str, Any]:
    """What the files of pieces follow from; what was begun with other things is of no use."""
    manifest = opened.store.description.get("manifest_digest", len(opened.store))
    return {
        "model": opened.run.digest, "inputs": opened.store.description["inputs"], "manifest": manifest,
        "items": len(opened.store), "device": device, "batches": SIZES,
        **more,
    }  # fmt: skip


@contextmanager
def crew(scheduler: str | None, folder: Path, device: str) -> Iterator[Crew]:
    """Within the block those who score: the workers of a cluster, the processes of torchrun, or this process alone.

    Raises UsageError for a scheduler under torchrun, and as `connected`.
    """
    if scheduler is not None and several():
        raise UsageError(
            "--scheduler is a cluster's, torchrun starts processes of its own: take one of them."
        )
    with ExitStack() as opened:
        ranks = opened.enter_context(process_group(resolve_device(device))) if several() else None
        cluster = opened.enter_context(perhaps_connected(scheduler, folder))
        try:
            yield Crew(cluster, ranks, device)
        finally:
            if cluster is not None:
                cluster.tell(_let_go)


def digest_of(*arrays: np.ndarray) -> str:
    """16 hex digits of what arrays hold."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]
