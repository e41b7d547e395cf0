"""Tables with anomalies that scikit-learn ships or makes, in two halves: one to choose settings on, one to report.

Every maker takes a seed and returns rows float64 (N, D) and labels int (N,), 1 for an anomaly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_swiss_roll,
)

Table = tuple[np.ndarray, np.ndarray]


def mixed(numbers: np.random.Generator, normal: np.ndarray, anomalous: np.ndarray) -> Table:
    """The two kinds of rows in random order."""
    order = numbers.permutation(len(normal) + len(anomalous))
    labels = np.repeat([0, 1], [len(normal), len(anomalous)])
    return np.concatenate([normal, anomalous])[order], labels[order]


def gaussians(
    numbers: np.random.Generator, rows: int, columns: int, centres: np.ndarray, spread: float
) -> np.ndarray:
    """Rows of a mixture of correlated Gaussians; the correlations are the same for equal centres."""
    fixed = np.random.default_rng([columns, len(centres), round(1000 * abs(float(centres[0, 0])))])
    shapes = fixed.normal(size=(len(centres), columns, columns)) / np.sqrt(columns)
    which = numbers.integers(0, len(centres), rows)
    return centres[which] + spread * np.einsum(
        "nij,nj->ni", shapes[which], numbers.normal(size=(rows, columns))
    )


def blobs(kind: str, rows: int, columns: int, centres: int, share: float) -> Callable[[int], Table]:
    """Gaussian mixtures with anomalies `global` (anywhere in the box), `local` (the same centres, wider), `cluster`
    (a blob of their own) or `dependency` (each column as in the normals, but unrelated to the others)."""

    def make(seed: int) -> Table:
        numbers = np.random.default_rng(seed)
        places, bad = numbers.normal(scale=2, size=(centres, columns)), max(3, round(share * rows))
        normal = gaussians(numbers, rows - bad, columns, places, 1)
        low, high = normal.min(0), normal.max(0)
        if kind == "global":
            anomalous = numbers.uniform(low - 0.05 * (high - low), high + 0.05 * (high - low), (bad, columns))
        elif kind == "local":
            anomalous = gaussians(numbers, bad, columns, places, 2.2)
        elif kind == "cluster":
            away = places.mean(0) + numbers.choice([-1, 1], columns) * normal.std(0)
            anomalous = gaussians(numbers, bad, columns, away[None], 0.6)
        else:
            anomalous = np.stack([numbers.choice(column, bad) for column in normal.T], 1)
        return mixed(numbers, normal, anomalous)

    return make


def classes(rows: int, columns: int, informative: int, share: float) -> Callable[[int], Table]:
    """`make_classification`: one of two classes of several clusters is rare."""

    def make(seed: int) -> Table:
        return make_classification(
            rows, columns, n_informative=informative, n_redundant=columns // 4, n_clusters_per_class=2,
            weights=[1 - share], flip_y=0, class_sep=1.5, random_state=seed,
        )  # fmt: skip

    return make


def topics(rows: int, columns: int, share: float) -> Callable[[int], Table]:
    """Sparse counts of words: normals of six topics, anomalies of two others."""

    def make(seed: int) -> Table:
        numbers = np.random.default_rng(seed)
        words = numbers.gamma(0.1, size=(8, columns))
        words /= words.sum(1, keepdims=True)
        bad = round(share * rows)
        of = np.concatenate([numbers.integers(0, 6, rows - bad), numbers.integers(6, 8, bad)])
        counts = numbers.poisson(words[of] * numbers.gamma(5, 8, (rows, 1)))
        return mixed(numbers, counts[: rows - bad].astype(float), counts[rows - bad :].astype(float))

    return make


def heavy_tails(rows: int, columns: int, share: float) -> Callable[[int], Table]:
    """Log-normal amounts on a few factors; anomalies are two to four times too large in a third of the columns."""

    def make(seed: int) -> Table:
        numbers = np.random.default_rng(seed)
        loads, bad = numbers.normal(size=(3, columns)), round(share * rows)
        logs = numbers.normal(size=(rows, 3)) @ loads + 0.3 * numbers.normal(size=(rows, columns))
        some = numbers.random((bad, columns)) < 1 / 3
        logs[rows - bad :] += (
            some * numbers.choice([-1, 1], (bad, columns)) * numbers.uniform(0.7, 1.4, (bad, 1)) * 2
        )
        return mixed(numbers, np.exp(logs[: rows - bad]), np.exp(logs[rows - bad :]))

    return make


def roll(rows: int, columns: int, share: float) -> Callable[[int], Table]:
    """A rolled-up sheet in more columns; anomalies lie off the sheet, inside its box."""

    def make(seed: int) -> Table:
        numbers = np.random.default_rng(seed)
        bad, into = round(share * rows), numbers.normal(size=(3, columns))
        sheet = make_swiss_roll(rows - bad, noise=0.3, random_state=seed)[0]
        off = numbers.uniform(sheet.min(0), sheet.max(0), (bad, 3))
        normal, anomalous = (
            part @ into + 0.3 * numbers.normal(size=(len(part), columns)) for part in (sheet, off)
        )
        return mixed(numbers, normal, anomalous)

    return make


def real(
    load: Callable[[], Any], anomalous: list[int], normal: list[int], share: float
) -> Callable[[int], Table]:
    """Classes of a real table as normals, others thinned out to `share` as anomalies."""

    def make(seed: int) -> Table:
        numbers, table = np.random.default_rng(seed), load()
        rows, target = np.asarray(table.data, np.float64), np.asarray(table.target)
        good, bad = rows[np.isin(target, normal)], rows[np.isin(target, anomalous)]
        wanted = min(len(bad), round(len(good) * share / (1 - share)))
        return mixed(numbers, good, bad[numbers.permutation(len(bad))[:wanted]])

    return make


def semi_supervised_split(
    rows: np.ndarray, labels: np.ndarray, seed: int, share: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training rows, y, test rows, test labels): 70 % of both kinds train.

    y is -1 for `share` of the training anomalies, at least one; the others are unlabelled, as all normals are.
    """
    numbers = np.random.default_rng([seed, 77])
    train, y = np.zeros(len(labels), bool), np.zeros(len(labels))
    for value in (0, 1):
        places = numbers.permutation(np.flatnonzero(labels == value))
        train[places[: round(0.7 * len(places))]] = True
    anomalies = numbers.permutation(np.flatnonzero(train & (labels == 1)))
    y[anomalies[: max(1, round(share * len(anomalies)))]] = -1
    return rows[train], y[train], rows[~train], labels[~train]


