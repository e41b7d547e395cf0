"""Isolation forest (Liu et al. 2008): grown by scikit-learn, kept and scored as plain arrays of nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from torch import Tensor

from esad.models.attribution.paths import path_contributions
from esad.models.methods.classic.shallow import Sample, ShallowMethod
from esad.models.settings import IsolationForestSettings, MethodSettings
from esad.models.training.randomness import generator

FOREST = ("left", "right", "feature", "threshold", "depth")
"""Names of the arrays of `forest_arrays`."""


def average_path_length(count: np.ndarray) -> np.ndarray:
    """Mean depth of an unsuccessful search in a binary search tree of `count` items (Liu et al., Eq. 1)."""
    count = np.asarray(count, dtype=np.float64)
    many = np.maximum(count, 3)
    length = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(count <= 1, 0.0, np.where(count == 2, 1.0, length))


def forest_arrays(forest: IsolationForest) -> dict[str, Tensor]:
    """All trees of a fitted forest as (T, N) arrays, padded with zeros.

    A row goes from node n to `left` where its value of column `feature` is at most `threshold`, else to `right`; a
    leaf leads to itself. `depth` of a leaf is its depth and the mean depth that its items would have below it, over the
    mean depth of a tree's sample: a row's score is 2^-(mean of it over trees) (Liu et al., Eq. 2).
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    size = max(tree.node_count for tree in trees)
    shape = (len(trees), size)
    links = {name: np.zeros(shape, np.int32) for name in ("left", "right", "feature")}
    values = {name: np.zeros(shape) for name in ("threshold", "depth")}
    normal = float(average_path_length(np.array(forest.max_samples_)))
    for row, tree in enumerate(trees):
        count, own = tree.node_count, np.arange(tree.node_count)
        leaf = tree.children_left < 0
        links["left"][row, :count] = np.where(leaf, own, tree.children_left)
        links["right"][row, :count] = np.where(leaf, own, tree.children_right)
        links["feature"][row, :count] = np.where(leaf, 0, tree.feature)
        values["threshold"][row, :count] = np.where(leaf, 0, tree.threshold)
        depth = np.zeros(count)
        for node in np.flatnonzero(~leaf):  # children come after their parents
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
        values["depth"][row, :count] = (depth + average_path_length(tree.n_node_samples)) / normal
    return {name: torch.from_numpy(value) for name, value in (links | values).items()}


def fit_isolation_forest(x: np.ndarray, trees: int, samples: int, seed: int) -> IsolationForest:
    """scikit-learn's forest on x (n, F), n >= 2; the same for the same seed."""
    state = generator(seed, "isolation forest").initial_seed() % 2**32
    return IsolationForest(n_estimators=trees, max_samples=min(samples, len(x)), random_state=state).fit(x)


def forest_scores(fit: Mapping[str, Tensor], rows: Tensor, samples: int) -> Tensor:
    """Scores (B,) of rows (B, F) by `forest_arrays` of trees that were grown on `samples` rows each."""
    values = rows.float()  # scikit-learn compares float32 values with float64 thresholds
    left, right, feature = (fit[name].long() for name in ("left", "right", "feature"))
    tree = torch.arange(len(left), device=rows.device)
    node = torch.zeros(len(rows), len(left), dtype=torch.int64, device=rows.device)
    for _ in range(math.ceil(math.log2(samples))):  # a tree is grown no deeper
        goes_left = values.gather(1, feature[tree, node]) <= fit["threshold"][tree, node]
        node = torch.where(goes_left, left[tree, node], right[tree, node])
    return 2 ** -fit["depth"][tree, node].mean(1)


class IsolationForestMethod(ShallowMethod):
    """Grown on the items that are not labelled anomalies; the score is minus scikit-learn's `score_samples`."""

    title: ClassVar[str] = "Isolation forest (Liu et al. 2008)"
    has_gradient: bool = False

    def __init__(self, settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> None:
        super().__init__(settings, shape, seeds, FOREST)

    @property
    def own_settings(self) -> IsolationForestSettings:
        return self.settings.isolation_forest

    @property
    def most_rows(self) -> int:
        """More rows than all trees draw together would change nothing but the memory needed."""
        return self.own_settings.trees * self.own_settings.samples

    @property
    def explained_by(self) -> str:
        """A forest of codes has paths of codes alone."""
        return "permutations" if self.hybrid else "paths"

    def path_contributions(self, x: Tensor) -> Tensor:
        if self.hybrid:
            return super().path_contributions(x)
        rows, samples = self._rows(x), self.own_settings.samples
        shares = [
            path_contributions(self.fitted.of(seed), rows[seed], samples) for seed in range(len(self.seeds))
        ]
        return self._without_seeds(torch.stack(shares)).view(x.shape)

    def fit_one(self, sample: Sample) -> dict[str, Tensor]:
        own = self.own_settings
        return forest_arrays(fit_isolation_forest(sample.x, own.trees, own.samples, sample.seed))

    def score_rows(self, fit: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        return forest_scores(fit, rows, self.own_settings.samples)
