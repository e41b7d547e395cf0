"""Training in several processes: torchrun starts them and says by its variables which one this is.

    torchrun --nproc-per-node 2 -m esad.pipeline.train STORE --out RUN

The first process alone writes files and messages. torchrun ends all processes when one fails, and with --max-restarts
starts all of them again, which go on from the newest checkpoint.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from esad.pipeline.stage.errors import EsadError, UsageError

if TYPE_CHECKING:
    import torch
    from torch.distributed import Store

    from esad.models.training.ranks import Ranks

_GROUPS = count()
"""Numbers of the groups that this process was in, the same in all."""
PATIENCE = timedelta(hours=1)
"""How long a process waits for another before it gives up: one reads its items from a slow disk, another from a cache."""


def several() -> bool:
    """Whether torchrun started this process beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def is_first() -> bool:
    """Whether this process is alone or the first of several."""
    return not several() or os.environ["RANK"] == "0"


def own_cuda(name: str, index: int | None) -> int:
    """Number of this process's GPU: torchrun's LOCAL_RANK. UsageError where there is none, or `name` states one for all."""
    import torch

    local, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if index is not None:
        raise UsageError(f"device {name!r} is one device for several processes: give auto, cuda or cpu.")
    if local >= devices:
        raise UsageError(
            f"{devices} GPUs for {os.environ['LOCAL_WORLD_SIZE']} processes: --nproc-per-node {devices}."
        )
    return local


@cache
def _store(address: str, port: str) -> Store:
    """torchrun's key-value store, or the one that the first process keeps at `address` and `port`; open as long as the process."""
    from torch import distributed

    return next(distributed.rendezvous("env://", timeout=PATIENCE))[0]


def _meeting_place() -> dict[str, Any]:
    """Where the processes find each other: apart from their earlier groups, and from those of the attempts before.

    One store serves all groups of a process (a script may train, then score), and torchrun keeps its own when it restarts the
    processes: they would meet the addresses of what is gone (pytorch issue 135712). On several nodes attempts are counted on
    each, so that the store must be new there: TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 with --rdzv-backend c10d.
    """
    from torch import distributed

    known = os.environ
    one_node = known["LOCAL_WORLD_SIZE"] == known["WORLD_SIZE"]
    attempt = known.get("TORCHELASTIC_RESTART_COUNT", "0") if one_node else "any"
    place = distributed.PrefixStore(
        f"attempt {attempt}, group {next(_GROUPS)}", _store(known["MASTER_ADDR"], known["MASTER_PORT"])
    )
    return {"store": place, "rank": int(known["RANK"]), "world_size": int(known["WORLD_SIZE"])}


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks | None]:
    """Within the block the processes can talk to each other; yields None where there is only this one.

    EsadError where another process is gone.
    """
    if not several():
        yield None
        return
    import ignite.distributed as ignite_distributed
    from torch import distributed

    from esad.models.training.ranks import Ranks

    if device.type == "cuda":
        import torch

        torch.cuda.set_device(device)
    warnings.filterwarnings(
        "ignore", "Grad strides do not match"
    )  # of weights with one input channel, where both are right
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, timeout=PATIENCE, **_meeting_place())
        ignite_distributed.sync()  # all together now: a handler of the first process alone would wait for the others later
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error).lower():
            raise EsadError(
                "Another process of this call is gone; see its message. The same command goes on where it was."
            ) from error
        raise
    distributed.destroy_process_group()


def any_of(ranks: Ranks | None, *flags: bool) -> list[bool]:
    """For each flag whether any process has set it; all processes must ask together."""
    if ranks is None:
        return list(flags)
    import torch

    united = torch.tensor(flags, dtype=torch.uint8)
    torch.distributed.all_reduce(united, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in united]


def same_everywhere(ranks: Ranks | None, value: int) -> bool:
    """Whether all processes have the same number; all must ask together."""
    if ranks is None:
        return True
    import torch

    ends = torch.tensor([value, -value])
    torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MAX)
    return int(ends[0]) == -int(ends[1])