ALL_DIGITS = list(range(10))
TUNING: dict[str, Callable[[int], Table]] = {
    "blobs, global, 300 x 6": blobs("global", 300, 6, 3, 0.05),
    "blobs, local, 1000 x 10": blobs("local", 1000, 10, 3, 0.08),
    "blobs, dependency, 1000 x 12": blobs("dependency", 1000, 12, 1, 0.08),
    "blobs, cluster, 300 x 20": blobs("cluster", 300, 20, 2, 0.08),
    "classes, 2000 x 20": classes(2000, 20, 8, 0.06),
    "classes, 400 x 12": classes(400, 12, 6, 0.1),
    "breast cancer": real(load_breast_cancer, [0], [1], 0.1),
    "digit 3": real(load_digits, [d for d in ALL_DIGITS if d != 3], [3], 0.2),
    "digits without 1": real(load_digits, [1], [d for d in ALL_DIGITS if d != 1], 0.08),
    "topics, 500 x 150": topics(500, 150, 0.08),
    "heavy tails, 1000 x 9": heavy_tails(1000, 9, 0.06),
}
"""Settings of the estimator were chosen on these (and on ODDS's six sets)."""

REPORT: dict[str, Callable[[int], Table]] = {
    "blobs, global, 10000 x 8": blobs("global", 10000, 8, 5, 0.03),
    "blobs, local, 300 x 7": blobs("local", 300, 7, 2, 0.1),
    "blobs, dependency, 5000 x 9": blobs("dependency", 5000, 9, 2, 0.05),
    "blobs, dependency, 300 x 15": blobs("dependency", 300, 15, 1, 0.1),
    "blobs, cluster, 10000 x 15": blobs("cluster", 10000, 15, 4, 0.05),
    "classes, 10000 x 40": classes(10000, 40, 12, 0.05),
    "classes, 300 x 10": classes(300, 10, 5, 0.1),
    "wine": real(load_wine, [0], [1, 2], 0.1),
    "iris": real(load_iris, [2], [0, 1], 0.1),
    "digit 6": real(load_digits, [d for d in ALL_DIGITS if d != 6], [6], 0.2),
    "digits without 8": real(load_digits, [8], [d for d in ALL_DIGITS if d != 8], 0.08),
    "topics, 2000 x 300": topics(2000, 300, 0.05),
    "heavy tails, 10000 x 14": heavy_tails(10000, 14, 0.04),
    "roll, 1000 x 6": roll(1000, 6, 0.08),
}
"""Never looked at while choosing."""
