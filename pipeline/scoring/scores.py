"""Score terms of items, and the one score made of them (Eq. 9, or standardised)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from esad.pipeline.runs.run_files import COMBINED
from esad.pipeline.scoring.batches import batch_size, each_batch
from esad.pipeline.stage.progress import progress

if TYPE_CHECKING:
    import torch

    from esad.models.detector import Method
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import Items


TERMS = ("eq9", "reconstruction", "norm")
MEMBERS = tuple(f"member_{number}" for number in range(1, 21))
"""Columns of combined scores (`esad combine`): the standardised score of each member, of which the score is the mean."""


def raw_scores(
    method: Method, items: Items, positions: np.ndarray, device: torch.device, augmentation: Augmentation,
    description: str = "score",
) -> pd.DataFrame:  # fmt: skip
    """Score terms (TERMS) of the items at `positions`, a row each: float32."""
    with progress(description, len(positions)) as bar:
        values = raw_terms(method, items, positions, device, augmentation, bar.advance)
    return pd.DataFrame(values, columns=list(TERMS))


def raw_terms(
    method: Method,
    items: Items,
    positions: np.ndarray,
    device: torch.device,
    augmentation: Augmentation,
    advance: Callable[[int], object],
) -> np.ndarray:
    """Score terms (TERMS) of the items at `positions`: float32 (N, 3); `advance` is told how many are done.

    They follow from the positions, the weights and the processor, not from the number of threads (`batches`).
    """
    from esad.models.folding import folded
    from esad.models.training.fit import score_batches

    method = folded(method)

    def terms(chosen: np.ndarray) -> np.ndarray:
        _, _, found = next(score_batches(method, items, chosen, device, augmentation, len(chosen)))
        return np.stack([found[name].float().cpu().numpy().reshape(-1) for name in TERMS], axis=1)

    values, done = np.empty((len(positions), len(TERMS)), np.float32), 0
    for chosen, found in each_batch(positions, batch_size(method.shape, device), terms, device):
        values[done : done + len(chosen)] = found
        done += len(chosen)
        advance(len(chosen))
    return values


def score_of(kind: str, table: pd.DataFrame, normals: pd.DataFrame) -> np.ndarray:
    """The score of `kind` of the rows of TERMS in `table`, float64 (N,), by those of `normals` (see `score_formula`)."""
    total = np.zeros(len(table))
    for name, (centre, scale) in score_formula(kind, normals).items():
        total += (table[name].to_numpy(dtype=float) - centre) / scale
    return total


def final_scores(raw: pd.DataFrame, normals: pd.DataFrame, kind: str) -> pd.DataFrame:
    """`raw` with item_id, `score` (of `kind`), reconstruction, norm, percentile, eq9 and standardised in that order.

    The percentile is 1 - (1 + reference normals at least as high) / (1 + reference normals), in [0, 1): a share of
    normals that holds for a new one, and never all of them (method.md#percentile).
    """
    table = raw.copy()
    table["standardised"] = score_of("standardised", table, normals)
    table["score"] = table[kind]
    reference = normals["score"] if "score" in normals else table["score"]
    table["percentile"] = percentiles(table["score"], reference)
    first = ["item_id", "score", "reconstruction", "norm", "percentile", "eq9", "standardised"]
    return table[[*first, *(name for name in table if name not in first)]]


def percentiles(scores: pd.Series, reference: pd.Series) -> np.ndarray:
    """`final_scores`' percentile of each of `scores` (N,) among `reference` scores of normals (n,): float64 in [0, 1)."""
    ordered = np.sort(reference.to_numpy(dtype=float))
    return np.searchsorted(ordered, scores.to_numpy(dtype=float), side="left") / (len(ordered) + 1)


def above_normals(percentile: float, normals: str = "normals") -> str:
    """`above 99.4 % of normals`: rounded down, so that it is never more than the percentile says."""
    return f"above {math.floor(1000 * percentile + 1e-9) / 10:g} % of {normals}"


def score_formula(kind: str, normals: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The score of `kind`, or COMBINED, as term -> (centre, scale): it is the sum of (term - centre) / scale."""
    if kind == "eq9":
        return {"eq9": (0.0, 1.0)}
    if kind == COMBINED:
        own = [name for name in MEMBERS if name in normals]
        return {name: (0.0, float(len(own))) for name in own}
    references = {name: normals[name].to_numpy(dtype=float) for name in ("reconstruction", "norm")}
    return {name: (float(np.median(values)), spread(values)) for name, values in references.items()}


def score_weights(kind: str, normals: pd.DataFrame) -> dict[str, float]:
    """The score of `kind` as weights of the method's score terms: contributions share out exactly this."""
    return {name: 1 / scale for name, (_, scale) in score_formula(kind, normals).items()}


def spread(values: np.ndarray) -> float:
    """Median absolute deviation from the median, > 0: where it is 0 (one normal), the median itself, else 1."""
    median = float(np.median(values))
    return float(np.median(np.abs(values - median))) or abs(median) or 1.0
