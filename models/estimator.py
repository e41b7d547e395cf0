"""ESAD for rows of numbers as a scikit-learn outlier detector: `from esad import ESAD`."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from esad.models.detector import Method
from esad.models.methods.registry import build
from esad.models.settings import (
    LossSettings,
    MethodSettings,
    NetworkSettings,
    OptimiserSettings,
    PhiSettings,
    TrainSettings,
)
from esad.models.training.fit import TrainingData, fit, score_batches

TERMS = ("reconstruction", "norm")
FAR = 3.0
"""Standard deviations of a normal column within which values are taken as they are."""
LEAST_HELD_OUT = 10
"""Members hold out a part of the normals each, where a part has at least as many rows."""


class ESAD(OutlierMixin, BaseEstimator):
    """Semi-supervised anomaly detection on tables (Huang et al., ESAD), by several small networks at once.

    Each member is trained without its own part of the normal rows. On these it measures the median and the median
    absolute deviation of its two terms, the reconstruction error and the squared norm of the second code (the terms of
    Eq. 9). A row's score is the mean over members of both terms' distances from the median in such deviations.

    Columns need no scaling. Computed in float32, scored in float64; the same rows and `random_state` give the same
    scores, and torch's global random numbers are left alone.

    Parameters
    ----------
    members : int, default=5
        Networks, trained as one batched model; more make scores steadier.
    steps : int or None, default=None
        Training steps; None grows them with the rows: 290 for 200 rows (about a second), 3,000 for 10,000.
    width : float, default=2.0
        Hidden layers as a multiple of Deep SAD's (32, 16; 128, 64 for more than 100 columns).
    code : int or None, default=None
        Size of the code; None takes Deep SAD's (4, 8 or 32 by the number of columns).
    lambda1, lambda2 : float, default=0.1
        Weights of the norm and the association term in training (Eq. 8).
    labelled_weight : float, default=0.2
        Weight of the labelled anomalies in training.
    normal_quantile : float in (0, 1), default=0.95
        `predict` calls an anomaly what scores higher than this share of held-out normal rows.
    device : str, default="cpu"
        Where to train, as torch names it.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    offset_ : float
        `decision_function` is `score_samples` minus this.
    normal_scores_ : ndarray, sorted
        `anomaly_score` of the unlabelled and normal training rows, each by the member that was trained without it; for
        other thresholds: `np.quantile(model.normal_scores_, 0.99)`.
    n_features_in_, feature_names_in_ : as in all of scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from esad import ESAD
    >>> numbers = np.random.default_rng(0)
    >>> X = np.concatenate([numbers.normal(size=(200, 4)), numbers.normal(4, size=(10, 4))])
    >>> y = np.zeros(len(X))
    >>> y[-2:] = -1  # two known anomalies; the other rows are unlabelled
    >>> model = ESAD(random_state=0).fit(X, y)
    >>> model.predict([[0, 0, 0, 0], [5, 5, 5, 5]])
    array([ 1, -1])
    """

    def __init__(
        self,
        *,
        members: int = 5,
        steps: int | None = None,
        width: float = 2.0,
        code: int | None = None,
        lambda1: float = 0.1,
        lambda2: float = 0.1,
        labelled_weight: float = 0.2,
        normal_quantile: float = 0.95,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.members = members
        self.steps = steps
        self.width = width
        self.code = code
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.labelled_weight = labelled_weight
        self.normal_quantile = normal_quantile
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train on rows `X` (n, d), finite numbers, most of them normal.

        `y` (n,) by its sign: negative a labelled anomaly, positive a labelled normal, 0 unlabelled; None is all
        unlabelled; a warning where it holds 0 and 1 alone.
        Labelled normals train as the unlabelled do, which are taken to be normal. Without an anomaly the
        labelled terms of the loss fall away (docs/explanation/decisions.md#a26). ValueError for NaN or
        infinity, fewer than two rows that are not labelled anomalies, or a parameter out of its range;
        FloatingPointError where training never converges.
        """
        self._check_parameters()
        if y is None:
            rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
            anomalies = np.zeros(len(rows), bool)
        else:
            rows, signs = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2, y_numeric=True)
            if np.asarray(signs).dtype.kind not in "biuf":
                raise ValueError(
                    "y holds text; expected numbers by their sign: -1 a labelled anomaly, 0 unlabelled, 1 normal."
                )
            anomalies = np.asarray(signs) < 0
            if set(np.unique(signs)) == {0, 1}:
                warnings.warn(
                    "y holds only 0 and 1: by its sign 1 is a labelled normal and 0 is unlabelled, so there is no labelled "
                    "anomaly. If 1 means an anomaly, give -y.",
                    UserWarning,
                    stacklevel=2,
                )
        normal = np.flatnonzero(~anomalies)
        if len(normal) < 2:
            raise ValueError(
                f"{len(normal)} of {len(rows)} samples are not labelled anomalies (y < 0): at least two are needed."
            )
        numbers = check_random_state(self.random_state)
        seeds = [int(seed) for seed in numbers.randint(2**31 - 1, size=self.members)]
        part = numbers.permutation(len(normal)) % self.members
        if self.members == 1 or len(normal) // self.members < LEAST_HELD_OUT:
            part[:] = -1  # too few to hold any out: what is trained on is also what is measured on
        self._shift, self._scale = _column_scale(rows)
        kept = [normal[part != member] for member in range(self.members)]
        labelled = np.flatnonzero(anomalies)
        data = TrainingData(
            self._scaled(rows).float(),
            [np.concatenate([places, labelled]) for places in kept],
            [np.repeat(np.array([0, -1], np.int8), [len(places), len(labelled)]) for places in kept],
        )
        settings = self._settings(len(rows), min(len(places) for places in kept))
        self._method: Method = fit(build(settings, (rows.shape[1],), seeds), data, self.device).double().cpu()
        self._measure(rows[normal], part)
        return self

    def _check_parameters(self) -> None:
        if not isinstance(self.members, Integral) or self.members < 1:
            raise ValueError(f"members = {self.members!r}: expected a whole number from 1.")
        if self.steps is not None and (not isinstance(self.steps, Integral) or self.steps < 2):
            raise ValueError(f"steps = {self.steps!r}: expected a whole number from 2, or None.")
        if not 0 < self.normal_quantile < 1:
            raise ValueError(
                f"normal_quantile = {self.normal_quantile!r}: expected a number between 0 and 1."
            )

    def _settings(self, rows: int, fewest: int) -> MethodSettings:
        """The recipe for tables (method.md#recipe-tables), its length by the number of rows."""
        steps = self.steps or round(290 * (rows / 200) ** 0.6)
        train = max(1, round(0.23 * steps))
        return MethodSettings(
            network=NetworkSettings(width=self.width, code=self.code),
            loss=LossSettings(
                lambda1=self.lambda1,
                lambda2=self.lambda2,
                reconstruction="sum",
                labelled_weight=self.labelled_weight,
                eps=0.01,
            ),
            phi=PhiSettings(noise=0.0),
            train=TrainSettings(
                optimiser="sgd", learning_rate=0.003, momentum=0.9, weight_decay=1e-6, steps=train,
                batch_size=min(128, fewest), batches="balanced", labelled_per_batch=8,
                warmup=OptimiserSettings(
                    optimiser="adam", learning_rate=1e-3, schedule="constant", steps=steps - train
                ),
            ),
        )  # fmt: skip

    def _scaled(self, X: NDArray[np.float64]) -> Tensor:
        """Robust distances from each column's median; beyond `FAR` they grow as their logarithm.

        In float64, before float32 loses the digits of columns far from 0. Without the bend a few extreme values would
        leave the rest of a column a sliver of the networks' [0, 1].
        """
        distance = (X - self._shift) / self._scale
        beyond = np.maximum(np.abs(distance) - FAR, 0)
        return torch.from_numpy(np.clip(distance, -FAR, FAR) + np.sign(distance) * np.log1p(beyond))

    def _terms(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, members, n): each member's terms."""
        rows = self._scaled(X)
        found = score_batches(self._method, rows, np.arange(len(rows)), torch.device("cpu"), batch_size=4096)
        batches = [torch.stack([terms[name] for name in TERMS]) for _, _, terms in found]
        return torch.cat(batches, -1).numpy()

    def _measure(self, normal: NDArray[np.float64], part: NDArray[np.int64]) -> None:
        """Median and spread of each member's terms on what it held out, and the scores of those rows."""
        terms = self._terms(normal)
        self._median, self._spread = np.empty((2, len(TERMS), self.members, 1))
        for member in range(self.members):
            held_out = part == member if part[0] >= 0 else np.ones(len(normal), bool)
            values = terms[:, member, held_out]
            self._median[:, member, 0] = np.median(values, 1)
            self._spread[:, member, 0] = [_spread(value) for value in values]
        distances = ((terms - self._median) / self._spread).sum(0)
        scores = distances[part, np.arange(len(normal))] if part[0] >= 0 else distances.mean(0)
        self.normal_scores_ = np.sort(scores)
        self.offset_ = -float(np.quantile(scores, self.normal_quantile))

    def anomaly_score(self, X: ArrayLike) -> NDArray[np.float64]:
        """(n,): higher is more abnormal, as PyOD has it; about 0 for an ordinary row."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return ((self._terms(rows) - self._median) / self._spread).sum(0).mean(0)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """(n,): higher is more normal, as scikit-learn has it."""
        return -self.anomaly_score(X)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """(n,): negative for what `predict` calls an anomaly."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """(n,): -1 an anomaly, 1 normal."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None, **kwargs: Any) -> NDArray[np.int64]:
        """`fit(X, y)`, then `predict(X)`: unlike other detectors' this one uses `y`."""
        return self.fit(X, y, **kwargs).predict(X)


def _column_scale(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and standard deviation of each column: the latter by the quartiles, by the mean square where the quartiles
    are equal, 1 for a constant column."""
    low, median, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
    quartiles, size = (high - low) / 1.349, np.maximum(np.abs(X).max(0), np.finfo(float).tiny)
    deviation = (X / size).std(0) * size  # squares of huge values are not finite
    return median, np.where(quartiles > 0, quartiles, np.where(deviation > 0, deviation, 1.0))


def _spread(values: NDArray[np.float64]) -> float:
    """Median absolute deviation; the mean one where half the values are alike, 1 where all are."""
    apart = np.abs(values - np.median(values))
    return float(np.median(apart)) or float(np.mean(apart)) or 1.0
