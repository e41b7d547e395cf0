"""The items of a store through a frozen encoder, shard by shard: by this process, or by the workers of a Dask cluster."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.runs.run_folder import resolve_device
from esad.pipeline.scoring.batches import each_batch
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.cluster import Cluster, Probe, wait_until_visible
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.progress import progress, say
from esad.preprocessing.embeddings.arrays import fitted
from esad.preprocessing.store.durable import empty_folder, is_barely_begun
from esad.preprocessing.store.reading import read_array
from esad.preprocessing.store.shards import ShardWriter
from esad.preprocessing.store.store import Store, remove_temporaries, shard_path, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from esad.models.encoders.encoder import Encoder
    from esad.models.encoders.request import EncoderRequest

BATCH = 32
"""Pictures that go through an encoder at once, on every machine: what a network gives depends on it in the last digits."""
PACKAGES = ("esad", "numpy", "torch")
BUSY = "and embeds one shard at a time all the same"


@dataclass(frozen=True)
class EmbedRequest:
    """What a worker needs to embed any shard; picklable, whole paths. `width` is the encoder's, `precision` the shards'."""

    store: Path
    out: Path
    encoder: EncoderRequest
    device: str
    width: int
    precision: str


def opened_encoder(request: EncoderRequest, device: str) -> Encoder:
    """The encoder on the device; UsageError, in words, where it cannot be had."""
    from esad.models.encoders.loading import load_encoder
    from esad.models.encoders.preparation import UnknownEncoder

    try:
        return load_encoder(request, resolve_device(device))
    except UnknownEncoder as error:
        raise UsageError(str(error)) from error


def width_of(encoder: Encoder, store: Store, device: str) -> int:
    """How many numbers a vector has, by the store's first item; UsageError where the encoder does not take such pictures."""
    from esad.models.encoders.preparation import UnknownEncoder

    try:
        return int(_encoded(encoder, store, np.array([0]), device).shape[1])
    except UnknownEncoder as error:
        raise UsageError(f"{encoder.name}: {error}") from error


def begin(out: Path, wanted: dict[str, Any], force: bool) -> bool:
    """Whether `out` is finished with just these settings; EsadError for other ones or another folder. `force` removes a store."""
    path, wanted = out / "parts" / "settings.json", json.loads(json.dumps(wanted))
    if out.exists() and not is_barely_begun(out):
        if not path.is_file():
            raise EsadError(f"{out}: exists and is not a store of this stage; choose another --out.")
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        difference = first_difference(before, wanted)
        if difference and not force:
            raise EsadError(
                f"{out}: made with other settings ({difference}). Choose another --out, or --force to replace it."
            )
        if force:
            empty_folder(out, "parts/settings.json", ["store.json"])
    remove_temporaries(out) if out.exists() else None
    write_json(path, wanted)
    return (out / "store.json").is_file()


def embed_shards(request: EmbedRequest, store: Store, encoder: Encoder, cluster: Cluster | None) -> None:
    """Write the shards that are not there; those that are, of the right shape, are kept. EsadError where workers die of one."""
    counts = dict(zip(*np.unique(store.manifest["shard"].to_numpy(), return_counts=True), strict=True))
    missing = [
        int(number) for number, count in counts.items() if not _there(request, int(number), int(count))
    ]
    total = sum(int(counts[number]) for number in missing)
    with progress(f"embed {request.out.name}", total) as bar:
        if cluster is None:
            for number in missing:
                embed_shard(request, store, encoder, number, bar.advance)
            return
        mark = request.out / "parts" / "settings.json"
        cluster.check(
            Probe.here(request.out, mark, [request.store / "store.json"], PACKAGES), "both stores", BUSY
        )
        tasks = {f"{number:05d}": number for number in missing}
        reasons = []
        for ended in cluster.run(request.out, _on_worker, request, tasks, alone=True):
            bar.advance(int(counts[tasks[ended.name]]))
            if ended.given_up:
                reasons.append(f"{ended.name}: {ended.given_up}")
    if reasons:
        raise EsadError(
            f"{request.out}: {len(reasons)} of {len(tasks)} shards could not be done ({reasons[0]}) Run the same command again: it does "
            "only these."
        )
    wait_until_visible(
        request.out,
        "shards",
        lambda: [name for name, number in tasks.items() if not shard_path(request.out, number).is_file()],
    )


def embed_shard(
    request: EmbedRequest, store: Store, encoder: Encoder, number: int, advance: Callable[[int], object]
) -> None:
    """One shard: the vectors of the manifest's items of it, in the manifest's order.

    EsadError, naming the item, where the encoder gives a number that is missing or infinite, or too large for the precision.
    """
    positions, done = np.flatnonzero(store.manifest["shard"].to_numpy() == number), 0
    device = resolve_device(request.device)
    with ShardWriter(request.out, number, len(positions), (request.width,), request.precision) as shard:
        for chosen, found in each_batch(
            positions, BATCH, lambda some: _encoded(encoder, store, some, request.device), device
        ):
            vectors, row = fitted(found, request.precision)
            if row is not None:
                name = store.manifest["item_id"].iloc[int(chosen[row])]
                raise EsadError(
                    f"{store.root}: item {name!r} comes out of {encoder.name} with a number that is missing, infinite, or too large for "
                    f"{request.precision}; try --precision float32."
                )
            shard.write(np.arange(done, done + len(chosen)), vectors)
            done += len(chosen)
            advance(len(chosen))
        shard.commit(np.ones(len(positions), dtype=bool))
    store.release()


def _encoded(encoder: Encoder, store: Store, positions: np.ndarray, device: str) -> np.ndarray:
    import torch

    pictures = torch.from_numpy(store.read(positions)).to(resolve_device(device))
    return encoder(pictures).float().cpu().numpy()


def _there(request: EmbedRequest, number: int, count: int) -> bool:
    """Whether the shard is done; one that is damaged or of another shape is said, and done again."""
    path = shard_path(request.out, number)
    if not path.is_file():
        return False
    try:
        shape = read_array(path, "", mapped=True).shape
    except EsadError:
        shape = ()
    if shape == (count, request.width):
        return True
    say(f"{path}: is damaged, and is done again.")
    return False


_OPENED: dict[EmbedRequest, tuple[Store, Encoder]] = {}
_OPENING = threading.Lock()


def _on_worker(request: EmbedRequest, number: int) -> None:
    with _OPENING:
        if request not in _OPENED:
            _OPENED.clear()
            _OPENED[request] = (Store(request.store), opened_encoder(request.encoder, request.device))
        store, encoder = _OPENED[request]
    embed_shard(request, store, encoder, number, lambda _: None)
