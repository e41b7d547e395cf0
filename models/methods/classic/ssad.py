"""SSAD, semi-supervised anomaly detection (Goernitz et al. 2013): its convex dual, solved by Clarabel.

The problem (docs/explanation/other-methods.md#ssad):

    minimise 1/2 sum_ij y_i y_j a_i a_j k(x_i, x_j)
    where    sum_i y_i a_i = 1,  sum over labelled a_i >= kappa,  0 <= a_i <= C_i

with y = -1 for labelled anomalies, else +1. The score is minus sum_i y_i a_i k(x_i, x): the published threshold is a
constant that no ranking depends on, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import clarabel
import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from esad.models.methods.classic.kernels import GAMMAS, best, default_gamma, expansion, squared_distances
from esad.models.methods.classic.shallow import CannotFit, Sample, ShallowMethod
from esad.models.settings import MethodSettings, SsadSettings

TOLERANCE = 1e-6
"""Largest violation of the optimality conditions, kernels being at most 1."""
ADDED = 64
"""Variables that join the working set at once."""
PRUNED_ROUNDS = 50


@dataclass(frozen=True)
class Dual:
    """The problem of `sign` (n,) y, `labelled` bool (n,), `cost` (n,) C and kappa, without its kernel."""

    sign: np.ndarray
    labelled: np.ndarray
    cost: np.ndarray
    kappa: float

    def part(self, rows: np.ndarray) -> Dual:
        """The same for some of the rows."""
        return Dual(self.sign[rows], self.labelled[rows], self.cost[rows], self.kappa)


def dual_problem(semi_label: np.ndarray, settings: SsadSettings) -> Dual:
    """The problem's constants; CannotFit where no a can meet the conditions."""
    labelled, sign = semi_label != 0, np.where(semi_label < 0, -1.0, 1.0)
    cost = np.where(labelled, settings.labelled_cost, settings.unlabelled_cost)
    kappa = settings.kappa if labelled.any() else 0.0
    if cost[labelled].sum() < kappa or cost[sign > 0].sum() < 1 + kappa:
        raise CannotFit(
            f"ssad.kappa = {kappa:g} is too much for {labelled.sum()} labelled of {len(sign)} items at ssad.labelled_cost "
            f"= {settings.labelled_cost:g} and ssad.unlabelled_cost = {settings.unlabelled_cost:g}: lower it."
        )
    return Dual(sign, labelled, cost, kappa)


def solve_whole(kernel: np.ndarray, dual: Dual) -> tuple[np.ndarray, float, float]:
    """The optimal a (n,) and the multipliers of the equality and of kappa's constraint (0 without labelled items).

    `kernel` (n, n). Raises CannotFit where Clarabel does not solve it.
    """
    count, labelled = len(kernel), dual.labelled.any()
    quadratic = sparse.triu(sparse.csc_matrix(kernel * np.outer(dual.sign, dual.sign)), format="csc")
    unit = sparse.identity(count, format="csc")
    rows = [sparse.csc_matrix(dual.sign[None]), -unit, unit]
    right = [np.ones(1), np.zeros(count), dual.cost]
    if labelled:
        rows.append(sparse.csc_matrix(-dual.labelled[None].astype(float)))
        right.append(np.array([-dual.kappa]))
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(2 * count + int(labelled))]
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.direct_solve_method = (
        "faer"  # works in blocks: eight times as fast for 1500 rows, the matrix being dense
    )
    options.max_threads = 1  # the same bits on any machine
    constraints = sparse.vstack(rows, format="csc")
    found = clarabel.DefaultSolver(
        quadratic, np.zeros(count), constraints, np.concatenate(right), cones, options
    ).solve()
    if str(found.status) not in {"Solved", "AlmostSolved"}:
        raise CannotFit(
            f"SSAD's quadratic program of {count} rows: Clarabel says {found.status}. Try another ssad.gamma."
        )
    multipliers = np.asarray(found.z)
    return np.asarray(found.x), -multipliers[0], multipliers[-1] if labelled else 0.0


def _enough(rows: np.ndarray, dual: Dual, total: float) -> np.ndarray:
    """The first of `rows` (bool (n,)), ADDED or so many that their costs reach `total`."""
    places = np.flatnonzero(rows)
    return places[: max(ADDED, int(np.searchsorted(dual.cost[places].cumsum(), total)) + 1)]


def solve_ssad(kernel: np.ndarray, dual: Dual) -> np.ndarray:
    """The optimal a (n,), by a growing working set: most are 0, and a whole problem costs n^3.

    A set is solved exactly; the rows that violate the conditions of optimality most join it and zeros leave it,
    until none is violated by more than TOLERANCE. The objective falls each round; after PRUNED_ROUNDS nothing
    leaves any more, so that it ends in any case.
    """
    working = np.union1d(
        _enough(dual.labelled, dual, dual.kappa), _enough(dual.sign > 0, dual, 1 + dual.kappa)
    )
    for round_ in range(len(kernel) + PRUNED_ROUNDS):
        found, equality, at_least = solve_whole(kernel[np.ix_(working, working)], dual.part(working))
        slope = dual.sign * (kernel[:, working] @ (dual.sign[working] * found) - equality)
        slope = slope - at_least * dual.labelled
        slope[working] = 0
        violating = np.flatnonzero(slope < -TOLERANCE)
        if not len(violating):
            break
        worst = violating[np.argsort(slope[violating], kind="stable")[:ADDED]]
        kept = working[found > TOLERANCE / 10] if round_ < PRUNED_ROUNDS else working
        working = np.union1d(kept, worst)
    solution = np.zeros(len(kernel))
    solution[working] = found.clip(0, dual.cost[working])
    return solution


def fit_ssad(
    x: np.ndarray, squared: np.ndarray, semi_label: np.ndarray, gamma: float, settings: SsadSettings
) -> dict[str, Tensor]:
    """Support vectors, weights y_i a_i and gamma of a fit on x (n, F) with `squared` (n, n) distances."""
    dual = dual_problem(semi_label, settings)
    weights = dual.sign * solve_ssad(np.exp(-gamma * squared), dual)
    used = np.abs(weights) > TOLERANCE / 10
    return {
        "vectors": torch.from_numpy(x[used]),
        "weights": torch.from_numpy(weights[used]),
        "gamma": torch.tensor(gamma, dtype=torch.float64),
    }


class SsadMethod(ShallowMethod):
    """Fitted on labelled and unlabelled items alike."""

    title: ClassVar[str] = "SSAD (Görnitz et al. 2013)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds, ("vectors", "weights", "gamma"))

    @property
    def own_settings(self) -> SsadSettings:
        return self.settings.ssad

    @property
    def most_rows(self) -> int:
        return self.own_settings.rows

    def usable(self, labels: np.ndarray) -> np.ndarray:
        return np.ones(len(labels), bool)

    def fit_one(self, sample: Sample) -> dict[str, Tensor]:
        squared, own = squared_distances(sample.x, sample.x), self.own_settings

        def fit(gamma: float) -> dict[str, Tensor]:
            return fit_ssad(sample.x, squared, sample.semi_label, gamma, own)

        def score(gamma: float) -> np.ndarray:
            fitted = fit(gamma)
            return -expansion(torch.from_numpy(sample.held_x), **fitted).numpy()

        gamma = own.gamma
        if gamma is None:
            choosing = sample.can_choose
            gamma = best(GAMMAS, score, sample.held_label) if choosing else default_gamma(sample.x)
        return fit(gamma)

    def score_rows(self, fit: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        return -expansion(rows.double(), **fit)
