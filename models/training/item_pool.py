"""All items of a part at once, for what a method computes outside its steps: a centre, support vectors, trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ItemPool:
    """Items of each seed, as they are scored: scaled, centrally cropped, neither mirrored nor shuffled.

    `positions[s]` (n_s,) int64 into the stored items, `labels[s]` (n_s,) of what the pool's user says; `read` takes
    positions (S, B) to scaled items: (B, C, H, W) for pictures, (S, B, D) for table rows.
    """

    positions: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]
    read: Callable[[np.ndarray], Tensor]

    def batches(self, chosen: Sequence[np.ndarray], size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Scaled items and which of them count, bool (S, B), in order.

        `chosen[s]` (k_s,) are places in `positions[s]`. Seeds of fewer items repeat their first one, not counted.
        """
        longest = max(len(places) for places in chosen)
        for start in range(0, longest, size):
            stop = min(start + size, longest)
            taken, present = [], []
            for positions, places in zip(self.positions, chosen, strict=True):
                here = places[start:stop]
                padding = stop - start - len(here)
                filler = np.full(padding, places[0] if len(places) else 0, dtype=np.int64)
                taken.append(positions[np.concatenate([here, filler]).astype(np.int64)])
                present.append(np.arange(stop - start) < len(here))
            x = self.read(np.stack(taken))
            yield x, torch.from_numpy(np.stack(present)).to(x.device)

    def collect(
        self, chosen: Sequence[np.ndarray], rows: Callable[[Tensor], Tensor], size: int = 256
    ) -> list[Tensor]:
        """For each seed `rows` (scaled items -> (S, B, F)) of its chosen items: (k_s, F) float64 on the CPU.

        (0, 0) where no seed has any.
        """
        found: list[list[Tensor]] = [[] for _ in chosen]
        for x, present in self.batches(chosen, size):
            values = rows(x)
            for seed, parts in enumerate(found):
                parts.append(values[seed][present[seed]].double().cpu())
        return [torch.cat(parts) if parts else torch.zeros(0, 0, dtype=torch.float64) for parts in found]
