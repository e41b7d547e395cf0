"""Which parts of an item a score comes from, for any score: Shapley values by permutations (Castro et al. 2009).

The parts of a baseline are replaced by those of the item one after the other, in several orders. What the score rises by as a
part comes in is its share; the shares of an order add up to the whole rise, and so do their means.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from esad.models.training.randomness import generator

MOST_PAIRS = 16
AT_ONCE = 2**18
"""Numbers of items that are scored at once."""


def orders(parts: int, evaluations: int) -> Tensor:
    """(P, parts) int64: orders, each followed by its reverse, so many that `evaluations` scores are enough; two at least.

    The same for every item, so that nothing depends on which others are explained.
    """
    pairs = min(MOST_PAIRS, max(1, evaluations // (2 * parts)))
    drawn = [torch.randperm(parts, generator=generator(0, "orders", number)) for number in range(pairs)]
    return torch.stack([order for one in drawn for order in (one, one.flip(0))])


def blocks(height: int, width: int, evaluations: int) -> Tensor:
    """(height, width) int64: numbers of square blocks of a picture, 16 to 64 of them as `evaluations` allow."""
    across = 8 if evaluations >= 2 * 64 else 4
    side = -(-max(height, width) // across)
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    return rows[:, None] * (int(columns[-1]) + 1) + columns


@torch.no_grad()
def permuted_contributions(
    score: Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor, part: Tensor, evaluations: int
) -> Tensor:
    """Each part's share of the rise of `score` from `baseline` to `x`: float64 (B, parts).

    `score` gives a number (N,) for items (N, ...); `x` (B, ...); `baseline` broadcasts to it; `part` (...) int64 says which
    part each entry belongs to, numbered from 0.
    """
    start, parts = baseline.to(x).expand_as(x), int(part.max()) + 1
    chosen = orders(parts, evaluations)
    shares = torch.zeros(len(x), parts, dtype=torch.float64)
    for order in chosen:
        place = order.argsort()[part].to(x.device)  # when an entry comes in
        values = []
        steps = torch.arange(parts + 1, device=x.device)
        for some in steps.split(max(1, AT_ONCE // x.numel())):
            there = place < some.view(-1, *[1] * part.dim())
            mixed = torch.where(there[:, None], x[None], start[None])
            values.append(score(mixed.flatten(0, 1)).view(len(some), len(x)).double().cpu())
        rises = torch.cat(values).diff(dim=0)
        shares[:, order] += rises.T / len(chosen)
    return shares
