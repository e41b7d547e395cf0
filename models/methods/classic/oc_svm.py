"""One-class SVM with the Gaussian kernel (Schoelkopf et al. 2001), fitted by scikit-learn, scored from its vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from sklearn.svm import OneClassSVM
from torch import Tensor

from esad.models.methods.classic.kernels import GAMMAS, best, default_gamma, expansion, squared_distances
from esad.models.methods.classic.shallow import Sample, ShallowMethod
from esad.models.settings import MethodSettings, OcSvmSettings

NUS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Paper 6.5."""
DEFAULT_NU = 0.1
"""Deep SAD's code (docs/explanation/other-methods.md#oc-svm)."""


def choose_gamma_and_nu(
    sample: Sample, squared: np.ndarray, gamma: float | None, nu: float | None
) -> tuple[float, float]:
    """Those given, the others by AUC on the held-out items: gamma at nu = 0.1 first, then nu; else the defaults.

    `squared` (n, n) are the squared distances of the training rows.
    """
    if not sample.can_choose:
        return gamma or default_gamma(sample.x), nu or DEFAULT_NU
    held = squared_distances(sample.held_x, sample.x)

    def score(gamma: float, nu: float) -> np.ndarray:
        machine = OneClassSVM(kernel="precomputed", nu=nu).fit(np.exp(-gamma * squared))
        return -machine.decision_function(np.exp(-gamma * held))

    gamma = gamma or best(GAMMAS, lambda value: score(value, nu or DEFAULT_NU), sample.held_label)
    nu = nu or best(NUS, lambda value: score(gamma, value), sample.held_label)
    return gamma, nu


def fit_oc_svm(x: np.ndarray, squared: np.ndarray, gamma: float, nu: float) -> dict[str, Tensor]:
    """Support vectors, weights, offset, gamma and nu of a fit on x (n, F) with `squared` (n, n) distances."""
    machine = OneClassSVM(kernel="precomputed", nu=nu).fit(np.exp(-gamma * squared))
    return {
        "vectors": torch.from_numpy(x[machine.support_]),
        "weights": torch.from_numpy(machine.dual_coef_[0].copy()),
        "offset": torch.tensor(float(-machine.intercept_[0]), dtype=torch.float64),
        "gamma": torch.tensor(gamma, dtype=torch.float64),
        "nu": torch.tensor(nu, dtype=torch.float64),
    }


class OcSvmMethod(ShallowMethod):
    """Fitted on the items that are not labelled anomalies; the score is minus scikit-learn's `decision_function`."""

    title: ClassVar[str] = "One-class SVM (Schölkopf et al. 2001)"

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds, ("vectors", "weights", "offset", "gamma", "nu"))

    @property
    def own_settings(self) -> OcSvmSettings:
        return self.settings.oc_svm

    @property
    def most_rows(self) -> int:
        return self.own_settings.rows

    def fit_one(self, sample: Sample) -> dict[str, Tensor]:
        squared, own = squared_distances(sample.x, sample.x), self.own_settings
        gamma, nu = choose_gamma_and_nu(sample, squared, own.gamma, own.nu)
        return fit_oc_svm(sample.x, squared, gamma, nu)

    def score_rows(self, fit: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        return fit["offset"] - expansion(rows.double(), fit["vectors"], fit["weights"], fit["gamma"])
