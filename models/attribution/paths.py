"""Which entries isolate a row: the paths of an isolation forest (Liu et al. 2008), split by split.

A node's expected depth is its own depth and the mean depth that its items would have below it (their Eq. 1), over that
of a tree's sample: 1 at the root. What a split takes away from it, it gives to the entry that it looks at, as Saabas's
decision paths do for the values of a tree. From the root to the leaf these differences add up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

ORDINARY = 0.5
"""The score of a row as deep as the mean of a tree's sample: a half (Liu et al., Eq. 2)."""


def path_contributions(fit: Mapping[str, Tensor], rows: Tensor, samples: int) -> Tensor:
    """Shares of the score's rise above that of the roots among the entries of `rows` (B, F): float64 (B, F).

    `fit` as `forest_arrays` gives it, of trees grown on `samples` rows each. The score is 2^-depth, so that the shares of the
    depth are multiplied by (score - ORDINARY) / (1 - depth), which is what integrated gradients along the depth give.
    On a CPU, whatever the device: sums of several threads of a GPU have no fixed order.
    """
    device, rows = rows.device, rows.float().cpu()  # scikit-learn compares float32 values
    left, right, feature = (fit[name].long().cpu() for name in ("left", "right", "feature"))
    threshold, depth = fit["threshold"].cpu(), fit["depth"].cpu()
    tree = torch.arange(len(left))
    node = torch.zeros(len(rows), len(left), dtype=torch.int64)
    shares = torch.zeros(rows.shape, dtype=torch.float64)
    for _ in range(math.ceil(math.log2(samples))):
        entry = feature[tree, node]
        goes_left = rows.gather(1, entry) <= threshold[tree, node]
        below = torch.where(goes_left, left[tree, node], right[tree, node])
        shares.scatter_add_(1, entry, (depth[tree, node] - depth[tree, below]) / len(left))
        node = below  # a leaf leads to itself: nothing is added any more
    root, rise = depth[:, 0].mean(), shares.sum(1, keepdim=True)
    steep = torch.where(rise.abs() < 1e-12, math.log(2), torch.expm1(rise * math.log(2)) / rise)
    return (shares * steep * 2**-root).to(device)
