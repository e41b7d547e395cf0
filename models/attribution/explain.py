"""One method's scores shared out among pixels or columns, each method in the way that its score allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from esad.models.attribution.gradients import contributions, integrated_gradients, weighted
from esad.models.attribution.paths import ORDINARY
from esad.models.attribution.permutations import blocks, permuted_contributions
from esad.models.detector import Method
from esad.models.networks import ColumnScaler

MEAN, MEDIAN = "the mean normal picture", "the median row of the training part"
OF_PICTURES = {
    "gradients": f"integrated gradients from {MEAN}",
    "held": "integrated gradients from the reconstruction, as the search for it ended",
    "paths": "the paths of the trees, from the score of an ordinary picture",
    "permutations": f"Shapley values by permutations of blocks of pixels, from {MEAN}",
}
"""`Method.explained_by` in words."""
OF_ROWS = {
    "gradients": f"integrated gradients from {MEDIAN}",
    "paths": "the paths of the trees, from the score of an ordinary row",
    "permutations": f"Shapley values by permutations of the columns, from {MEDIAN}",
}
SHORT = {
    "gradients": "integrated gradients", "held": "integrated gradients", "paths": "paths of trees", "permutations": "permutations",
}  # fmt: skip
STEPS_OF_ROWS, MOST_STEPS, TOLERANCE = 256, 1024, 0.01
"""Points on the way from the median row: four times as many, up to the second, for rows whose contributions miss the rise of the score
by more than this share of their sizes. Small networks with sharp kinks need them, and are cheap."""
POINTS_OF_ROWS = 4096
"""Points that go through the networks together: for a few rows one by one, most of the time is that of the calls."""
EVALUATIONS_OF_ROWS = 1024
"""How often a row is scored where its score is shared out by permutations."""
TREE_TERMS = ("eq9", "norm")
"""The terms in which the score of a method without reconstructions stands."""


def told(method: Method) -> str:
    """How the method's scores are shared out, in words for people."""
    words = OF_PICTURES if method.pictures else OF_ROWS
    how = words[method.explained_by]
    if method.pictures or not method.reconstructs():
        return how
    terms = method.score_terms(median_row(method))
    errors = "squared errors of the reconstruction, column by column"
    return errors if terms["eq9"] is terms["reconstruction"] else f"{errors}; all else by {how}"


def medians(method: Method) -> Tensor:
    """(S, 1, D): medians of the training rows' columns, as stored; from them the contributions of columns are measured."""
    assert isinstance(method.scaler, ColumnScaler)
    return method.scaler.median


def median_row(method: Method) -> Tensor:
    """(S, 1, D): `medians`, scaled."""
    return method.scaler(medians(method))


def picture_contributions(
    method: Method, x: Tensor, baseline: Tensor, weights: Mapping[str, float], terms: Mapping[str, Tensor]
) -> Tensor:
    """Each pixel's contribution to the score: float32 (B, H, W).

    `x` (B, C, H, W) scaled pictures with their score `terms`; `baseline` (C, H, W) the mean normal picture; `method` folded.
    They add up to what the score is above that of the baseline, of the reconstruction (`held`), or of an ordinary item (`paths`).
    """
    if method.explained_by == "held":

        def held(point: Tensor) -> Tensor:
            return weighted(method.held_terms(point, terms["held"]), weights)

        return integrated_gradients(held, x, terms["x_hat"]).sum(1).float()
    if method.explained_by == "paths":
        return (_tree_weight(weights) * method.path_contributions(x)).sum(1).float()
    if method.explained_by == "permutations":
        part = blocks(x.shape[2], x.shape[3], method.most_evaluations)

        def score(mixed: Tensor) -> Tensor:
            return weighted(method.score_terms(mixed), weights)

        shares = permuted_contributions(score, x, baseline, part.expand(x.shape[1:]), method.most_evaluations)
        spread = shares / torch.bincount(part.flatten())
        return spread[:, part].float().to(x.device)
    return contributions(method, x, baseline, weights)


def row_contributions(
    method: Method, x: Tensor, weights: Mapping[str, float], terms: Mapping[str, Tensor]
) -> Tensor:
    """Each column's contribution to the score: float64 (B, D), of scaled rows `x` (1, B, D) with their score `terms`.

    `method` of one seed. Squared errors of reconstruction stand with their columns; all else is shared out by `explained_by`,
    measured from the median row. They add up to the score less `starting_score`.
    """
    if method.explained_by == "paths":
        return (_tree_weight(weights) * method.path_contributions(x))[0]
    start = median_row(method)
    if method.explained_by == "permutations":

        def score(mixed: Tensor) -> Tensor:
            return weighted(method.score_terms(mixed[None]), weights)[0]

        part = torch.arange(x.shape[2])
        return permuted_contributions(score, x[0], start[0], part, EVALUATIONS_OF_ROWS)
    of_errors = _error_weight(weights)
    rest = _settled(lambda point: _without_errors(method.score_terms(point), weights), x, start)[0]
    if "x_hat" not in terms:
        return rest
    squared = (terms["x_hat"] - x)[0].double().square()
    share = squared / squared.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return rest + of_errors * share * terms["reconstruction"][0].double()[:, None]


def _settled(score: Callable[[Tensor], Tensor], x: Tensor, start: Tensor) -> Tensor:
    """Integrated gradients of rows (1, B, D) by as many points as each row needs, whatever the others need: float64.

    What they miss of the rise then, a hundredth of their sizes at most but for a few rows, is divided in proportion to these.
    """
    with torch.no_grad():
        rise = (score(x) - score(start)).double()
    steps = STEPS_OF_ROWS
    found = integrated_gradients(score, x, start, steps, 1, POINTS_OF_ROWS).double()
    while steps < MOST_STEPS:
        missing = (rise - found.sum(-1)).abs() > TOLERANCE * found.abs().sum(-1)
        places = missing[0].nonzero()[:, 0]
        if not len(places):
            break
        steps *= 4
        few = integrated_gradients(score, x[:, places], start, steps, 1, POINTS_OF_ROWS)
        found[:, places] = few.double()
    sizes = found.abs().sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return found * (1 + found.sign() * (rise - found.sum(-1))[..., None] / sizes)


@torch.no_grad()
def starting_score(method: Method, weights: Mapping[str, float]) -> float:
    """What contributions of columns are measured from, in the units of the `weighted` score: that of the median row without its
    reconstruction error, or of a row that a forest finds ordinary."""
    if method.explained_by == "paths":
        return ORDINARY * _tree_weight(weights)
    terms = method.score_terms(median_row(method))
    return float(_without_errors(terms, weights))


def _without_errors(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The weighted score less its reconstruction error, where the method reconstructs: the error is a part of eq9, too."""
    score = weighted(terms, weights)
    return score - _error_weight(weights) * terms["reconstruction"] if "x_hat" in terms else score


def _error_weight(weights: Mapping[str, float]) -> float:
    return sum(weight for name, weight in weights.items() if name in ("eq9", "reconstruction"))


def _tree_weight(weights: Mapping[str, float]) -> float:
    return sum(weight for name, weight in weights.items() if name in TREE_TERMS)
