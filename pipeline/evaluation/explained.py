"""The share of normal items' variance that reconstructions explain, beside principal components of the same items.

explained = 1 - squared error / squared distance from the mean training item, both summed over items and entries: 1 is a
perfect copy, 0 no better than the mean, below 0 worse. A model that stays under a linear code of 64 numbers, a small
fraction of its own, has not learnt what its pictures look like, whatever its AUC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from esad.pipeline.evaluation.measures.intervals import bootstrap_draws

FOLDS = 5
DRAWS = 500


@dataclass(frozen=True)
class PrincipalComponents:
    """The first principal components of rows (N, D): `mean` (D,), orthonormal `directions` (K, D); all float64."""

    mean: np.ndarray
    directions: np.ndarray

    def residuals(self, rows: np.ndarray) -> np.ndarray:
        """(N,): squared distance of each row from its projection."""
        centred = rows - self.mean
        return np.square(centred).sum(1) - np.square(centred @ self.directions.T).sum(1)

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """(N,): squared distance of each row from the mean."""
        return np.square(rows - self.mean).sum(1)


def principal_components(rows: np.ndarray, components: int) -> PrincipalComponents:
    """Of rows (N, D), N >= 2: at most N - 1 and D components, by the smaller of the two products of the rows."""
    mean = rows.mean(0)
    centred = rows - mean
    count = min(components, len(rows) - 1, rows.shape[1])
    if rows.shape[1] <= len(rows):
        _, vectors = np.linalg.eigh(centred.T @ centred)
        return PrincipalComponents(mean, vectors[:, ::-1][:, :count].T)
    values, vectors = np.linalg.eigh(centred @ centred.T)  # ascending
    some = values[::-1][:count] > max(values[-1], 0) * 1e-12  # the others are rounding noise
    largest = vectors[:, ::-1][:, :count][:, some] / np.sqrt(values[::-1][:count][some])
    return PrincipalComponents(mean, largest.T @ centred)


def explained(errors: np.ndarray, distances: np.ndarray) -> float:
    """1 - sum of `errors` / sum of `distances` (N,); NaN where all items are the mean."""
    total = float(distances.sum())
    return 1 - float(errors.sum()) / total if total > 0 else float("nan")


def interval(errors: np.ndarray, distances: np.ndarray) -> list[float]:
    """95 % of `explained` over DRAWS draws of items with replacement."""
    counts = bootstrap_draws(len(errors), DRAWS, seed=0)
    totals = counts @ distances
    found = 1 - np.divide(counts @ errors, totals, out=np.full(DRAWS, np.nan), where=totals > 0)
    return [float(bound) for bound in np.nanquantile(found, [0.025, 0.975])]


def cross_fitted(rows: np.ndarray, components: int) -> dict[str, float]:
    """`mean`, `lowest` and `highest` of FOLDS folds: `explained` by components of the other folds' rows."""
    fold = np.arange(len(rows)) % FOLDS
    found = []
    for held in range(FOLDS):
        fitted = principal_components(rows[fold != held], components)
        left = rows[fold == held]
        found.append(explained(fitted.residuals(left), fitted.distances(left)))
    return {
        "mean": float(np.mean(found)),
        "lowest": float(np.min(found)),
        "highest": float(np.max(found)),
    }


def explained_sentence(summary: dict[str, Any]) -> str:
    """What `ReconstructionWatch.summary` says, for people."""
    where = "held out of training" if summary["held_out"] else "that it trained on (none was held out)"
    low, high = summary["model_interval"]
    text = (
        f"Reconstructions explain {_percent(summary['model'])} [{_percent(low)}, {_percent(high)}] of the variance of "
        f"{summary['items']} normal items {where}; {summary['components']} principal components explain {_percent(summary['pca'])}."
    )
    crossed = summary.get("pca_cross_fitted")
    if crossed:
        text += (
            f" Components fitted to other items, in {FOLDS} folds: {_percent(crossed['mean'])} "
            f"({_percent(crossed['lowest'])} to {_percent(crossed['highest'])})."
        )
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
