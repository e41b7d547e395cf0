"""The Gaussian kernel: choosing its width on held-out items, and scores as sums over support vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from torch import Tensor

GAMMAS = tuple(2.0**power for power in range(-7, 3))
"""Paper 6.5."""
ROWS_AT_ONCE = 1024


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, F), (m, F) -> (n, m) float64, >= 0."""
    return euclidean_distances(a, b, squared=True)


def default_gamma(x: np.ndarray) -> float:
    """1 / (F * variance) of x (n, F), scikit-learn's `scale`; 1 where nothing varies."""
    spread = x.shape[1] * float(x.var())
    return 1 / spread if spread > 0 else 1.0


def best(values: Sequence[float], score: Callable[[float], np.ndarray], label: np.ndarray) -> float:
    """The value whose scores (m,) of held-out items have the highest AUC; the first of equals."""
    return max(values, key=lambda value: float(roc_auc_score(label, score(value))))


def expansion(x: Tensor, vectors: Tensor, weights: Tensor, gamma: Tensor) -> Tensor:
    """sum_i weights_i exp(-gamma |x - vectors_i|^2) for each row: (B, F), (n, F), (n,), () -> (B,)."""
    parts = []
    for rows in (
        (x,) if torch.compiler.is_exporting() else x.split(ROWS_AT_ONCE)
    ):  # any number of rows in an export
        squared = rows.square().sum(1, keepdim=True) + vectors.square().sum(1) - 2 * rows @ vectors.T
        parts.append(torch.exp(-gamma * squared.clamp(min=0)) @ weights)
    return torch.cat(parts)
