"""SSAD, semi-supervised anomaly detection (Goernitz et al. 2013): its convex dual, solved by PIQP.

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

import numpy as np
import piqp
import torch
from torch import Tensor

from esad.models.methods.classic.kernels import GAMMAS, best, default_gamma, expansion, squared_distances
from esad.models.methods.classic.shallow import CannotFit, Sample, ShallowMethod
from esad.models.settings import MethodSettings, SsadSettings

TOLERANCE = 1e-8
"""Of what is left of the optimality conditions, kernels being at most 1."""
NEARLY = 1e-4
"""The same where PIQP stops short of it, as it may with costs of 100: the order of the scores is that of the optimum."""
SMALLEST = 1e-7
"""Weights that are not greater count as 0: their rows are not kept."""


@dataclass(frozen=True)
class Dual:
    """The problem of `sign` (n,) y, `labelled` bool (n,), `cost` (n,) C and kappa, without its kernel."""

    sign: np.ndarray
    labelled: np.ndarray
    cost: np.ndarray
    kappa: float


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


def solve_ssad(kernel: np.ndarray, dual: Dual) -> np.ndarray:
    """The optimal a (n,), between 0 and C, of `kernel` (n, n); CannotFit where PIQP does not solve it.

    Interior points with dense factors: n^3, however many a are not 0. Half a minute of a core for 5000 rows.
    """
    labelled = dual.labelled.any()
    solver = piqp.DenseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = TOLERANCE
    solver.setup(
        kernel * np.outer(dual.sign, dual.sign),
        np.zeros(len(kernel)),
        dual.sign[None].astype(np.float64),
        np.ones(1),
        dual.labelled[None].astype(np.float64) if labelled else None,
        np.array([dual.kappa]) if labelled else None,
        None,
        np.zeros(len(kernel)),
        dual.cost.astype(np.float64),
    )
    status = solver.solve()
    left = solver.result.info
    if status != piqp.PIQP_SOLVED and max(left.primal_res, left.dual_res, left.duality_gap) > NEARLY:
        raise CannotFit(
            f"SSAD's quadratic program of {len(kernel)} rows: PIQP says {status.name}. Try another ssad.gamma."
        )
    return solver.result.x.clip(0, dual.cost)


def fit_ssad(
    x: np.ndarray, squared: np.ndarray, semi_label: np.ndarray, gamma: float, settings: SsadSettings
) -> dict[str, Tensor]:
    """Support vectors, weights y_i a_i and gamma of a fit on x (n, F) with `squared` (n, n) distances."""
    dual = dual_problem(semi_label, settings)
    weights = dual.sign * solve_ssad(np.exp(-gamma * squared), dual)
    used = np.abs(weights) > SMALLEST
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
